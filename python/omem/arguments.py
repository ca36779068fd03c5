"""What callers give, refused by its name where it cannot be meant."""

from __future__ import annotations

import operator
from collections.abc import Iterable
from typing import Any, cast


def one_of(name: str, value: object, allowed: tuple[str, ...]) -> None:
    """Refuse an option's value that is none of the allowed ones.

    Args:
        name: The option.
        value: Its value.
        allowed: What it may be.

    Raises:
        ValueError: It is none of these.
    """
    if value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, allowed))}, not {value!r}")


def string(name: str, value: object) -> None:
    """Refuse what is no str.

    Args:
        name: The argument.
        value: Its value.

    Raises:
        TypeError: It is no str.
    """
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a str, not {value!r}")


def whole(name: str, value: object, least: int = 0) -> int:
    """The whole number of an argument.

    Args:
        name: The argument.
        value: Its value.
        least: It must not be less.

    Returns:
        The number.

    Raises:
        TypeError: It is no whole number.
        ValueError: It is too small.

    Examples:
        >>> whole("top_k", "3")
        Traceback (most recent call last):
        TypeError: top_k must be an int, not '3'
    """
    try:
        number = operator.index(cast(Any, value))
    except TypeError:
        raise TypeError(f"{name} must be an int, not {value!r}") from None
    if number < least:
        raise ValueError(f"{name} must be at least {least}, not {number}")
    return number


def strings(name: str, values: Iterable[str] | None) -> list[str]:
    """The strings of an argument that takes several.

    Args:
        name: The argument.
        values: Its value.

    Returns:
        The strings; none for None.

    Raises:
        TypeError: It is one str, or not all of them are strings.
    """
    found = list(several(name, values, "strings"))
    for value in found:
        if not isinstance(cast(object, value), str):
            raise TypeError(f"{name} must hold strings, not {type(value).__name__}")
    return found


def several(name: str, values: Iterable[Any] | None, what: str = "keys") -> Iterable[Any]:
    """The values of an argument that takes several.

    Args:
        name: The argument.
        values: Its value.
        what: What they are.

    Returns:
        The values; none for None.

    Raises:
        TypeError: It is no iterable, or one str or bytes, of which each character would count.
    """
    if values is None:
        return ()
    if isinstance(values, (str, bytes)) or not isinstance(cast(object, values), Iterable):
        raise TypeError(f"{name} must be several {what}, as [{values!r}], not one")
    return values
