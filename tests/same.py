"""What a value consists of, for comparisons that `==` is too kind for."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import datetime, time
from decimal import Decimal
from typing import Any

from pydantic import BaseModel, SecretStr


def anatomy(value: Any) -> Any:
    """Types and leaves of a value: two values are the same if this is equal.

    Of a time zone only the offset counts, and sets have no order; that is what a record keeps.
    """
    kind = type(value).__qualname__
    match value:
        case BaseModel():
            names = type(value).model_fields
            parts = {name: value.__dict__[name] for name in names if name in value.__dict__}
            return kind, anatomy(parts), anatomy(value.__pydantic_extra__), private(value)
        case Mapping():
            factory = getattr(value, "default_factory", None)
            return kind, factory, [(anatomy(key), anatomy(value[key])) for key in value]
        case set() | frozenset():
            return kind, sorted(map(repr, map(anatomy, value)))
        case list() | tuple() | deque():
            return kind, getattr(value, "maxlen", None), [anatomy(part) for part in value]
        case datetime() | time():
            offset = value.utcoffset() if value.tzinfo else value.fold
            # In an hour that a zone repeats or skips, a value equals none of another zone.
            other = value.replace(fold=1 - value.fold).utcoffset()
            odd = value.tzinfo is not None and other != offset
            return kind, value.replace(tzinfo=None, fold=0).isoformat(), repr(offset), odd
        case SecretStr():
            return kind, value.get_secret_value()
        case Decimal():
            return kind, str(value)
        case float():
            return kind, value.hex()
        case _ if is_dataclass(value):
            # Fields, and what `extra="allow"` keeps; not what is cached.
            names = [field.name for field in fields(value)]
            rest = [name for name in getattr(value, "__dict__", {}) if name not in names]
            names += [name for name in rest if not hasattr(type(value), name)]
            return kind, [(name, anatomy(getattr(value, name))) for name in names]
        case _:
            return kind, repr(value)


def private(model: BaseModel) -> Any:
    """The private attributes of a model, the unset ones apart."""
    return anatomy(dict(sorted((model.__pydantic_private__ or {}).items())))
