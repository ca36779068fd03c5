"""Files and folders that somebody made to hurt, or that an accident damaged."""

from __future__ import annotations

import json
import math
import os
import pickle
import random
import struct
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from omem import HashingEmbedder, LoadError, OMem, _omem

CORPUS = Path(__file__).parents[2] / "shared" / "corpus"


class Holder(BaseModel):
    key: str
    value: Any = None


class Number(BaseModel):
    key: str
    value: float = 0.0


def load(model: type[BaseModel], content: bytes, tmp_path: Path) -> OMem[Any]:
    memory = OMem(model, "key")
    path = tmp_path / "x.json"
    path.write_bytes(content)
    memory.load_data(path)
    return memory


def wrapped(text: bytes) -> bytes:
    return b'[{"key":"a","value":' + text + b"}]"


def texts(pattern: str) -> list[Path]:
    if not CORPUS.is_dir():
        return []
    return sorted(CORPUS.glob(pattern))


@pytest.mark.parametrize("path", texts("JSONTestSuite/test_parsing/y_*.json"), ids=lambda p: p.name)
def test_valid_json_loads_as_a_value(path: Path, tmp_path: Path) -> None:
    text = path.read_bytes()
    memory = load(Holder, wrapped(text), tmp_path)
    assert memory.items[0].value == json.loads(text)


@pytest.mark.parametrize("path", texts("JSONTestSuite/test_parsing/n_*.json"), ids=lambda p: p.name)
def test_invalid_json_does_not(path: Path, tmp_path: Path) -> None:
    with pytest.raises(LoadError):
        load(Holder, wrapped(path.read_bytes()), tmp_path)


@pytest.mark.parametrize("path", texts("hostile/*.json"), ids=lambda p: p.name)
def test_hostile_documents_get_pydantics_verdict(path: Path, tmp_path: Path) -> None:
    text = path.read_bytes()
    try:
        expected = Holder.model_validate_json(wrapped(text)[1:-1])
        accepted = Holder.model_validate_json(expected.model_dump_json()) == expected
    except ValueError:
        accepted = False
    try:
        memory = load(Holder, wrapped(text), tmp_path)
    except LoadError:
        assert not accepted
    else:
        assert accepted
        assert memory.items == [expected]


def test_floats_are_exact_to_the_bit(tmp_path: Path) -> None:
    lines = [line for path in texts("numbers/*.txt") for line in path.read_text().splitlines()]
    if not lines:
        pytest.skip("the corpus of hard floats is not here")
    rows = []
    for line in lines:
        bits, text = line[14:30], line.split()[-1]
        try:
            value = float(json.loads(text))
        except (ValueError, OverflowError):
            continue
        if math.isfinite(value):
            rows.append((bits, text))
    assert len(rows) > 3_000
    content = ",\n".join(
        f'{{"key":"{number}","value":{text}}}' for number, (_, text) in enumerate(rows)
    )
    memory = load(Number, f"[\n{content}\n]\n".encode(), tmp_path)
    for item, (bits, text) in zip(memory, rows, strict=True):
        assert struct.pack(">d", item.value).hex() == bits.lower(), text
    memory.dump_data(tmp_path / "again.json")
    fresh = OMem(Number, "key")
    fresh.load_data(tmp_path / "again.json")
    assert [a.value.hex() for a in fresh] == [a.value.hex() for a in memory]


def hard_floats(count: int) -> list[float]:
    """Floats of any bits, decimals, and neighbours of powers of two and ten."""
    chance = random.Random(7)
    found: list[float] = []
    while len(found) < count:
        value = chance.choice(
            [
                struct.unpack("<d", chance.randbytes(8))[0],
                round(chance.uniform(-1e3, 1e3), chance.randrange(18)),
                float(f"{chance.randrange(10**17)}e{chance.randrange(-25, 10)}"),
                2.0 ** chance.randrange(-1074, 1024),
                float(f"1e{chance.randrange(-323, 309)}"),
            ]
        )
        value = math.nextafter(value, chance.choice([value, math.inf, -math.inf]))
        found += [value] if math.isfinite(value) else []
    return found


def is_finite(model: type[BaseModel], line: str) -> bool:
    value = model.model_validate_json(line).model_dump()["value"]
    return isinstance(value, (int, float)) and math.isfinite(value)


@pytest.mark.parametrize("model", [Number, Holder])
def test_floats_become_the_text_that_pydantic_writes(
    model: type[BaseModel], tmp_path: Path
) -> None:
    """However they are written in a file, and though most are taken for canonical unparsed."""
    chance = random.Random(8)
    lines: list[str] = []
    for place, value in enumerate(hard_floats(20_000)):
        digits = chance.randrange(20)
        ways = [repr(value), f"{value:.{digits}e}", f"{value:.{digits + 1}g}", repr(value) + "0"]
        ways += [f"{value:.{digits}f}"] if abs(value) < 1e30 else []
        text = chance.choice(ways).replace("e+", chance.choice(["e+", "e", "E"]))
        lines.append(f'{{"key":"{place}","value":{text}}}')
    lines = [line for line in lines if is_finite(model, line)]
    assert len(lines) > 18_000
    memory = load(model, ("[\n" + ",\n".join(lines) + "\n]\n").encode(), tmp_path)
    memory.dump_data(tmp_path / "y.json")
    written = (tmp_path / "y.json").read_text().splitlines()[1:-1]
    expected = [model.model_validate_json(line).model_dump_json() for line in lines]
    assert [line.removesuffix(",") for line in written] == expected


def test_naughty_strings_as_values_and_keys(tmp_path: Path) -> None:
    path = CORPUS / "blns" / "blns.json"
    if not path.exists():
        pytest.skip("the corpus of naughty strings is not here")
    strings = list(dict.fromkeys(json.loads(path.read_text(encoding="utf-8"))))
    memory = OMem(Holder, lambda h: h.key)
    memory.add(Holder(key=text, value={text: [text]}) for text in strings)
    assert memory.keys == strings
    memory.dump(tmp_path / "m")
    fresh = OMem(Holder, "key")
    fresh.load(tmp_path / "m")
    assert fresh.items == memory.items
    assert all(text in fresh for text in strings)


def test_a_file_cut_at_any_byte_never_loads(tmp_path: Path) -> None:
    memory = OMem(Holder, "key")
    memory.add(Holder(key=f"k{n}", value=["ü" * 9, n]) for n in range(60))
    memory.dump_data(tmp_path / "whole.json")
    content = (tmp_path / "whole.json").read_bytes()
    for end in range(len(content) - 1):
        with pytest.raises(LoadError):
            load(Holder, content[:end], tmp_path)
    assert load(Holder, content[:-1], tmp_path).items == memory.items


def test_a_file_that_becomes_shorter_or_longer_while_it_is_read(tmp_path: Path) -> None:
    lines = [f'{{"key":"{number}","value":"{"x" * 100}"}}' for number in range(100_000)]
    content = ("[\n" + ",\n".join(lines) + "\n]\n").encode()
    path = tmp_path / "x.json"
    memory = OMem(Holder, "key")
    memory.add(Holder(key="old"))

    def turn(size: int) -> None:
        path.write_bytes(content)
        memory.load_data(path, progress=lambda read, _: os.truncate(path, size))

    with pytest.raises(OSError, match="became shorter while it was read"):
        turn(len(content) // 2)
    assert memory.keys == ["old"]
    turn(2 * len(content))
    assert memory.size == len(lines)


@pytest.mark.parametrize("opening", [b"[", b'{"a":', b'[{"a":'])
def test_a_million_levels_are_a_quick_error(opening: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.json").write_bytes(wrapped(opening * 1_000_000))
    failures: list[BaseException] = []

    def attempt() -> None:
        try:
            OMem(Holder, "key").load_data(tmp_path / "x.json")
        except LoadError as error:
            failures.append(error)

    size = threading.stack_size(512 * 1024)
    try:
        thread = threading.Thread(target=attempt)
        start = time.perf_counter()
        thread.start()
        thread.join()
    finally:
        threading.stack_size(size)
    assert time.perf_counter() - start < 2
    assert len(failures) == 1
    assert len(str(failures[0])) < 2_000


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\xef\xbb\xbf[]", "byte order mark"),
        (b'[{"key":"\xff"}]', "UTF-8"),
        (b'[{"key":"\\ud800"}]', "record 0"),
        ("[]".encode("utf-16"), "array"),
        (b'[{"key":"a","key":"b","value":1}', "byte"),
    ],
)
def test_texts_that_are_not_utf8_json(content: bytes, message: str, tmp_path: Path) -> None:
    with pytest.raises(LoadError, match=message):
        load(Holder, content, tmp_path)


def test_loading_a_hostile_folder_runs_nothing(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "ran",))

    memory = OMem(Holder, "key", embedder=HashingEmbedder(32))
    memory.add(Holder(key="a", value="text"))
    memory.build_index()
    memory.dump(tmp_path / "m")
    docstore = tmp_path / "m" / "faiss_index" / "docstore.pkl"
    for content in (
        pickle.dumps(Bomb()),
        pickle.dumps({"format": 1, "keys": Bomb(), "hashes": b""}),
        b"\x80\x04r\x00\x00\x00\x10.",
        b"(" * 100_000,
        b"\x80\x04" + b"]\x94" * 1000 + b"h\x00" * 1000 + b".",
    ):
        docstore.write_bytes(content)
        fresh = OMem(Holder, "key", embedder=HashingEmbedder(32))
        report = fresh.load(tmp_path / "m")
        assert report.index.startswith("rejected")
        assert fresh.items == memory.items
        assert [h.key for h in fresh.search("text")] == ["a"]
    assert not (tmp_path / "ran").exists()


def test_every_truncation_of_an_index_is_told(tmp_path: Path) -> None:
    memory = OMem(Holder, "key", embedder=HashingEmbedder(8))
    memory.add([Holder(key="a", value="one"), Holder(key="b", value="two")])
    memory.build_index()
    memory.dump(tmp_path / "m")
    for name in ("index.faiss", "docstore.pkl"):
        path = tmp_path / "m" / "faiss_index" / name
        content = path.read_bytes()
        for end in range(len(content)):
            path.write_bytes(content[:end])
            fresh = OMem(Holder, "key", embedder=HashingEmbedder(8))
            assert fresh.load(tmp_path / "m").index.startswith("rejected"), end
            assert fresh.size == 2
        path.write_bytes(content)


def test_the_extension_is_a_release_build() -> None:
    assert not _omem.DEBUG_BUILD
    assert sys.version_info >= (3, 11)
