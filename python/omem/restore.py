"""A record of a file that only Pydantic can judge, turned into a model."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar, cast

from pydantic import BaseModel, ValidationError

from omem.errors import LoadError

T = TypeVar("T", bound=BaseModel)


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
            model = cast(
                T, self._validator.validate_json(raw, extra="forbid", by_alias=True, by_name=True)
            )
        except ValidationError as error:
            model = self._without_unknown(raw, error)
        self.defaults_filled += _defaults_in(model)
        return model

    def _migrated(self, raw: bytes) -> bytes:
        assert self._migrate is not None
        migrated: object = self._migrate(json.loads(raw))
        if not isinstance(migrated, dict):
            raise LoadError(
                f"migrate returned {type(migrated).__name__}; it must return the record as a dict"
            )
        return json.dumps(migrated, ensure_ascii=False).encode()

    def _without_unknown(self, raw: bytes, forbidden: ValidationError) -> T:
        """Validate again by the model's own rules, once unknown fields are what is wrong."""
        faults = forbidden.errors(include_url=False, include_input=False)
        others = [fault for fault in faults if fault["type"] != "extra_forbidden"]
        if others:
            path = path_of(others[0]["loc"])
            raise LoadError(f"{others[0]['msg']} at {path}", path=path) from forbidden
        try:
            model = cast(T, self._validator.validate_json(raw, by_alias=True, by_name=True))
        except ValidationError as error:
            fault = error.errors(include_url=False, include_input=False)[0]
            path = path_of(fault["loc"])
            raise LoadError(f"{fault['msg']} at {path}", path=path) from error
        unknown = [fault["loc"] for fault in faults if not _kept(model, fault["loc"])]
        if unknown and not self._drop_unknown:
            path = path_of(unknown[0])
            raise LoadError(
                f"the model has no field for {path}, so the next dump would lose it; "
                'add the field, or load with unknown="drop"',
                path=path,
            )
        self.unknown_dropped += len(unknown)
        return model


def path_of(location: Sequence[int | str]) -> str:
    """A Pydantic error location as a JSON path.

    Args:
        location: The `loc` of an error.

    Returns:
        The path, from `$`.

    Examples:
        >>> path_of(("lines", 3, "price"))
        '$.lines[3].price'
    """
    return "$" + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)


def _kept(model: BaseModel, location: Sequence[int | str]) -> bool:
    """Whether the value at this place was kept as an extra field of some nested model."""
    value: Any = model
    for part in location[:-1]:
        if isinstance(value, BaseModel):
            value = _field_value(value, part)
        elif isinstance(value, (dict, list, tuple)):
            try:
                value = cast(Any, value)[part]
            except (LookupError, TypeError):
                return False
    extra = value.__pydantic_extra__ if isinstance(value, BaseModel) else None
    return extra is not None and location[-1] in extra


def _field_value(model: BaseModel, part: int | str) -> Any:
    """The value of a field by its name or alias; the model itself for a union's tag."""
    for name, field in type(model).model_fields.items():
        if part in (name, field.alias, field.validation_alias):
            return getattr(model, name)
    return (model.__pydantic_extra__ or {}).get(str(part), model)


def _defaults_in(value: object) -> int:
    """How many fields of a model, nested models included, were given by their defaults."""
    total = 0
    pending: list[object] = [value]
    while pending:
        current = pending.pop()
        if isinstance(current, BaseModel):
            given = current.model_fields_set
            for name in type(current).model_fields:
                if name not in given:
                    total += 1
                else:
                    pending.append(getattr(current, name))
        elif isinstance(current, (list, tuple)):
            pending.extend(cast("Sequence[object]", current))
        elif isinstance(current, dict):
            pending.extend(cast("dict[object, object]", current).values())
    return total
