"""The `omem` logger alone: the root logger and the host's handlers are never touched."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from omem import configure_logging, get_logger, set_log_level


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    logger = logging.getLogger("omem")
    level, handlers, root = logger.level, list(logger.handlers), list(logging.root.handlers)
    yield
    assert logging.root.handlers == root
    for handler in set(logger.handlers) - set(handlers):
        logger.removeHandler(handler)
        handler.close()
    logger.setLevel(level)


def test_a_level_is_a_name_or_a_number() -> None:
    set_log_level("debug")
    assert get_logger().level == logging.DEBUG
    set_log_level(logging.ERROR)
    assert get_logger().level == logging.ERROR
    with pytest.raises(ValueError, match="LOUD"):
        set_log_level("LOUD")
    assert get_logger().level == logging.ERROR


def test_lines_go_to_the_file_once_however_often_it_is_configured(tmp_path: Path) -> None:
    configure_logging("INFO")
    before = len(get_logger().handlers)
    for _ in range(2):
        configure_logging("INFO", json_output=True, output_file=tmp_path / "log")
    assert len(get_logger().handlers) == before
    get_logger("search").info("größe %d", 7)
    get_logger().debug("not shown")
    [line] = (tmp_path / "log").read_text(encoding="utf-8").splitlines()
    entry = json.loads(line)
    assert (entry["level"], entry["logger"], entry["message"]) == ("info", "omem.search", "größe 7")


def test_a_host_that_configures_logging_sees_what_omem_says(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.INFO, logger="omem"):
        get_logger("load").info("seen")
    assert [record.name for record in caplog.records] == ["omem.load"]
