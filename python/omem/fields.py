"""What the definition of a field says: its names, its default, its merge rule."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import UnionType
from typing import Annotated, Any, Union, cast, get_args, get_origin

import orjson
from pydantic import BaseModel, TypeAdapter
from pydantic_core import PydanticUndefined

from omem.errors import SchemaError

_AROUND = frozenset({"default", "nullable", "function-before", "function-after", "function-wrap"})
_CONTAINERS = frozenset(
    {"list", "set", "frozenset", "tuple", "dict", "generator", "model", "typed-dict"}
    | {"dataclass", "model-fields", "dataclass-args", "named-tuple"}
)
_STABLE_FACTORIES = (list, dict, set, frozenset, tuple, str, int, float, bool)


def other_names(field: Mapping[str, Any], name: str) -> set[str]:
    """Every name that the aliases of a field mention, but its own.

    Args:
        field: The core schema of the field.
        name: The name of the field.

    Returns:
        The names, the steps of alias paths included.
    """
    names: set[str] = set()
    pending: list[Any] = [field.get("validation_alias")]
    while pending:
        alias = pending.pop()
        if isinstance(alias, list):
            pending.extend(cast("list[Any]", alias))
        elif isinstance(alias, str):
            names.add(alias)
    return names - {name}


def stable_default(schema: Mapping[str, Any]) -> Any:
    """The default of a field, if it is the same every time.

    Args:
        schema: The core schema of the field's value.

    Returns:
        The default, or PydanticUndefined.
    """
    if schema["type"] != "default" or schema.get("default_factory_takes_data"):
        return PydanticUndefined
    if "default" in schema:
        return schema["default"]
    factory = schema["default_factory"]
    is_model = isinstance(factory, type) and issubclass(factory, BaseModel)
    if is_model or factory in _STABLE_FACTORIES:
        return cast("Callable[[], Any]", factory)()
    return PydanticUndefined


def written(cls: type[BaseModel], name: str, value: Any) -> bytes | None:
    """What Pydantic writes for a value of a field.

    Args:
        cls: The model.
        name: The name of the field.
        value: Its value.

    Returns:
        The JSON text, or None where a serializer fails on it or leaves it out.
    """
    model = cls.__new__(cls)
    for slot, content in (
        ("__dict__", {name: value}),
        ("__pydantic_fields_set__", {name}),
        ("__pydantic_extra__", None),
        ("__pydantic_private__", None),
    ):
        object.__setattr__(model, slot, content)
    try:
        record = cls.__pydantic_serializer__.to_json(
            model, include={name}, round_trip=True, by_alias=False, warnings="none"
        )
    except Exception:
        return None
    prefix = b"{" + orjson.dumps(name) + b":"
    return record[len(prefix) : -1] if record.startswith(prefix) else None


def default_text(cls: type[BaseModel], name: str, value: Any) -> tuple[bytes | None, bool]:
    """What a record holds for a default that the plan does not cover.

    Args:
        cls: The model.
        name: The name of the field.
        value: Its default.

    Returns:
        The JSON text, or None; and whether whoever has this very number in the field has that text
        in the record: `price: Decimal = 0` is not validated, stays an int in the model, and is
        read back as the equal value of the field's type.
    """
    text = written(cls, name, value)
    if text is None or type(value) not in (int, float):
        return text, False
    try:
        back = read(cls, name, text)
        again = written(cls, name, back)
        equal = again is not None and type(back) is not bool and bool(back == value)
    except Exception:
        equal, again = False, None
    return (again, True) if equal else (text, False)


def read(cls: type[BaseModel], name: str, text: bytes) -> Any:
    """The value of a field that Pydantic reads from its JSON text.

    Args:
        cls: The model.
        name: The name of the field.
        text: The JSON text of the value.

    Returns:
        The value.
    """
    field = cls.model_fields[name]
    annotation: Any = field.annotation
    if field.metadata:
        annotation = Annotated[(annotation, *field.metadata)]
    return TypeAdapter(annotation).validate_json(text, by_alias=True, by_name=True)


def merge_rule(cls: type[BaseModel], name: str, schema: Mapping[str, Any]) -> Any:
    """The merge rule in the annotation of a field.

    Args:
        cls: The model.
        name: The name of the field.
        schema: The core schema of the field's value.

    Returns:
        The rule as `omem.Merge` has it, or None.

    Raises:
        SchemaError: There is more than one, or one in a place where it has no meaning, or it
            compares values that have no order.
    """
    field = cls.model_fields.get(name)
    if field is None:
        return None
    rules = [*_marks(field), *_inner_rules(field.annotation, f"{cls.__name__}.{name}")]
    if len(rules) > 1:
        raise SchemaError(f"{cls.__name__}.{name} has more than one merge rule")
    if not rules:
        return None
    while schema["type"] in _AROUND:
        schema = schema["schema"]
    if schema["type"] in _CONTAINERS and rules[0] in ("max", "min", "sum", "longest"):
        raise SchemaError(
            f"{cls.__name__}.{name} has a type that Merge.{rules[0].upper()} cannot merge: "
            f"{schema['type']}"
        )
    return rules[0]


def _marks(annotation: Any) -> list[Any]:
    metadata: Any = getattr(annotation, "metadata", getattr(annotation, "__metadata__", ()))
    return [mark.__omem_rule__ for mark in metadata if hasattr(mark, "__omem_rule__")]


def _inner_rules(annotation: Any, field: str) -> Iterator[Any]:
    """The rules inside a field's type: those of a union's members are the field's own."""
    is_union = get_origin(annotation) in (Union, UnionType)
    for part in get_args(annotation):
        rules = [*_marks(part), *_inner_rules(part, field)]
        if rules and not is_union:
            raise SchemaError(
                f"{field} has a merge rule inside a container; put it around the type"
            )
        yield from rules
