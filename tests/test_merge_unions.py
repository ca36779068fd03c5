"""Values that meet in a union of models: the engine against the classes that Pydantic gives."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    create_model,
    field_validator,
    model_serializer,
)
from typing_extensions import TypedDict

from omem import Merge, MergeError, OMem

WORDS = st.lists(st.sampled_from("abc"), max_size=3)


class Cat(BaseModel):
    name: str
    lives: Annotated[int, Merge.MIN] = 9
    toys: list[str] = []


class Dog(BaseModel):
    name: str
    barks: bool = False
    tricks: set[str] = set()


class Sized(BaseModel):
    model_config = ConfigDict(extra="forbid")
    name: str
    size: int = 0


class Named(BaseModel):
    name: str
    size: str = ""


class Plane(BaseModel):
    kind: Literal["plane"] = "plane"
    crew: list[str] = []
    home: Path | None = None


class Ship(BaseModel):
    kind: Literal["ship"] = "ship"
    crew: list[str] = []
    home: Path | None = None


class Stripped(BaseModel):
    stripped: str
    depth: float = 0  # not validated: an int in the model, a float in the record

    @field_validator("stripped")
    @classmethod
    def strip(cls, value: str) -> str:
        return value.strip()


class Open(BaseModel):
    model_config = ConfigDict(extra="allow")
    title: str
    parts: list[str] = []


@dataclasses.dataclass
class Point:
    x: int
    marks: list[str] = dataclasses.field(default_factory=list[str])


class Place(TypedDict):
    street: str
    rooms: list[str]


def part(cls: type[BaseModel], **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    first, *rest = fields
    return st.fixed_dictionaries(
        {first: fields[first]}, optional={name: fields[name] for name in rest}
    ).map(lambda given: cls(**given))


NAMES = st.sampled_from("xyz")
CREWS = {"crew": WORDS, "home": st.just(Path("a"))}
MEMBERS: dict[Any, st.SearchStrategy[Any]] = {
    Cat: part(Cat, name=NAMES, lives=st.integers(0, 9), toys=WORDS),
    Dog: part(Dog, name=NAMES, barks=st.booleans(), tricks=WORDS.map(set)),
    Sized: part(Sized, name=NAMES, size=st.integers(0, 2)),
    Named: part(Named, name=NAMES, size=NAMES),
    Plane: st.builds(Plane) | part(Plane, **CREWS),
    Ship: st.builds(Ship) | part(Ship, **CREWS),
    Stripped: part(Stripped, stripped=NAMES, depth=st.sampled_from([0.0, 1.5])),
    Open: part(Open, title=NAMES, parts=WORDS, more=st.integers(0, 2)),
    Point: st.builds(Point, st.integers(0, 2), WORDS),
    Place: st.fixed_dictionaries({"street": NAMES, "rooms": WORDS}),
    dict[str, int]: st.dictionaries(NAMES, st.integers(0, 2), max_size=2),
    int: st.integers(0, 2),
    Path: st.just(Path("p")),
    list[str]: WORDS,
}


def united(old: list[str], new: list[str]) -> list[str]:
    return old + [word for word in dict.fromkeys(new) if word not in old] if old else new


def expected(old: Any, new: Any) -> Any:
    """What is to become of two values, by the classes that they are instances of."""
    if type(old) is not type(new):
        return new
    if isinstance(old, list):
        return united(old, new)
    if isinstance(old, set):
        return old | new
    if isinstance(old, dict):
        if len({value.keys() == Place.__annotations__.keys() for value in (old, new)}) > 1:
            return new
        return old | {
            key: expected(old[key], value) if key in old else value for key, value in new.items()
        }
    if isinstance(old, Point):
        return Point(new.x, united(old.marks, new.marks))
    if isinstance(old, BaseModel):
        given = {name: getattr(new, name) for name in new.model_fields_set}
        values = {**dict(old), **{k: v for k, v in given.items() if v is not None}}
        for name, value in given.items():
            if isinstance(value, (list, set)):
                values[name] = expected(getattr(old, name), value)
            if (name, type(new)) == ("lives", Cat):
                values[name] = min(old.lives, value)
        return type(old)(**values)
    return new


@settings(max_examples=300, deadline=None)
@given(st.data(), st.lists(st.sampled_from(list(MEMBERS)), min_size=2, max_size=4, unique=True))
def test_one_kind_is_merged_and_another_wins(data: st.DataObject, members: list[Any]) -> None:
    union: Any = members[0]
    for member in members[1:]:
        union |= member
    inside = data.draw(st.sampled_from([union, union | None, dict[str, union]]))
    cls: Any = create_model("Holder", key=(str, "k"), value=(inside, ...))
    values = data.draw(
        st.lists(st.sampled_from(members).flatmap(MEMBERS.get), min_size=2, max_size=4)
    )
    in_dict = inside not in (union, union | None)
    items = [cls(value={"it": value} if in_dict else value) for value in values]
    # What Pydantic made of it: a dict may have become a model.
    values = [item.value["it"] if in_dict else item.value for item in items]
    memory = OMem(cls, "key")
    try:
        memory.add([items[0]])
    except ValueError:
        assume(False)  # would not come back from JSON as it is
    wanted = values[0]
    for item, value in zip(items[1:], values[1:], strict=True):
        try:
            OMem(cls, "key").add(item)
        except ValueError:
            assume(False)
        memory.add(item)
        wanted = expected(wanted, value)
    found = memory.items[0].value
    assert (found["it"] if in_dict else found) == wanted


DISCRIMINATED = [
    Annotated[Plane | Ship, Field(discriminator="kind")],
    Plane | Ship,
    Annotated[
        Annotated[Plane, Tag("plane")] | Annotated[Ship, Tag("ship")],
        Discriminator(lambda v: v["kind"] if isinstance(v, dict) else v.kind),
    ],
    Annotated[Plane | Ship, Field(union_mode="left_to_right")],
]


@pytest.mark.parametrize("union", DISCRIMINATED)
def test_a_tag_that_was_never_set_tells_all_the_same(union: Any, tmp_path: Path) -> None:
    cls: Any = create_model("Holder", key=(str, "k"), value=(union, ...))
    plane, ship = Plane(crew=["a"], home=Path("hangar")), Ship(crew=["b"])
    memory = OMem(cls, "key")
    memory.add([cls(value=plane), cls(value=ship)])
    assert memory.items == [cls(value=ship)]
    memory.add(cls(value=Ship(crew=["c"], home=Path("dock"))))
    assert memory.items == [cls(value=Ship(crew=["b", "c"], home=Path("dock")))]
    # The same from a file, where a value that equals its default was never set.
    other = OMem(cls, "key")
    other.add(cls(value=Ship(crew=["d"])))
    other.dump_data(tmp_path / "other.json")
    memory.load_data(tmp_path / "other.json", mode="merge")
    assert memory.items == [cls(value=Ship(crew=["b", "c", "d"], home=Path("dock")))]
    assert memory.items[0].value.model_fields_set == {"crew", "home"}


class Tree(BaseModel):
    label: str = ""
    child: Tree | Leaf | None = None


class Leaf(BaseModel):
    label: str = ""
    words: list[str] = []


@dataclasses.dataclass
class Branch:
    name: str
    next: Branch | Point | None = None


class Garden(BaseModel):
    key: str = "k"
    tree: Tree | Leaf | None = None
    branch: Branch | Point | None = None


def test_models_that_hold_themselves() -> None:
    old = Garden(tree=Tree(label="a", child=Tree(child=Leaf(label="l", words=["x"]))))
    new = Garden(tree=Tree(child=Tree(label="b", child=Leaf(words=["y"]))))
    memory = OMem(Garden, "key")
    memory.add([old, new])
    leaf = Leaf(label="l", words=["x", "y"])
    assert memory.items == [Garden(tree=Tree(label="a", child=Tree(label="b", child=leaf)))]
    memory.add(Garden(tree=Tree(child=Leaf(label="c"))))
    assert memory.items == [Garden(tree=Tree(label="a", child=Leaf(label="c")))]
    branch = Branch("a", Branch("b", Point(1, ["x"])))
    memory.add([Garden(branch=branch), Garden(branch=Branch("c", Branch("d", Point(2, ["y"]))))])
    assert memory.items[0].branch == Branch("c", Branch("d", Point(2, ["x", "y"])))
    memory.add(Garden(branch=Branch("e", Point(3))))
    assert memory.items[0].branch == Branch("e", Point(3))


class Terse(BaseModel):
    """Its record does not tell that it is one."""

    name: str
    nick: str | None = None

    @model_serializer(mode="wrap")
    def write(self, handler: Any) -> dict[str, Any]:
        return {name: value for name, value in handler(self).items() if value is not None}


def test_what_a_serializer_hides_is_merged_and_judged() -> None:
    cls: Any = create_model("Holder", key=(str, "k"), value=(Terse | Dog, ...))
    memory = OMem(cls, "key")
    memory.add([cls(value=Terse(name="a")), cls(value=Terse(name="b", nick="c"))])
    memory.add(cls(value=Terse(name="d")))
    assert memory.items == [cls(value=Terse(name="d", nick="c"))]


def test_a_merge_that_the_member_forbids_is_refused() -> None:
    class Few(BaseModel):
        words: Annotated[list[str], Field(max_length=2)]

    cls: Any = create_model("Holder", key=(str, "k"), value=(Few | Cat, ...))
    memory = OMem(cls, "key")
    memory.add(cls(value=Few(words=["a", "b"])))
    with pytest.raises(MergeError, match="at most 2 items"):
        memory.add(cls(value=Few(words=["c"])))
    memory.add(cls(value=Cat(name="x")))
    assert memory.items == [cls(value=Cat(name="x"))]


@pytest.mark.parametrize("lists", ["union", "append"])
def test_lists_of_two_types_are_two_kinds(lists: Any) -> None:
    cls: Any = create_model("Holder", key=(str, "k"), value=(list[int] | list[str] | None, None))
    for values, wanted in [
        (([1], [2]), [1, 2]),
        (([1], ["a"]), ["a"]),
        (([1], [2], ["a"]), ["a"]),
        (([1], [2], ["a"], ["b"], [], [3], [4]), [3, 4]),
        ((["a"], [], ["b"]), ["a", "b"]),
    ]:
        items = [cls(value=value) for value in values]
        at_once, one_by_one = OMem(cls, "key", lists=lists), OMem(cls, "key", lists=lists)
        at_once.add(items)
        for item in items:
            one_by_one.add(item)
        assert at_once.items == one_by_one.items == [cls(value=wanted)]
