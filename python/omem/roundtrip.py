"""Records that the plan does not cover: Pydantic writes them, and must read the same model back."""

from __future__ import annotations

import math
import warnings
from collections import deque
from collections.abc import Sequence
from typing import Any, cast

from pydantic import BaseModel
from pydantic_core import to_json

from omem.errors import LossyError, LossyWarning
from omem.restore import path_of

MAX_DEPTH = 199

Path = tuple[int | str, ...]


def encode(model: type[BaseModel], item: BaseModel, lossy: str) -> bytes:
    """The record of an item.

    Args:
        model: The model of the memory.
        item: The item.
        lossy: "error", "warn" or "allow".

    Returns:
        The record, from which Pydantic reads the item again.

    Raises:
        LossyError: It would read something else, and `lossy` is "error".
    """
    try:
        record = _dump(model, item)
        difference = _difference(model, item, record)
        if difference is not None and _has_wild_float(item):
            tamed = to_json(_tame(_to_plain(model, item)))
            if _difference(model, item, tamed) is None:
                return tamed
    except LossyError:
        raise
    except Exception as error:
        difference = (_culprit(model, item), f"Pydantic does not write it: {error}")
        record = b""
    if difference is None:
        return record
    path, reason = difference
    message = f"{type(item).__name__} {path_of(path)}: {reason}"
    if lossy == "error" or not record:
        raise LossyError(
            f'{message}; change the value or the field, or accept the loss with lossy="allow"',
            field=path_of(path),
        )
    if lossy == "warn":
        warnings.warn(message, LossyWarning, stacklevel=3)
    # What is stored is what will be read: the record of the item as Pydantic reads it back.
    try:
        return _dump(model, _read(model, record))
    except Exception as error:
        raise LossyError(f"{message}; and what is left does not load: {error}") from error


def nesting(record: bytes) -> int:
    """How deep a record is nested.

    Args:
        record: Valid JSON.

    Returns:
        The greatest number of open brackets.
    """
    deepest = depth = 0
    in_string = escaped = False
    for byte in record:
        if in_string:
            if escaped:
                escaped = False
            elif byte == 0x5C:
                escaped = True
            elif byte == 0x22:
                in_string = False
        elif byte == 0x22:
            in_string = True
        elif byte in b"[{":
            depth += 1
            deepest = max(deepest, depth)
        elif byte in b"]}":
            depth -= 1
    return deepest


def _dump(model: type[BaseModel], item: BaseModel) -> bytes:
    return model.__pydantic_serializer__.to_json(
        item, round_trip=True, warnings="error", by_alias=False
    )


def _read(model: type[BaseModel], record: bytes) -> BaseModel:
    return cast(
        BaseModel,
        model.__pydantic_validator__.validate_json(record, by_alias=True, by_name=True),
    )


def _to_plain(model: type[BaseModel], item: BaseModel) -> Any:
    return model.__pydantic_serializer__.to_python(
        item, mode="json", round_trip=True, warnings="error", by_alias=False
    )


def _difference(model: type[BaseModel], item: BaseModel, record: bytes) -> tuple[Path, str] | None:
    """The first place where what is read from the record differs from the item."""
    if type(item) is not model:
        return (), f"an instance of the subclass {type(item).__name__} is not saved as such"
    # Only a long run of brackets can be too deep, and counting them all is slow.
    if record.count(b"[") + record.count(b"{") > MAX_DEPTH and nesting(record) > MAX_DEPTH:
        return (), f"it is nested more than {MAX_DEPTH} deep and would not load again"
    try:
        back = _read(model, record)
    except ValueError as error:
        faults = getattr(error, "errors", list[Any])()
        return tuple(faults[0]["loc"]) if faults else (), f"it would not load again: {error}"
    return first_difference(item, back)


def first_difference(left: Any, right: Any) -> tuple[Path, str] | None:
    """The first place where two values differ, types of leaves included.

    Args:
        left: What was given.
        right: What was read back.

    Returns:
        The path and a description, or None where they are the same.

    Examples:
        >>> first_difference([1, 2.0], [1, 2])
        ((1,), '2.0 (float) would come back as 2 (int)')
    """
    pending: list[tuple[Any, Any, Path]] = [(left, right, ())]
    while pending:
        a, b, path = pending.pop()
        if a is b:
            continue
        kind = cast(type[Any], type(a))
        if kind is not type(b):
            return (
                path,
                f"{_shown(a)} ({kind.__name__}) would come back as "
                f"{_shown(b)} ({type(b).__name__})",
            )
        if isinstance(a, BaseModel):
            for part in ("__pydantic_private__", "__pydantic_extra__"):
                pending.append((getattr(a, part), getattr(b, part), path))
            a, b, kind = cast(Any, a.__dict__), cast(Any, b.__dict__), dict
        if kind is dict:
            if a.keys() != b.keys():
                lost = [key for key in a if key not in b] or [key for key in b if key not in a]
                return (*path, str(lost[0])), "it would be lost or added"
            pending.extend((a[key], b[key], (*path, key)) for key in reversed(list(a)))
            for key, other in zip(sorted(a, key=str), sorted(b, key=str), strict=True):
                if type(key) is not type(other):
                    return (*path, str(key)), f"the key {key!r} would come back as {other!r}"
        elif kind in (list, tuple, deque):
            if len(a) != len(b):
                return path, f"{len(a)} elements would come back as {len(b)}"
            if kind is deque and a.maxlen != b.maxlen:
                return path, "the maxlen of a deque is not saved"
            pending.extend((x, y, (*path, i)) for i, (x, y) in enumerate(zip(a, b, strict=True)))
        elif kind in (set, frozenset):
            if a != b or sorted(map(_type_name, a)) != sorted(map(_type_name, b)):
                return path, f"{_shown(a)} would come back as {_shown(b)}"
        elif kind is float:
            if a.hex() != b.hex():
                return path, f"{a!r} would come back as {b!r}"
        elif not _equal(a, b):
            return path, f"{_shown(a)} would come back as {_shown(b)}"
    return None


def _equal(a: Any, b: Any) -> bool:
    if a == b:
        return True
    # Pydantic-made objects without __eq__ (dataclasses with eq=False, plain classes).
    left, right = getattr(a, "__dict__", None), getattr(b, "__dict__", None)
    if "__eq__" not in _attributes(a) and left and left.keys() == (right or {}).keys():
        return first_difference(left, right) is None
    return False


def _attributes(value: object) -> set[str]:
    """What the classes of a value define, object itself apart."""
    return {name for kind in type(value).__mro__[:-1] for name in vars(kind)}


def _type_name(value: object) -> str:
    return type(value).__qualname__


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _culprit(model: type[BaseModel], item: BaseModel) -> Path:
    """The field that Pydantic cannot write."""
    for name in model.model_fields:
        try:
            model.__pydantic_serializer__.to_json(
                item, include={name}, round_trip=True, warnings="error", by_alias=False
            )
        except Exception:
            return (name,)
    return ()


def _has_wild_float(value: object) -> bool:
    """Whether there is a NaN or an infinity in a value; Pydantic writes those as null."""
    pending: list[object] = [value]
    while pending:
        current = pending.pop()
        if isinstance(current, float):
            if not math.isfinite(current):
                return True
        elif isinstance(current, BaseModel):
            pending.extend(current.__dict__.values())
        elif isinstance(current, dict):
            pending.extend(cast("dict[object, object]", current).values())
        elif isinstance(current, (list, tuple, set, frozenset, deque)):
            pending.extend(cast("Sequence[object]", current))
    return False


def _tame(value: Any) -> Any:
    """Non-finite floats as the strings that a float field reads."""
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, dict):
        return {key: _tame(inner) for key, inner in cast("dict[Any, Any]", value).items()}
    if isinstance(value, list):
        return [_tame(inner) for inner in cast("list[Any]", value)]
    return value
