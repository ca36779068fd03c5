"""From a Pydantic core schema to the nodes of a plan.

A node is covered only where every setting of it is known here; anything else becomes an opaque
node, and what reaches it is Pydantic's. Core schemas are described at
https://docs.pydantic.dev/latest/api/pydantic_core_schema/.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, cast

import orjson
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from omem.fields import default_text, merge_rule, other_names, read, stable_default, written

Schema = Mapping[str, Any]
Node = tuple[Any, ...]

OPAQUE: Node = ("opaque",)
NO_LIMIT = 2**63 - 1

# Settings that change nothing about what is accepted or written, in any node. Strictness does so
# for floats alone: JSON has a kind of its own for everything else that is covered.
_NEUTRAL = frozenset(
    {"type", "ref", "metadata", "strict", "fail_fast", "title", "custom_error_type"}
)
_NEUTRAL_CONFIG = frozenset(
    {
        "title",
        "strict",
        "allow_inf_nan",
        "extra_fields_behavior",
        "frozen",
        "from_attributes",
        "loc_by_alias",
        "populate_by_name",
        "revalidate_instances",
        "serialize_by_alias",
        "validate_assignment",
        "validate_by_alias",
        "validate_by_name",
        "validate_default",
        "hide_input_in_errors",
        "cache_strings",
    }
)
_WRAPPERS = frozenset({"function-before", "function-after", "function-wrap"})
_AROUND = _WRAPPERS | {"default", "nullable"}


def compile_plan(model: type[BaseModel]) -> tuple[list[Node], int]:
    """The nodes of a model's plan, and the number of its root.

    Args:
        model: A complete model class.

    Returns:
        The nodes, as `_omem.Schema` takes them, and the root.

    Raises:
        SchemaError: A field has more than one merge rule, or one in a place where it has no
            meaning.
    """
    compiler = _Compiler()
    root = compiler.add(cast(Schema, model.__pydantic_core_schema__))
    return compiler.nodes, root


class _Compiler:
    """Collects the nodes of one model."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self._by_ref: dict[str, int] = {}
        self._shapes: dict[str, int] = {}
        self._definitions: dict[str, Schema] = {}
        self._config: Mapping[str, Any] = {}

    def add(self, schema: Schema) -> int:
        """The number of the node for a schema; what it refers to is added first or later."""
        if schema["type"] == "definitions":
            for definition in schema["definitions"]:
                self._definitions[definition["ref"]] = definition
            return self.add(schema["schema"])
        if schema["type"] == "definition-ref" and "serialization" in schema:
            return self._new(OPAQUE)
        schema = self._resolved(schema)
        ref = schema.get("ref")
        if ref is None:
            return self._new(self._node(schema))
        if ref not in self._by_ref:
            self._by_ref[ref] = number = self._new(OPAQUE)
            outer, self._config = self._config, _SHARED
            self.nodes[number] = self._node(schema)
            self._config = outer
        return self._by_ref[ref]

    def _new(self, node: Node) -> int:
        self.nodes.append(node)
        return len(self.nodes) - 1

    def _resolved(self, schema: Schema) -> Schema:
        """The schema behind a reference; one that leads nowhere stays as it is."""
        if "ref" in schema:
            self._definitions.setdefault(schema["ref"], schema)
        while schema["type"] == "definition-ref" and schema["schema_ref"] in self._definitions:
            schema = self._definitions[schema["schema_ref"]]
        return schema

    def _node(self, schema: Schema) -> Node:
        model = schema
        while model["type"] in _WRAPPERS:
            model = model["schema"]
        if model["type"] == "model":
            return self._model(model, plain=model is schema)
        make = _MAKERS.get(schema["type"])
        known = make is not None and "serialization" not in schema
        node = make(self, schema) if make is not None and known else OPAQUE
        return self._outline(schema) if node is OPAQUE else node

    def _outline(self, schema: Schema, *, inside: bool = False) -> Node:
        """What merging has to know of values that are Pydantic's: sets unite, a tuple is one value.

        Neither node takes any text.
        """
        schema = self._resolved(schema)
        for _ in range(9):  # a reference may lead back to itself
            if schema["type"] not in _AROUND:
                break
            schema = self._resolved(schema["schema"])
        match schema["type"]:
            case "set" | "frozenset" as kind:
                return ("items", kind, self._new(OPAQUE), 1, NO_LIMIT)
            case "tuple" if schema.get("variadic_item_index") is None:
                return ("tuple", [self._new(OPAQUE)])
            case "named-tuple" | "call":  # the latter in Pydantic 2.12
                cls: Any = schema.get("cls") or schema["function"]
                is_tuple = isinstance(cls, type) and issubclass(cls, tuple)
                return ("tuple", [self._new(OPAQUE)]) if is_tuple else OPAQUE
            case "union" | "tagged-union" if not inside:
                parts = [part for part in _choices(schema) if _KINDS.get(part["type"]) != "scalar"]
                kinds = {self._outline(part, inside=True)[0] for part in parts}
                if kinds == {"tuple"}:
                    return ("tuple", [self._new(OPAQUE)])
                return ("one_of", [self._member(part) for part in parts]) if parts else OPAQUE
            case _:
                return OPAQUE

    def _member(self, schema: Schema) -> int:
        """A member of a union that is Pydantic's; merging tells it by the fields that it has."""
        number = self.add(schema)
        if self.nodes[number] is not OPAQUE:
            return number
        schema = self._resolved(schema)
        match schema["type"]:
            case "dict":
                return self._new(("items", "dict", self._new(OPAQUE), 0, NO_LIMIT))
            case "dataclass" if schema["schema"]["type"] == "dataclass-args":
                fields = {field["name"]: field for field in schema["schema"]["fields"]}
            case "typed-dict" if all(f.get("required", True) for f in schema["fields"].values()):
                fields = schema["fields"]
            case _:
                return number
        ref = schema.get("ref") or f"no reference {number}"
        if ref not in self._shapes:
            self._shapes[ref] = shape = self._new(OPAQUE)
            parts = [(name, self.add(field["schema"]), (), None) for name, field in fields.items()]
            self.nodes[shape] = ("model", None, parts, False)
        return self._shapes[ref]

    def _model(self, schema: Schema, *, plain: bool) -> Node:
        cls: type[BaseModel] = schema["cls"]
        inner: Schema = schema["schema"]
        while inner["type"] in _WRAPPERS:
            inner, plain = inner["schema"], False
        if inner["type"] != "model-fields":  # a RootModel
            return OPAQUE
        outer, self._config = self._config, cast("Mapping[str, Any]", schema.get("config") or {})
        extra = self._config.get("extra_fields_behavior")
        extra = inner.get("extra_behavior") or schema.get("extra_behavior") or extra
        names = set(inner["fields"])
        covered = (
            plain
            and _known(schema, *_MODEL_SETTINGS)
            and not schema.get("custom_init")
            and _known(inner, "fields", "model_name", "computed_fields", "extra_behavior")
            and extra in (None, "ignore", "forbid")
            and _NEUTRAL_CONFIG.issuperset(self._config)
            and cls.__new__ is object.__new__
            and not any(
                vars(base).get("__slots__") for base in cls.__mro__ if base is not BaseModel
            )
            and not cls.__private_attributes__
            and all(
                _known(field, *_FIELD_SETTINGS)
                and not field.get("serialization_exclude")
                # Pydantic would take the value of one field for that of the other.
                and names.isdisjoint(other_names(field, name))
                for name, field in inner["fields"].items()
            )
        )
        fields = [
            self._field(cls, name, field["schema"]) for name, field in inner["fields"].items()
        ]
        self._config = outer
        return ("model", cls, fields, covered)

    def _field(self, cls: type[BaseModel], name: str, schema: Schema) -> Node:
        default = stable_default(schema)
        known = () if default is PydanticUndefined else (default, partial(default_text, cls, name))
        rule = merge_rule(cls, name, schema)
        if isinstance(rule, tuple):
            text = (partial(read, cls, name), partial(written, cls, name))
            rule = (*cast("tuple[Any, ...]", rule), *text)
        return (name, self.add(schema), known, rule)

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
        ge, gt, le, lt = bounds = [schema.get(name) for name in ("ge", "gt", "le", "lt")]
        exact = all(bound is None or _is_exact_float(bound) for bound in bounds)
        if not exact or None not in (ge, gt) or None not in (le, lt):
            return OPAQUE
        low, high = (gt if ge is None else ge), (lt if le is None else le)
        inf_nan = self._setting(schema, "allow_inf_nan") is not False
        # A strict float does not read the strings that stand for what is not finite.
        inf_nan = inf_nan and not self._setting(schema, "strict")
        return ("float", low, gt is not None, high, lt is not None, inf_nan)

    def _setting(self, schema: Schema, name: str) -> Any:
        value = schema.get(name)
        return self._config.get(name) if value is None else value

    def str_(self, schema: Schema) -> Node:
        if not _known(schema, "min_length", "max_length"):
            return OPAQUE
        return ("str", *_lengths(schema))

    def items(self, schema: Schema) -> Node:
        if not _known(schema, "items_schema", "min_length", "max_length"):
            return OPAQUE
        items: Schema = schema.get("items_schema") or {"type": "any"}
        # Elements of other texts may be equal, and a set of them is then shorter than its text.
        # Of floats only 0.0 and -0.0: where a -0.0 is, check and merge leave it to Pydantic.
        ordered = schema["type"] in ("list", "tuple")
        known = ordered or items["type"] == "float" or self._are_distinct(items)
        item = self.add(items) if known else self._new(OPAQUE)
        return ("items", schema["type"], item, *_lengths(schema))

    def _are_distinct(self, schema: Schema) -> bool:
        """Whether values may stand in a set, and equal ones always have the same text."""
        match schema["type"]:
            case "nullable":
                return self._are_distinct(schema["schema"])
            case "tuple":
                return all(map(self._are_distinct, schema["items_schema"]))
            case "literal":
                expected: list[Any] = schema["expected"]
                return len(set(expected)) == len(expected)
            case kind:
                return kind in _DISTINCT

    def tuple_(self, schema: Schema) -> Node:
        items: list[Schema] = schema["items_schema"]
        if schema.get("variadic_item_index") == 0 and len(items) == 1:
            rest = {name: schema[name] for name in schema if name != "variadic_item_index"}
            return self.items({**rest, "items_schema": items[0]})
        if not _known(schema, "items_schema"):
            return OPAQUE
        return ("tuple", [self.add(item) for item in items])

    def dict_(self, schema: Schema) -> Node:
        keys: Schema = schema.get("keys_schema") or {"type": "any"}
        settings = ("keys_schema", "values_schema", "min_length", "max_length")
        if keys["type"] != "str" or not _known(keys) or not _known(schema, *settings):
            return OPAQUE
        value = self.add(schema.get("values_schema") or {"type": "any"})
        return ("items", "dict", value, *_lengths(schema))

    def enum(self, schema: Schema) -> Node:
        if not _known(schema, "cls", "members", "sub_type", "missing"):
            return OPAQUE
        # A member whose value is None reads back as None wherever None may stand as well.
        values = [(member.value, member) for member in schema["members"]]
        return OPAQUE if any(value is None for value, _ in values) else _choice(values)

    def literal(self, schema: Schema) -> Node:
        if not _known(schema, "expected"):
            return OPAQUE
        return _choice([(value, value) for value in schema["expected"]])

    def union(self, schema: Schema) -> Node:
        # From left to right, an int that comes first would take the text "1" from a str.
        in_order = schema.get("mode") == "left_to_right"
        if in_order or not _known(schema, "choices", "mode", "auto_collapse"):
            return OPAQUE
        return self._union(_choices(schema))

    def tagged_union(self, schema: Schema) -> Node:
        if not _known(schema, "choices", "discriminator", "from_attributes"):
            return OPAQUE
        # A model with several tags stands here once for each of them.
        choices = {id(c): c for c in map(self._resolved, schema["choices"].values())}.values()
        firsts = [_first_field(choice) for choice in choices]
        if any(first is None or first[0] != schema["discriminator"] for first in firsts):
            return OPAQUE
        return self._union(list(choices))

    def _union(self, choices: list[Schema]) -> Node:
        """A union where the JSON kind of a value, or a literal in its first field, picks one."""
        if any("serialization" in choice for choice in choices):
            return OPAQUE
        resolved = [self._resolved(choice) for choice in choices]
        kinds = [_KINDS.get(choice["type"], "") for choice in resolved]
        scalars = [
            choice["type"] for choice, kind in zip(resolved, kinds, strict=True) if kind == "scalar"
        ]
        simple = len(set(scalars)) == len(scalars) and _SIMPLE.issuperset(scalars)
        if (
            "" in kinds
            or not (simple or len([kind for kind in scalars if kind != "none"]) == 1)
            or kinds.count("array") > 1
            or (kinds.count("object") > 1 and not _told_apart(resolved))
        ):
            return OPAQUE
        # bool before int before float: the first one that takes a text is the one Pydantic takes.
        numbers: list[int] = []
        for choice in sorted(resolved, key=lambda choice: _ORDER.get(choice["type"], 9)):
            if choice["type"] == "float" and "str" in scalars:
                # A non-finite float is a string in the record, which str would take.
                choice = {**choice, "allow_inf_nan": False}
            numbers.append(self.add(choice))
        return ("union", numbers)


# Which config a schema gets that several models refer to is not documented: the narrowest one.
_SHARED: Mapping[str, Any] = {"strict": True}
_MODEL_SETTINGS = (
    *("cls", "schema", "config", "custom_init", "root_model", "extra_behavior"),
    *("generic_origin", "frozen", "revalidate_instances"),
)
_FIELD_SETTINGS = (
    *("schema", "validation_alias", "serialization_alias", "serialization_exclude", "frozen"),
)
_DISTINCT = frozenset({"none", "bool", "int", "str", "date", "uuid", "bytes", "enum"})
_ORDER = {"none": 0, "bool": 1, "int": 2, "float": 3, "str": 4}
_SIMPLE = frozenset(_ORDER)
_KINDS = (
    dict.fromkeys(_ORDER, "scalar")
    | dict.fromkeys(("date", "datetime", "time", "uuid", "decimal", "bytes"), "scalar")
    | dict.fromkeys(("literal", "enum"), "scalar")
    | dict.fromkeys(("list", "set", "frozenset", "tuple"), "array")
    | dict.fromkeys(("dict", "model"), "object")
)


def _leaf(*node: Any) -> Callable[[_Compiler, Schema], Node]:
    """A node without settings."""
    return lambda compiler, schema: node if _known(schema) else OPAQUE


def _clock(compiler: _Compiler, schema: Schema) -> Node:
    return ("text", schema["type"]) if _known(schema, "microseconds_precision") else OPAQUE


_MAKERS: dict[str, Callable[[_Compiler, Schema], Node]] = {
    "any": _leaf("any"),
    "none": _leaf("null"),
    "bool": _leaf("bool"),
    "int": _Compiler.int_,
    "float": _Compiler.float_,
    "str": _Compiler.str_,
    "date": _leaf("text", "date"),
    "datetime": _clock,
    "time": _clock,
    "uuid": _leaf("text", "uuid"),
    "decimal": _leaf("text", "decimal"),
    "bytes": _leaf("text", "bytes"),
    "default": _Compiler.default,
    "nullable": _Compiler.nullable,
    "list": _Compiler.items,
    "set": _Compiler.items,
    "frozenset": _Compiler.items,
    "tuple": _Compiler.tuple_,
    "dict": _Compiler.dict_,
    "enum": _Compiler.enum,
    "literal": _Compiler.literal,
    "union": _Compiler.union,
    "tagged-union": _Compiler.tagged_union,
}


def _known(schema: Schema, *settings: str) -> bool:
    """Whether the node has no settings but neutral ones and these."""
    return all(
        name in _NEUTRAL or name in settings or value is None for name, value in schema.items()
    )


def _choices(union: Schema) -> list[Schema]:
    """The members of a union, which may stand there with a label each."""
    choices: list[Any] | dict[Any, Any] = union["choices"]
    parts: list[Any] = list(choices.values()) if isinstance(choices, dict) else choices
    return [cast("tuple[Any]", part)[0] if isinstance(part, tuple) else part for part in parts]


def _told_apart(choices: list[Schema]) -> bool:
    """Whether the objects are models whose first field is a literal of its own.

    The first field, because a model that does not fit must fail at once: where unions nest, the
    tries would multiply.
    """
    firsts = [_first_field(choice) for choice in choices if _KINDS[choice["type"]] == "object"]
    found = [first for first in firsts if first is not None]
    values = [value for _, values in found for value in values]
    same = len({name for name, _ in found}) == 1 and len(set(values)) == len(values)
    return same and len(found) == len(firsts)


def _first_field(schema: Schema) -> tuple[str, list[Any]] | None:
    """Name and values of a model's first field, if it is a literal without an alias."""
    inner = cast(Schema, schema.get("schema") or {})
    if schema["type"] != "model" or inner.get("type") != "model-fields" or not inner["fields"]:
        return None
    name, field = next(iter(inner["fields"].items()))
    literal = field["schema"]
    if literal["type"] == "default":
        literal = literal["schema"]
    plain = literal["type"] == "literal" and field.get("validation_alias") is None
    return (name, literal["expected"]) if plain else None


def _choice(values: list[tuple[Any, Any]]) -> Node:
    """A choice of values; opaque unless all are str, int, bool or None and differ as JSON."""
    choices = [(orjson.dumps(value), result) for value, result in values if _is_plain(value)]
    complete = len(choices) == len(values) and len({text for text, _ in choices}) == len(choices)
    return ("choice", choices) if complete and choices else OPAQUE


def _is_plain(value: object) -> bool:
    if type(value) is str:
        return value.isprintable() or not any("\ud800" <= char <= "\udfff" for char in value)
    return value is None or type(value) is bool or _is_small_int(value)


def _is_small_int(value: object) -> bool:
    return type(value) is int and -(2**63) < value < 2**63 - 1


def _is_exact_float(value: object) -> bool:
    return type(value) is float or (type(value) is int and abs(value) <= 2**53)


def _lengths(schema: Schema) -> tuple[int, int]:
    longest = schema.get("max_length")
    return schema.get("min_length") or 0, NO_LIMIT if longest is None else longest
