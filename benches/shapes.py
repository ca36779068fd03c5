"""The models of the benchmarks."""

from __future__ import annotations

from itertools import cycle, islice
from typing import Any

from pydantic import BaseModel, create_model, field_validator


class Profile(BaseModel):
    name: str
    affiliation: str | None = None
    skills: list[str] = []
    papers: list[str] = []
    bio: str = ""
    h_index: int | None = None
    email: str | None = None
    score: float = 0.0


def ruled_profile() -> type[BaseModel]:
    """The profile with rules of its own for three fields, as omem declares them."""
    from typing import Annotated

    from omem import Merge

    return create_model(
        "RuledProfile",
        __base__=Profile,
        h_index=(Annotated[int | None, Merge.MAX], None),
        score=(Annotated[float, Merge.SUM], 0.0),
        bio=(Annotated[str, Merge.LONGEST], ""),
    )


class ValidatedProfile(Profile):
    """A validator of the user's own: only Pydantic can say what it accepts."""

    @field_validator("bio")
    @classmethod
    def bio_has_words(cls, value: str) -> str:
        if not value.strip():
            raise ValueError("a bio has words")
        return value


class Level5(BaseModel):
    title: str
    count: int = 0
    tags: list[str] = []


class Level4(Level5):
    part: Level5


class Level3(Level5):
    part: Level4


class Level2(Level5):
    part: Level3


class Deep(Level5):
    id: str
    part: Level2


class Article(BaseModel):
    url: str
    title: str = ""
    text: str = ""
    tags: list[str] = []


class Airport(BaseModel):
    icao: str
    iata: str | None = None
    name: str = ""
    city: str = ""
    subd: str = ""
    country: str = ""
    elevation: float = 0.0
    lat: float = 0.0
    lon: float = 0.0
    tz: str = ""
    lid: str | None = None


class City(BaseModel):
    geonameid: int
    name: str
    latitude: float = 0.0
    longitude: float = 0.0
    countrycode: str = ""
    population: int = 0
    timezone: str = ""
    admin1code: str = ""
    alternatenames: list[str] = []


_KINDS: dict[str, tuple[Any, Any]] = {
    "str": (str, ""),
    "str | None": (str | None, None),
    "int": (int, 0),
    "float": (float, 0.0),
    "bool": (bool, False),
    "list[str]": (list[str], []),
}
WIDE = {f"field_{n:02d}": kind for n, kind in enumerate(islice(cycle(_KINDS), 59))}
"""The fields of `Wide` beside its id, and what they hold."""

_fields: dict[str, Any] = {name: _KINDS[kind] for name, kind in WIDE.items()}
Wide: type[BaseModel] = create_model("Wide", id=(int, ...), **_fields)


def struct_of(model: type[BaseModel]) -> type[Any]:
    """The msgspec struct with the same fields as a model, nested ones included.

    The collector does not track it (`gc=False`), as msgspec advises where there are no cycles.
    """
    import msgspec

    def kind(annotation: Any) -> Any:
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            return struct_of(annotation)
        return annotation

    return msgspec.defstruct(
        model.__name__,
        [(name, kind(field.annotation)) for name, field in model.model_fields.items()],
        gc=False,
    )
