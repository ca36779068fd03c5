"""Every error that omem raises; each is also the builtin error that fits."""

from typing import Any


class OMemError(Exception):
    """The base of all errors of omem.

    Examples:
        >>> from omem import LoadError, OMemError
        >>> issubclass(LoadError, OMemError), issubclass(LoadError, ValueError)
        (True, True)
    """


class SchemaError(OMemError, ValueError):
    """The Pydantic model cannot be used as it is.

    Examples:
        >>> from typing import Annotated
        >>> from pydantic import BaseModel
        >>> from omem import Merge, OMem, SchemaError
        >>> class Tag(BaseModel):
        ...     name: str
        ...     uses: Annotated[str, Merge.SUM]
        >>> try:
        ...     OMem(Tag, "name")
        ... except SchemaError as error:
        ...     print(error)
        Tag.uses has a type that Merge.SUM cannot merge: it takes int, float and Decimal
    """


class LossyError(OMemError, ValueError):
    """A value would not survive saving; nothing was stored.

    Attributes:
        key: The key of the entity, where it is known.
        field: The path of the value, as `$.field[3]`.

    Examples:
        >>> from pydantic import BaseModel, SecretStr
        >>> from omem import LossyError, OMem
        >>> class User(BaseModel):
        ...     name: str
        ...     password: SecretStr
        >>> try:
        ...     OMem(User, "name").add(User(name="ada", password="x"))
        ... except LossyError as error:
        ...     print(error.key, error.field)
        ada $.password
    """

    def __init__(self, message: str, key: Any = None, field: str | None = None) -> None:
        super().__init__(message)
        self.key = key
        self.field = field


class LossyWarning(UserWarning):
    """A value that does not survive saving was stored all the same (`lossy="warn"`).

    Examples:
        >>> import warnings
        >>> from pydantic import BaseModel, SecretStr
        >>> from omem import LossyWarning, OMem
        >>> class User(BaseModel):
        ...     name: str
        ...     password: SecretStr
        >>> memory = OMem(User, "name", lossy="warn")
        >>> with warnings.catch_warnings(record=True) as told:
        ...     warnings.simplefilter("always")
        ...     _ = memory.add(User(name="ada", password="x"))
        >>> told[0].category is LossyWarning, memory.size
        (True, 1)
    """


class KeyExtractionError(OMemError, ValueError):
    """An item has no usable key.

    Examples:
        >>> from pydantic import BaseModel
        >>> from omem import KeyExtractionError, OMem
        >>> class Tag(BaseModel):
        ...     name: str | None = None
        >>> try:
        ...     OMem(Tag, "name").add(Tag())
        ... except KeyExtractionError as error:
        ...     print(str(error).partition(';')[0])
        item 0: the key is None
    """


class MergeError(OMemError, ValueError):
    """Two observations of one entity could not be merged; nothing was stored.

    Attributes:
        key: The key of both.
        existing: What is known.
        incoming: What came in.
        reason: What is wrong.

    Examples:
        >>> from typing import Annotated
        >>> from pydantic import BaseModel, Field
        >>> from omem import Merge, MergeError, OMem
        >>> class Truck(BaseModel):
        ...     plate: str
        ...     tons: Annotated[int, Merge.SUM, Field(le=40)]
        >>> memory = OMem(Truck, "plate")
        >>> try:
        ...     memory.add([Truck(plate="B-1", tons=30), Truck(plate="B-1", tons=20)])
        ... except MergeError as error:
        ...     print(error.key, error.reason)
        B-1 $.tons: Input should be less than or equal to 40
    """

    def __init__(
        self,
        message: str,
        *,
        key: Any = None,
        existing: Any = None,
        incoming: Any = None,
        reason: str = "",
    ) -> None:
        super().__init__(message)
        self.key = key
        self.existing = existing
        self.incoming = incoming
        self.reason = reason


class ReentryError(OMemError, RuntimeError):
    """A callback of a mutation tried to change the memory that is just being changed."""


class LoadError(OMemError, ValueError):
    """A file does not hold what it should; memory is as it was.

    Attributes:
        file: The file.
        record: The number of the record, from 0.
        line: The line, from 1.
        offset: The byte, from 0.
        path: Where in the record, as `$.field[3]`.

    Examples:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from pydantic import BaseModel
        >>> from omem import LoadError, OMem
        >>> class Tag(BaseModel):
        ...     name: str
        >>> file = Path(tempfile.mkdtemp()) / "tags.json"
        >>> _ = file.write_text('[{"name": "a"}, {"name": 3}]')
        >>> try:
        ...     OMem(Tag, "name").load_data(file)
        ... except LoadError as error:
        ...     print(error.record, error.line, error.path)
        1 1 $.name
    """

    def __init__(
        self,
        message: str,
        *,
        file: str | None = None,
        record: int | None = None,
        line: int | None = None,
        offset: int | None = None,
        path: str | None = None,
    ) -> None:
        super().__init__(message)
        self.file = file
        self.record = record
        self.line = line
        self.offset = offset
        self.path = path


class FolderNotFoundError(OMemError, FileNotFoundError):
    """There is no such folder."""


class _NotFoundError(OMemError, KeyError):
    def __str__(self) -> str:
        return str(self.args[0])  # KeyError would show the message in quotes


class LookupNotFoundError(_NotFoundError):
    """There is no lookup of this name.

    Examples:
        >>> from pydantic import BaseModel
        >>> from omem import LookupNotFoundError, OMem
        >>> class Tag(BaseModel):
        ...     name: str
        >>> try:
        ...     OMem(Tag, "name").get_by_lookup("by_size", 3)
        ... except LookupNotFoundError as error:
        ...     print(error)
        there is no lookup 'by_size'; create_lookup() makes one (there are none yet)
    """


class SourceNotFoundError(_NotFoundError):
    """The ledger knows no source of this id.

    Examples:
        >>> from pydantic import BaseModel
        >>> from omem import OMem, SourceNotFoundError
        >>> class Tag(BaseModel):
        ...     name: str
        >>> try:
        ...     OMem(Tag, "name", track_sources=True).remove_source("letter")
        ... except SourceNotFoundError as error:
        ...     print(error)
        there is no source 'letter'; sources() has those there are
    """


class LockedError(OMemError, TimeoutError):
    """Another process or thread kept a file or folder locked for too long.

    Examples:
        >>> from omem import LockedError
        >>> issubclass(LockedError, TimeoutError)
        True
    """


class EmbedderError(OMemError, RuntimeError):
    """The embedder failed or gave vectors that cannot be used.

    Examples:
        >>> from pydantic import BaseModel
        >>> from omem import EmbedderError, OMem
        >>> class Tag(BaseModel):
        ...     name: str
        >>> class Broken:
        ...     def embed_documents(self, texts):
        ...         return []
        ...     embed_query = embed_documents
        >>> memory = OMem(Tag, "name", embedder=Broken())
        >>> _ = memory.add(Tag(name="a"))
        >>> try:
        ...     memory.build_index()
        ... except EmbedderError as error:
        ...     print(str(error).partition(' for ')[0])
        the embedder gave an array of shape (0,)
    """


class SearchError(OMemError, RuntimeError):
    """A search is not possible."""


class IndexDamagedError(OMemError, ValueError):
    """The files of a vector index are damaged or do not fit.

    Examples:
        >>> from omem import IndexDamagedError
        >>> issubclass(IndexDamagedError, ValueError)
        True
    """
