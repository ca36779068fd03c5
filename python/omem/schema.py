"""The compiled schema of a Pydantic model, and its fingerprint."""

from __future__ import annotations

import hashlib
import json
import re
import weakref

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaWarningKind

from omem import _omem
from omem.errors import SchemaError
from omem.plan import compile_plan

_schemas: weakref.WeakKeyDictionary[type[BaseModel], weakref.ref[_omem.Schema]] = (
    weakref.WeakKeyDictionary()
)


def compile_schema(model: type[BaseModel]) -> _omem.Schema:
    """The compiled schema of a model, the same object as long as somebody holds it.

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
    # The cache holds both weakly: a schema holds its class, which would otherwise never go.
    known = _schemas.get(model)
    schema = None if known is None else known()
    if schema is None:
        try:
            model.model_rebuild()
        except Exception as error:
            raise SchemaError(f"{model.__name__} is not complete: {error}") from error
        nodes, root = compile_plan(model)
        schema = _omem.Schema(model, nodes, root, fingerprint(model))
        _schemas[model] = weakref.ref(schema)
    return schema


def fingerprint(model: type[BaseModel]) -> str:
    """A stable hash of the model's JSON schema, or of its fields where it has none.

    Args:
        model: The model class.

    Returns:
        32 hexadecimal digits, the same in every process.

    Examples:
        >>> from pydantic import BaseModel
        >>> class Tag(BaseModel):
        ...     name: str
        >>> len(fingerprint(Tag))
        32
    """
    try:
        shape: object = model.model_json_schema(schema_generator=_Quiet)
    except Exception:
        # A type that JSON schema has no word for; addresses in reprs differ in each process.
        fields = model.model_fields.items()
        shape = {name: re.sub(r" at 0x[0-9a-f]+", "", repr(field)) for name, field in fields}
    text = json.dumps(shape, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


class _Quiet(GenerateJsonSchema):
    """Generates without warnings, which a host may have turned into errors."""

    def emit_warning(self, kind: JsonSchemaWarningKind, detail: str) -> None:
        """Say nothing."""
