"""The text of an entity that is embedded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from pydantic import BaseModel

from omem import _omem


def check_fields(model: type[BaseModel], fields: Sequence[str]) -> None:
    """Refuse fields for the index that a model does not have.

    Args:
        model: The model.
        fields: Their names.

    Raises:
        ValueError: The model has no such field.
    """
    for name in fields:
        if name not in model.model_fields:
            raise ValueError(
                f"fields_for_index names {name!r}, which {model.__name__} does not have; its "
                f"fields are {', '.join(model.model_fields)}"
            )


def texts(schema: _omem.Schema, model: type[BaseModel], fields: Sequence[str]) -> _omem.Texts:
    """What gives the texts of a memory's entities, as ontomem embeds them.

    `field: value` lines of the chosen fields that are not None, or the whole record as
    `model_dump_json(exclude_none=True)` has it. Sets, which have no order of their own, are
    sorted, so that the text is the same in every process.

    Args:
        schema: The compiled model.
        model: The model.
        fields: The fields that are embedded; none for the whole record.

    Returns:
        What gives the texts: from records where they tell, else through `show`.
    """

    def show(entity: BaseModel) -> str:
        return shown(entity, fields)

    return _omem.Texts(schema, fields, _written_as_recorded(model.__pydantic_core_schema__), show)


def shown(entity: BaseModel, fields: Sequence[str]) -> str:
    """The text of an entity, by Pydantic's or Python's own means.

    Args:
        entity: The entity; its sets are replaced.
        fields: The fields that are embedded; none for the whole record.

    Returns:
        The text.
    """
    _sort_sets(entity)
    if not fields:
        return entity.model_dump_json(exclude_none=True, warnings=False)
    values = ((name, getattr(entity, name)) for name in fields)
    return "\n".join(f"{name}: {value}" for name, value in values if value is not None)


class _Sorted(list[Any]):
    """The elements of a set in a fixed order, shown as that set."""

    def __init__(self, elements: set[Any] | frozenset[Any]) -> None:
        super().__init__(sorted(elements, key=repr))
        self._frozen = isinstance(elements, frozenset)

    def __repr__(self) -> str:
        body = f"{{{', '.join(map(repr, self))}}}" if self else ""
        return f"frozenset({body})" if self._frozen else body or "set()"

    __str__ = __repr__


def _sort_sets(entity: BaseModel) -> None:
    """Put lists in a fixed order in the place of all sets in an entity."""
    values = cast("dict[str, Any]", entity.__dict__)
    for name, value in values.items():
        values[name] = _without_sets(value)


def _without_sets(value: Any) -> Any:
    kept: Any = value
    if isinstance(value, BaseModel):
        _sort_sets(value)
    elif isinstance(value, (set, frozenset)):
        return _Sorted(cast("set[Any]", value))
    elif isinstance(value, list):
        items = cast("list[Any]", value)
        items[:] = map(_without_sets, items)
    elif type(value) is tuple:
        return tuple(map(_without_sets, cast("tuple[Any, ...]", value)))
    elif isinstance(value, dict):
        entries = cast("dict[Any, Any]", value)
        for key in entries:
            entries[key] = _without_sets(entries[key])
    return kept


def _written_as_recorded(schema: Any) -> bool:
    """Whether Pydantic writes no computed fields and no aliases, so that records tell the text."""
    pending: list[Any] = [schema]
    while pending:
        node = pending.pop()
        if isinstance(node, dict):
            parts = cast("dict[str, Any]", node)
            config: Any = parts.get("config")
            if parts.get("computed_fields") or (config and config.get("serialize_by_alias")):
                return False
            # Defaults and metadata are values of the user's, not schemas.
            pending += [v for k, v in parts.items() if k not in ("metadata", "default", "expected")]
        elif isinstance(node, (list, tuple)):
            pending += cast("list[Any]", node)
    return True
