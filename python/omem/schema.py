"""From a Pydantic model to the plan by which Rust encodes, checks and decodes its records.

Pydantic's core schema is walked once for each model. A node is covered only where every setting
of it is known here; anything else becomes an opaque node, and what reaches it is Pydantic's.
Core schemas are described at https://docs.pydantic.dev/latest/api/pydantic_core_schema/.
"""

from __future__ import annotations

import hashlib
import weakref
from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any, cast

import orjson
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from omem import _omem
from omem.errors import SchemaError

Schema = Mapping[str, Any]
Node = tuple[Any, ...]

OPAQUE: Node = ("opaque",)
NO_LIMIT = 2**63 - 1

# Settings that change nothing about what is accepted or written, in any node.
_NEUTRAL = frozenset(
    {"type", "ref", "metadata", "strict", "fail_fast", "title", "custom_error_type"}
)
_NEUTRAL_CONFIG = frozenset(
    {
        "title",
        "frozen",
        "from_attributes",
        "loc_by_alias",
        "populate_by_name",
        "serialize_by_alias",
        "validate_assignment",
        "validate_by_alias",
        "validate_by_name",
        "validate_default",
        "hide_input_in_errors",
        "cache_strings",
    }
)
_STABLE_FACTORIES = (list, dict, set, frozenset, tuple, str, int, float, bool)
_WRAPPERS = frozenset({"function-before", "function-after", "function-wrap"})

_schemas: weakref.WeakKeyDictionary[type[BaseModel], _omem.Schema] = weakref.WeakKeyDictionary()


def compile_schema(model: type[BaseModel]) -> _omem.Schema:
    """The compiled schema of a model, the same object at each call.

    Args:
        model: The model class; forward references must be resolvable by now.

    Returns:
        The schema.

    Raises:
        SchemaError: The model is not complete, or carries a merge rule that does not fit.

    Examples:
        >>> from pydantic import BaseModel
        >>> class Tag(BaseModel):
        ...     name: str
        >>> compile_schema(Tag).encode(Tag(name="a"))
        b'{"name":"a"}'
    """
    known = _schemas.get(model)
    if known is not None:
        return known
    try:
        if not model.__pydantic_complete__:
            model.model_rebuild()
    except Exception as error:
        raise SchemaError(f"{model.__name__} is not complete: {error}") from error
    compiler = _Compiler()
    root = compiler.add(cast(Schema, model.__pydantic_core_schema__))
    schema = _omem.Schema(model, compiler.nodes, root, fingerprint(model))
    _schemas[model] = schema
    return schema


def fingerprint(model: type[BaseModel]) -> str:
    """A stable hash of the model's JSON schema, or of its fields where it has none.

    Args:
        model: The model class.

    Returns:
        32 hexadecimal digits.
    """
    try:
        shape: object = model.model_json_schema()
    except Exception:
        shape = {name: str(field.annotation) for name, field in model.model_fields.items()}
    text = orjson.dumps(shape, option=orjson.OPT_SORT_KEYS, default=str)
    return hashlib.sha256(text).hexdigest()[:32]


def _known(schema: Schema, *settings: str) -> bool:
    """Whether the node has no settings but neutral ones and these."""
    return all(
        name in _NEUTRAL or name in settings or value is None for name, value in schema.items()
    )


class _Compiler:
    """Collects the nodes of one model."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self._by_ref: dict[str, int] = {}
        self._definitions: dict[str, Schema] = {}

    def add(self, schema: Schema) -> int:
        """The number of the node for a schema; what it refers to is added first or later."""
        kind = schema["type"]
        if kind == "definitions":
            for definition in schema["definitions"]:
                self._definitions[definition["ref"]] = definition
            return self.add(schema["schema"])
        if kind == "definition-ref":
            if "serialization" in schema:
                return self._new(OPAQUE)
            return self._referred(schema["schema_ref"])
        ref = schema.get("ref")
        if ref in self._by_ref:
            return self._by_ref[ref]
        number = self._new(OPAQUE)
        if ref is not None:
            self._by_ref[ref] = number
            self._definitions.setdefault(ref, schema)
        self.nodes[number] = self._node(schema)
        return number

    def _new(self, node: Node) -> int:
        self.nodes.append(node)
        return len(self.nodes) - 1

    def _referred(self, ref: str) -> int:
        if ref in self._by_ref:
            return self._by_ref[ref]
        definition = self._definitions.get(ref)
        return self._new(OPAQUE) if definition is None else self.add(definition)

    def _node(self, schema: Schema) -> Node:
        model = _model_behind(schema)
        if model is not None:
            return self._model(model, plain=model is schema)
        if "serialization" in schema:
            return OPAQUE
        make = _MAKERS.get(schema["type"])
        return OPAQUE if make is None else make(self, schema)

    def _model(self, schema: Schema, *, plain: bool) -> Node:
        cls: type[BaseModel] = schema["cls"]
        inner: Schema = schema["schema"]
        while inner["type"] in _WRAPPERS:
            inner, plain = inner["schema"], False
        if inner["type"] != "model-fields":  # a RootModel
            return OPAQUE
        config: Mapping[str, Any] = schema.get("config") or {}
        extra = schema.get("extra_behavior") or config.get("extra_fields_behavior") or "ignore"
        extra = inner.get("extra_behavior") or extra
        covered = (
            plain
            and _known(
                schema, "cls", "schema", "config", "custom_init", "root_model", "extra_behavior"
            )
            and not schema.get("custom_init")
            and _known(inner, "fields", "model_name", "computed_fields", "extra_behavior")
            and extra in ("ignore", "forbid")
            and all(name in _NEUTRAL_CONFIG for name in config if name != "extra_fields_behavior")
            and cls.__new__ is object.__new__
            and not cls.__private_attributes__
        )
        fields = [self._field(cls, name, field) for name, field in inner["fields"].items()]
        covered = covered and all(
            _known(field, "schema", "validation_alias", "serialization_alias", "frozen")
            for field in inner["fields"].values()
        )
        return ("model", cls, fields, covered)

    def _field(self, cls: type[BaseModel], name: str, field: Schema) -> Node:
        schema: Schema = field["schema"]
        default: Any = PydanticUndefined
        if schema["type"] == "default":
            default = _stable_default(schema)
        rules = [
            mark.__omem_rule__
            for mark in (cls.model_fields[name].metadata if name in cls.model_fields else ())
            if hasattr(mark, "__omem_rule__")
        ]
        if len(rules) > 1:
            raise SchemaError(f"{cls.__name__}.{name} has more than one merge rule")
        has_default = default is not PydanticUndefined
        node = self.add(schema)
        return (
            name,
            node,
            has_default,
            default if has_default else None,
            rules[0] if rules else None,
        )

    def default(self, schema: Schema) -> Node:
        settings = ("schema", "default", "default_factory", "default_factory_takes_data")
        if not _known(schema, *settings, "validate_default", "copy_default"):
            return OPAQUE
        # A default decides nothing about a value that is there.
        return ("same", self.add(schema["schema"]))

    def nullable(self, schema: Schema) -> Node:
        return ("nullable", self.add(schema["schema"])) if _known(schema, "schema") else OPAQUE

    def int_(self, schema: Schema) -> Node:
        bounds = [schema.get(name) for name in ("ge", "gt", "le", "lt")]
        fits = all(bound is None or _is_small_int(bound) for bound in bounds)
        if not _known(schema, "ge", "gt", "le", "lt") or not fits:
            return OPAQUE
        ge, gt, le, lt = bounds
        lows = [low for low in (ge, None if gt is None else gt + 1) if low is not None]
        highs = [high for high in (le, None if lt is None else lt - 1) if high is not None]
        return ("int", max(lows, default=None), min(highs, default=None))

    def float_(self, schema: Schema) -> Node:
        if not _known(schema, "ge", "gt", "le", "lt", "allow_inf_nan"):
            return OPAQUE
        ge, gt, le, lt = (schema.get(name) for name in ("ge", "gt", "le", "lt"))
        if (ge is not None and gt is not None) or (le is not None and lt is not None):
            return OPAQUE
        low, high = (gt if ge is None else ge), (lt if le is None else le)
        inf_nan = schema.get("allow_inf_nan") is not False
        return ("float", low, gt is not None, high, lt is not None, inf_nan)

    def str_(self, schema: Schema) -> Node:
        if not _known(schema, "min_length", "max_length"):
            return OPAQUE
        return ("str", *_lengths(schema))

    def list_(self, schema: Schema) -> Node:
        return self._items(schema, schema["type"])

    def tuple_(self, schema: Schema) -> Node:
        items = schema["items_schema"]
        if schema.get("variadic_item_index") == 0 and len(items) == 1:
            return self._items({**schema, "items_schema": items[0]}, "tuple")
        if not _known(schema, "items_schema"):
            return OPAQUE
        return ("tuple", [self.add(item) for item in items])

    def _items(self, schema: Schema, kind: str) -> Node:
        if not _known(schema, "items_schema", "min_length", "max_length", "variadic_item_index"):
            return OPAQUE
        item = self.add(schema.get("items_schema") or {"type": "any"})
        return ("items", kind, item, *_lengths(schema))

    def dict_(self, schema: Schema) -> Node:
        keys: Schema = schema.get("keys_schema") or {"type": "any"}
        plain_keys = keys["type"] == "str" and _known(keys)
        if not plain_keys or not _known(
            schema, "keys_schema", "values_schema", "min_length", "max_length"
        ):
            return OPAQUE
        value = self.add(schema.get("values_schema") or {"type": "any"})
        return ("items", "dict", value, *_lengths(schema))

    def enum(self, schema: Schema) -> Node:
        if not _known(schema, "cls", "members", "sub_type", "missing"):
            return OPAQUE
        members: list[Enum] = schema["members"]
        return _choice([(member.value, member) for member in members])

    def literal(self, schema: Schema) -> Node:
        if not _known(schema, "expected"):
            return OPAQUE
        return _choice([(value, value) for value in schema["expected"]])

    def union(self, schema: Schema) -> Node:
        if not _known(schema, "choices", "mode", "auto_collapse") or schema.get("mode") not in (
            None,
            "smart",
        ):
            return OPAQUE
        choices: list[Schema] = [
            choice[0] if isinstance(choice, tuple) else choice for choice in schema["choices"]
        ]
        kinds = [choice["type"] for choice in choices]
        scalars = {"str", "int", "float", "bool", "none"}
        if len(set(kinds)) != len(kinds) or not set(kinds) <= scalars:
            return OPAQUE
        # bool before int before float: the first one that takes a text is the one Pydantic takes.
        order = ("none", "bool", "int", "float", "str")
        numbers: list[int] = []
        for choice in sorted(choices, key=lambda choice: order.index(choice["type"])):
            if choice["type"] == "float" and "str" in kinds:
                # A non-finite float is a string in the record, which str would take.
                choice = {**choice, "allow_inf_nan": False}
            numbers.append(self.add(choice))
        return ("union", numbers)


def _leaf(*node: Any) -> Callable[[_Compiler, Schema], Node]:
    """A node without settings."""
    return lambda compiler, schema: node if _known(schema) else OPAQUE


def _datetime(compiler: _Compiler, schema: Schema) -> Node:
    known = _known(schema, "microseconds_precision")
    return ("text", schema["type"]) if known else OPAQUE


_MAKERS: dict[str, Callable[[_Compiler, Schema], Node]] = {
    "any": _leaf("any"),
    "none": _leaf("null"),
    "bool": _leaf("bool"),
    "int": _Compiler.int_,
    "float": _Compiler.float_,
    "str": _Compiler.str_,
    "date": _leaf("text", "date"),
    "datetime": _datetime,
    "time": _datetime,
    "uuid": _leaf("text", "uuid"),
    "decimal": _leaf("text", "decimal"),
    "bytes": _leaf("text", "bytes"),
    "default": _Compiler.default,
    "nullable": _Compiler.nullable,
    "list": _Compiler.list_,
    "set": _Compiler.list_,
    "frozenset": _Compiler.list_,
    "tuple": _Compiler.tuple_,
    "dict": _Compiler.dict_,
    "enum": _Compiler.enum,
    "literal": _Compiler.literal,
    "union": _Compiler.union,
}


def _model_behind(schema: Schema) -> Schema | None:
    """The model node of a schema, behind the validators around it."""
    while schema["type"] in _WRAPPERS:
        schema = schema["schema"]
    return schema if schema["type"] == "model" else None


def _stable_default(schema: Schema) -> Any:
    """The default that is the same every time, or PydanticUndefined."""
    if "default" in schema:
        return schema["default"]
    factory = schema.get("default_factory")
    if schema.get("default_factory_takes_data"):
        return PydanticUndefined
    if factory in _STABLE_FACTORIES:
        return cast("Callable[[], Any]", factory)()
    if isinstance(factory, type) and issubclass(factory, BaseModel):
        return factory()
    return PydanticUndefined


def _choice(values: list[tuple[Any, Any]]) -> Node:
    """A choice of values; opaque unless all are str or int (or None) and differ as JSON."""
    choices = [(orjson.dumps(value), result) for value, result in values if _is_plain(value)]
    complete = len(choices) == len(values) and len({text for text, _ in choices}) == len(choices)
    return ("choice", choices) if complete and choices else OPAQUE


def _is_plain(value: object) -> bool:
    return value is None or type(value) is str or _is_small_int(value)


def _is_small_int(value: object) -> bool:
    return type(value) is int and -(2**63) < value < 2**63 - 1


def _lengths(schema: Schema) -> tuple[int, int]:
    longest = schema.get("max_length")
    return schema.get("min_length") or 0, NO_LIMIT if longest is None else longest
