"""Logging under the `omem` logger; the root logger and the host's handlers are never touched."""

from __future__ import annotations

import json
import logging
from logging import Handler, Logger, LogRecord
from pathlib import Path

_logger = logging.getLogger("omem")
_logger.addHandler(logging.NullHandler())
_own_handler: Handler | None = None


class _JsonLines(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: LogRecord) -> str:
        entry = {
            "time": self.formatTime(record, "%Y-%m-%dT%H:%M:%S%z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry, ensure_ascii=False)


def configure_logging(
    level: str | int = "WARNING",
    json_output: bool = False,
    output_file: str | Path | None = None,
) -> None:
    """Show what omem logs; for programs that do not configure logging themselves.

    Adds one handler to the `omem` logger, or replaces the one that an earlier call added.

    Args:
        level: "DEBUG", "INFO", "WARNING", "ERROR" or "CRITICAL", or a number of `logging`.
        json_output: One JSON object a line instead of text.
        output_file: A file to append to instead of standard error.

    Raises:
        ValueError: An unknown level.

    Examples:
        >>> from omem import configure_logging, get_logger, set_log_level
        >>> before = get_logger().level
        >>> configure_logging("INFO")
        >>> get_logger().level
        20
        >>> get_logger().removeHandler(get_logger().handlers[-1])
        >>> set_log_level(before)
    """
    global _own_handler
    set_log_level(level)
    handler: Handler = (
        logging.StreamHandler()
        if output_file is None
        else logging.FileHandler(output_file, encoding="utf-8", delay=True)
    )
    text = logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s")
    handler.setFormatter(_JsonLines() if json_output else text)
    if _own_handler is not None:
        _logger.removeHandler(_own_handler)
        _own_handler.close()
    _own_handler = handler
    _logger.addHandler(handler)


def get_logger(name: str | None = None) -> Logger:
    """The `omem` logger or one below it.

    Args:
        name: A name below `omem`; a name that begins with "omem" is taken as it is.

    Returns:
        The logger.

    Examples:
        >>> from omem import get_logger
        >>> get_logger("search").name
        'omem.search'
    """
    if name is None or name == "omem":
        return _logger
    return logging.getLogger(name if name.startswith("omem.") else f"omem.{name}")


def set_log_level(level: str | int) -> None:
    """Set the level of the `omem` logger.

    Args:
        level: "DEBUG", "INFO", "WARNING", "ERROR" or "CRITICAL", or a number of `logging`.

    Raises:
        ValueError: An unknown level.

    Examples:
        >>> from omem import get_logger, set_log_level
        >>> before = get_logger().level
        >>> set_log_level("ERROR")
        >>> get_logger().level
        40
        >>> set_log_level(before)
    """
    names = logging.getLevelNamesMapping()
    number = level if isinstance(level, int) else names.get(str(level).upper())
    if number is None:
        raise ValueError(
            f"unknown log level {level!r}; use DEBUG, INFO, WARNING, ERROR or CRITICAL"
        )
    _logger.setLevel(number)
