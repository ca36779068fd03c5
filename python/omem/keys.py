"""What identifies an entity: key extractors that Rust can follow on records, and those it can't."""

from __future__ import annotations

import dis
import operator
from collections.abc import Callable, Sequence
from types import CodeType, FunctionType, UnionType
from typing import Annotated, Any, TypeVar, Union, cast, get_args, get_origin

from pydantic import BaseModel, RootModel

T = TypeVar("T", bound=BaseModel)
KeyExtractor = Callable[[T], Any] | str | tuple[str, ...]

Path = tuple[str, ...]
Fields = Path | list[Any]
"""A path; or a list `["tuple", …]` or `["format", …]` of paths, fields and literal strings."""

_NEUTRAL = frozenset({"RESUME", "NOP", "CACHE", "COPY_FREE_VARS", "NOT_TAKEN"})
_LOADS = frozenset({"LOAD_FAST", "LOAD_FAST_BORROW", "LOAD_FAST_CHECK"})


def key_spec(model: type[BaseModel], extractor: object) -> Any:
    """What `_omem.Store` takes as its key.

    Args:
        model: The model of the entities.
        extractor: A field name, a dotted path, a tuple of those, or a callable.

    Returns:
        A plan of field numbers where the key is a matter of fields, else a callable.

    Raises:
        ValueError: A name that is no field or attribute of the model.
        TypeError: It is none of these.

    Examples:
        >>> from pydantic import BaseModel, RootModel
        >>> class Note(BaseModel):
        ...     topic: str
        ...     day: int
        >>> key_spec(Note, lambda note: (note.topic, note.day))
        ('tuple', [('path', [0]), ('path', [1])])
    """
    fields = recognise(extractor)
    if fields is not None:
        plan = _plan(model, fields, strict=not callable(extractor))
        if plan is not None:
            return plan
    return key_function(cast(Any, extractor))


def key_function(extractor: KeyExtractor[T]) -> Callable[[T], Any]:
    """An extractor as a function of the model.

    Args:
        extractor: A field name, a dotted path, a tuple of those, or a callable.

    Returns:
        The function.

    Raises:
        TypeError: It is none of these.

    Examples:
        >>> from types import SimpleNamespace
        >>> key_function(("a", "b.c"))(SimpleNamespace(a=1, b=SimpleNamespace(c=2)))
        (1, 2)
    """
    if isinstance(extractor, str):
        return operator.attrgetter(extractor)
    if callable(extractor):
        return extractor
    names: tuple[object, ...] = extractor if isinstance(cast(object, extractor), tuple) else ()
    if not names or not all(isinstance(name, str) for name in names):
        raise TypeError(
            "key_extractor must be a field name, a tuple of field names, as ('a', 'b'), or a "
            f"callable, not {extractor!r}"
        )
    parts = [operator.attrgetter(cast(str, name)) for name in names]
    return lambda item: tuple(part(item) for part in parts)


def key_fields(model: type[BaseModel], extractor: object) -> list[str] | None:
    """The dotted names of the fields that make the key, for the metadata.

    Args:
        model: The model of the entities.
        extractor: As for `key_spec`.

    Returns:
        The names in order, or None where the key is not just fields.
    """
    fields = recognise(extractor)
    if fields is None or _plan(model, fields, strict=False) is None:
        return None
    if isinstance(fields, tuple):
        return [".".join(fields)]
    kind, *parts = fields
    if kind != "tuple" or not all(isinstance(part, tuple) for part in parts):
        return None
    return [".".join(cast(Path, part)) for part in parts]


def recognise(extractor: object) -> Fields | None:
    """The fields that an extractor reads, where it does nothing else.

    Names and tuples of names, `operator.attrgetter`, and functions whose bytecode only reads
    attributes of their one argument, makes tuples of them or puts them into an f-string.

    Args:
        extractor: The extractor.

    Returns:
        The fields, or None where only a call can tell.
    """
    if isinstance(extractor, str):
        return tuple(extractor.split("."))
    if isinstance(extractor, tuple):
        parts = [recognise(part) for part in cast("tuple[object, ...]", extractor)]
        return None if None in parts or not parts else ["tuple", *parts]
    if isinstance(extractor, operator.attrgetter):
        names: tuple[str, ...] = extractor.__reduce__()[1]  # type: ignore[assignment]
        paths = [tuple(name.split(".")) for name in names]
        return paths[0] if len(paths) == 1 else ["tuple", *paths]
    if isinstance(extractor, FunctionType) and type(extractor) is FunctionType:
        code = extractor.__code__
        plain = not (code.co_freevars or extractor.__defaults__ or extractor.__kwdefaults__)
        if (
            plain
            and code.co_argcount == 1
            and not code.co_kwonlyargcount
            and not code.co_flags & 0x2AC
        ):
            return _follow(code)
    return None


class _Argument:
    """The function's one argument, or attributes of it."""

    def __init__(self, path: Path = ()) -> None:
        self.path = path


class _Text:
    """A value that was put into an f-string."""

    def __init__(self, path: Path) -> None:
        self.path = path


def _follow(code: CodeType) -> Fields | None:
    """Run the bytecode on symbols; anything that is not known here ends it."""
    stack: list[Any] = []
    for step in dis.get_instructions(code):
        name = step.opname
        if name in _NEUTRAL:
            continue
        if name in _LOADS and step.argval == code.co_varnames[0]:
            stack.append(_Argument())
        elif name in ("LOAD_FAST_LOAD_FAST", "LOAD_FAST_BORROW_LOAD_FAST_BORROW"):
            stack += [_Argument(), _Argument()]
        elif name == "LOAD_ATTR" and stack and isinstance(stack[-1], _Argument):
            if not isinstance(step.argval, str):
                return None
            stack.append(_Argument((*stack.pop().path, step.argval)))
        elif name == "LOAD_CONST" and isinstance(step.argval, str):
            stack.append(step.argval)
        elif name == "FORMAT_SIMPLE" or (name == "FORMAT_VALUE" and step.arg == 0):
            top = stack.pop() if stack else None
            if not isinstance(top, _Argument) or not top.path:
                return None
            stack.append(_Text(top.path))
        elif name in ("BUILD_STRING", "BUILD_TUPLE") and step.arg and len(stack) >= step.arg:
            parts = stack[-step.arg :]
            del stack[-step.arg :]
            stack.append(["format" if name == "BUILD_STRING" else "tuple", *parts])
        elif name == "RETURN_VALUE" and len(stack) == 1:
            return _settled(stack[0])
        else:
            return None
    return None


def _settled(value: Any) -> Fields | None:
    """What the function returns, if it is made of fields."""
    if isinstance(value, _Argument):
        return value.path or None
    if isinstance(value, _Text):
        return ["format", value.path]
    if not isinstance(value, list):
        return None
    kind, *parts = cast("list[Any]", value)
    if kind == "format":
        if not all(isinstance(part, (str, _Text)) for part in parts):
            return None
        return ["format", *(part.path if isinstance(part, _Text) else part for part in parts)]
    settled = [_settled(part) for part in parts]
    return None if None in settled else ["tuple", *settled]


def _plan(model: type[BaseModel], fields: Fields, *, strict: bool) -> Any:
    """Field numbers for names; None where a name is no field, an error where `strict`."""
    if isinstance(fields, tuple):
        numbers = _numbers(model, fields, strict=strict)
        return None if numbers is None else ("path", numbers)
    kind, *parts = fields
    planned: list[Any] = []
    for part in parts:
        if kind == "format" and isinstance(part, str):
            planned.append(part)
            continue
        if kind == "format" and _leaf_type(model, part) not in (str, int):
            return None
        inner = _plan(model, part, strict=strict)
        if inner is None:
            return None
        planned.append(inner[1] if kind == "format" else inner)
    return kind, planned


def _numbers(model: type[BaseModel], path: Sequence[str], *, strict: bool) -> list[int] | None:
    numbers: list[int] = []
    current: Any = model
    for place, name in enumerate(path):
        names = list(current.model_fields) if _is_model(current) else []
        if name not in names:
            if not strict or _may_have(current, name):
                return None
            where = ".".join(path[:place]) or model.__name__
            raise ValueError(
                f"key_extractor names {name!r}, which is no field of {where}"
                + (f"; the fields are {', '.join(names)}" if names else "")
            )
        if issubclass(current, RootModel):  # its record is the value alone
            return None
        numbers.append(names.index(name))
        current = _plain(current.model_fields[name].annotation)
    return numbers


def _may_have(kind: Any, name: str) -> bool:
    """Whether values of a type may have this attribute; of a union nobody knows."""
    if not isinstance(kind, type):
        return True
    if issubclass(kind, BaseModel) and kind.model_config.get("extra") == "allow":
        return True
    known: object = cast(object, kind)
    return hasattr(known, name) or name in getattr(known, "__dataclass_fields__", ())


def _leaf_type(model: type[BaseModel], path: Sequence[str]) -> Any:
    current: Any = model
    for name in path:
        if not _is_model(current) or name not in current.model_fields:
            return None
        annotation = current.model_fields[name].annotation
        current = annotation if annotation in (str, int) else _plain(annotation)
        if _is_optional(annotation):
            return None
    return current


def _is_model(value: Any) -> bool:
    return isinstance(value, type) and issubclass(value, BaseModel)


def _is_optional(annotation: Any) -> bool:
    return get_origin(annotation) in (Union, UnionType) and type(None) in get_args(annotation)


def _plain(annotation: Any) -> Any:
    """The type behind Annotated and Optional."""
    if get_origin(annotation) is Annotated:
        return _plain(get_args(annotation)[0])
    if _is_optional(annotation):
        others = [part for part in get_args(annotation) if part is not type(None)]
        return _plain(others[0]) if len(others) == 1 else None
    return annotation
