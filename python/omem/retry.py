"""Which errors of a paid service are worth another try, and when."""

from __future__ import annotations

import random
import time

_TRANSIENT_STATUS = frozenset({408, 409, 429})
FIRST_WAIT = 0.5
"""Seconds before the second attempt; each further wait is twice as long, up to `LONGEST_WAIT`."""
LONGEST_WAIT = 20.0


def is_transient(error: BaseException) -> bool:
    """Whether an error may go away by itself.

    ConnectionError, TimeoutError, and errors that carry an HTTP status of 408, 409, 429 or 5xx
    (as `status_code`, `status` or `code`, or on their `response`), their causes included.

    Args:
        error: What a service's client raised.

    Returns:
        Whether to try again.

    Examples:
        >>> is_transient(TimeoutError()), is_transient(ValueError())
        (True, False)
    """
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        if isinstance(current, (ConnectionError, TimeoutError)):
            return True
        status = _status(current)
        if status is not None:
            return status in _TRANSIENT_STATUS or 500 <= status <= 599
        current = current.__cause__
    return False


def wait_before(attempt: int) -> None:
    """Sleep before a further attempt, with jitter so that many clients do not return at once.

    Args:
        attempt: 1 for the second attempt, 2 for the third…
    """
    wait = min(LONGEST_WAIT, FIRST_WAIT * 2 ** (attempt - 1))
    time.sleep(wait * random.uniform(0.5, 1.0))


def _status(error: BaseException) -> int | None:
    for holder in (error, getattr(error, "response", None)):
        for name in ("status_code", "status", "code", "http_status"):
            value: object = getattr(holder, name, None)
            if isinstance(value, int) and not isinstance(value, bool):
                return value
            if isinstance(value, str) and value.isdigit():
                return int(value)
    return None
