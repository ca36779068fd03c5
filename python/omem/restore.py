"""A record of a file that only Pydantic can judge, turned into a model."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Generic, TypeVar, cast

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails, to_json

from omem import _omem
from omem.errors import LoadError, LossyError
from omem.fields import other_names
from omem.schema import compile_schema

T = TypeVar("T", bound=BaseModel)

_OBJECTS = ("model-fields", "typed-dict", "dataclass-args", "named-tuple", "definition-ref")
_UNKNOWN = ("extra_forbidden", "unexpected_keyword_argument")


class Restorer(Generic[T]):
    """Validates raw records and keeps count of what they lacked or had too much.

    Args:
        model: The memory's model.
        drop_unknown: Leave out fields that the model does not have, instead of raising.
        migrate: Converts a record of an older schema.
    """

    def __init__(
        self,
        model: type[T],
        *,
        drop_unknown: bool = False,
        migrate: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
    ) -> None:
        self.defaults_filled = 0
        self.unknown_dropped = 0
        self._model = model
        self._validator = model.__pydantic_validator__
        self._schema = compile_schema(model)
        self._has_way_out = _has_way_out(model.__pydantic_core_schema__)
        self._drop_unknown = drop_unknown
        self._migrate = migrate

    def fresh(self) -> Restorer[T]:
        """One with the same settings that has counted nothing yet."""
        return Restorer(self._model, drop_unknown=self._drop_unknown, migrate=self._migrate)

    def __call__(self, raw: bytes) -> T:
        """Validate one record.

        Args:
            raw: One JSON object, UTF-8.

        Returns:
            The model.

        Raises:
            LoadError: It does not fit; `path` and the message say where and why.
        """
        if self._migrate is not None:
            raw = self._migrated(raw)
        try:
            model = self._validate(raw, extra="forbid")
        except ValidationError as error:
            model = self._by_own_rules(raw, error)
        else:
            if self._has_way_out:
                model = self._by_own_choice(raw, model)
        self.defaults_filled += _omem.defaults_in(model)
        return model

    def _validate(self, raw: bytes, **options: Any) -> T:
        read = self._validator.validate_json
        return cast(T, _omem.call_with_room(read, raw, by_alias=True, by_name=True, **options))

    def _migrated(self, raw: bytes) -> bytes:
        assert self._migrate is not None
        try:
            migrated: object = self._migrate(json.loads(raw))
        except (MemoryError, RuntimeError):
            raise
        except Exception as error:
            raise LoadError(f"migrate raised {type(error).__name__}: {error}") from error
        if not isinstance(migrated, dict):
            raise LoadError(
                f"migrate returned {type(migrated).__name__}; it must return the record as a dict"
            )
        try:
            # Also what is not JSON, but Pydantic writes as such, a datetime for instance.
            return to_json(migrated)
        except ValueError as error:
            raise LoadError(f"migrate returned what is not JSON: {error}") from error

    def _by_own_rules(self, raw: bytes, forbidden: ValidationError) -> T:
        """Validate by the model's own rules what does not pass where no unknown field may be."""
        try:
            model = self._validate(raw)
        except ValidationError as error:
            return self._without_unknown(raw, error)
        try:
            if self._schema.encode(model) == raw:
                return model
        except LossyError:
            pass  # whoever asked for the model will find the same
        unknown = [fault for fault in _unknown(forbidden) if not _kept(model, fault)]
        self._drop(raw, unknown)
        return model

    def _by_own_choice(self, raw: bytes, forbidding: T) -> T:
        """Validate by the model's own rules, lest an unknown field lead to another value.

        Where none may be, a union takes another member, and a validator that catches errors gives
        what it has for them.
        """
        try:
            model = self._validate(raw)
        except ValidationError as error:
            return self._without_unknown(raw, error)
        if _omem.alike(forbidding, model):
            return forbidding
        try:
            written = [
                cast(bytes, _omem.call_with_room(to_json, model, by_alias=way, round_trip=True))
                for way in (False, True)
            ]
        except Exception:
            return model  # whoever asked for the model will find that it cannot be written
        values = [json.loads(text, parse_int=len) for text in (raw, *written)]
        lost = [{"loc": path, "type": "extra_forbidden"} for path in _lost(*values)]
        self._drop(raw, cast("list[ErrorDetails]", lost))
        return model

    def _without_unknown(self, raw: bytes, refused: ValidationError) -> T:
        """Validate without what the model itself forbids, where that is all that is wrong."""
        faults = refused.errors(include_url=False)
        unknown = [fault for fault in faults if fault["type"] in _UNKNOWN]
        if len(unknown) == len(faults):
            try:
                model = self._validate(raw, extra="ignore")
            except ValidationError as error:
                faults = error.errors(include_url=False)
            else:
                self._drop(raw, [fault for fault in unknown if not _kept(model, fault)])
                record = json.loads(raw)
                for fault in unknown:
                    _remove(record, fault["loc"])
                return self._validate(json.dumps(record).encode())
        path = path_of(faults[0], raw)
        what = faults[0]["msg"]
        if faults[0]["type"] == "missing":
            what += "; give it a default, or convert the records with migrate="
        raise LoadError(what, path=path) from refused

    def _drop(self, raw: bytes, unknown: list[ErrorDetails]) -> None:
        """Count what is left out, or refuse to leave it out."""
        if unknown and not self._drop_unknown:
            path = path_of(unknown[0], raw)
            raise LoadError(
                f"the model has no field for {path}, so the next dump would lose it; "
                'add the field, or load with unknown="drop"',
                path=path,
            )
        # Each member of a union tells of the same field.
        self.unknown_dropped += len({path_of(fault, raw) for fault in unknown})


def steps(location: Sequence[int | str], kind: str, raw: bytes) -> list[int | str]:
    """What of a Pydantic error location stands in the record: not the tags of unions.

    Args:
        location: The `loc` of an error.
        kind: Its `type`.
        raw: The record.

    Returns:
        Names and places, from the outermost.

    Examples:
        >>> steps(("pets", 0, "cat", "lives"), "int_parsing", b'{"pets":[{"lives":"nine"}]}')
        ['pets', 0, 'lives']
    """
    found: list[int | str] = []
    value: Any = json.loads(raw, parse_int=len)  # Python reads no int of over 4,300 digits
    for number, part in enumerate(location):
        if not isinstance(value, (dict, list)):
            break
        try:
            value = cast(Any, value)[part]
        except (LookupError, TypeError):
            # A field that is missing stands nowhere, and its name is the last part.
            if number < len(location) - 1 or not kind.startswith("missing"):
                continue
        found.append(part)
    return found


def path_of(fault: ErrorDetails, raw: bytes | None = None) -> str:
    """The JSON path of what a Pydantic error is about.

    Args:
        fault: The error.
        raw: The record; without it, the tags of unions are steps of the path too.

    Returns:
        The path, from `$`.
    """
    location = fault["loc"]
    parts = location if raw is None else steps(location, fault["type"], raw)
    return "$" + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in parts)


def _has_way_out(schema: Any, *, inside: bool = False) -> bool:
    """Whether a core schema may accept an object by another way, after one of its fields failed."""
    if isinstance(schema, Mapping):
        part = cast("Mapping[str, Any]", schema)
        kind = part.get("type")
        if inside and kind in _OBJECTS:
            return True
        inside = inside or kind in ("union", "function-wrap") or part.get("on_error") is not None
        parts = (value for name, value in part.items() if name not in ("metadata", "default"))
        return any(_has_way_out(value, inside=inside) for value in parts)
    if isinstance(schema, (list, tuple)):
        return any(_has_way_out(part, inside=inside) for part in cast("list[Any]", schema))
    return False


def _lost(
    read: Any, *written: Any, at: tuple[int | str, ...] = ()
) -> Iterator[tuple[int | str, ...]]:
    """Where a record has a member that is in nothing of what was written of it."""
    members: Iterable[tuple[Any, Any]] = ()
    if isinstance(read, dict):
        members = cast("dict[str, Any]", read).items()
    elif isinstance(read, list):
        members = enumerate(cast("list[Any]", read))
    for name, value in members:
        found: list[Any] = []
        for other in written:
            try:
                found.append(other[name])
            except (LookupError, TypeError):
                continue
        if found:
            yield from _lost(value, *found, at=(*at, name))
        elif isinstance(name, str):
            yield (*at, name)


def _unknown(error: ValidationError) -> list[ErrorDetails]:
    faults = error.errors(include_url=False)
    return [fault for fault in faults if fault["type"] in _UNKNOWN]


def _remove(record: Any, location: Sequence[int | str]) -> None:
    """Take out of a record what stands at a location."""
    for part in location[:-1]:
        try:
            record = record[part]
        except (LookupError, TypeError):
            continue  # the tag of a union
    if isinstance(record, dict):
        cast("dict[str, Any]", record).pop(str(location[-1]), None)


def _kept(model: BaseModel, fault: ErrorDetails) -> bool:
    """Whether what is said to be unknown is in the model all the same, or computed from it.

    A union may have refused it for a member that was not chosen, an extra field is kept where
    the model allows it, and a serializer may write more than is read.
    """
    value: Any = model
    *outer, name = fault["loc"]
    for part in outer:
        if isinstance(value, BaseModel):
            value = _field_value(value, part)
        elif isinstance(value, (dict, list, tuple)):
            try:
                value = cast(Any, value)[part]
            except (LookupError, TypeError):
                continue  # the tag of a union
        elif dataclasses.is_dataclass(value):
            value = getattr(value, str(part), value)
    if isinstance(value, BaseModel):
        kind = type(value)
        if name in kind.model_computed_fields or name in (value.__pydantic_extra__ or {}):
            return True
        aliases = {field: _aliases(kind, field) for field in kind.model_fields}
        if any(name in names and name not in aliases for names in aliases.values()):
            return True
        if name in aliases and aliases[str(name)].isdisjoint(aliases):
            return True
    elif isinstance(value, dict):
        return name in cast("dict[object, object]", value)
    try:
        written: Any = json.loads(to_json(value, by_alias=False, round_trip=True))
    except Exception:
        return False
    return isinstance(written, dict) and cast(Any, written).get(name, ...) == fault["input"]


def _aliases(kind: type[BaseModel], field: str) -> set[str]:
    """Every other name that a field is read from."""
    alias: Any = kind.model_fields[field].validation_alias
    if hasattr(alias, "convert_to_aliases"):
        alias = alias.convert_to_aliases()
    return other_names({"validation_alias": alias}, field)


def _field_value(model: BaseModel, part: int | str) -> Any:
    """The value of a field by its name or alias; the model itself for a union's tag."""
    kind = type(model)
    for name in kind.model_fields:
        if part == name or part in _aliases(kind, name):
            return getattr(model, name)
    return (model.__pydantic_extra__ or {}).get(str(part), model)
