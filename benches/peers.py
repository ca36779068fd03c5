"""Who is measured: each peer adds, dumps, loads and gives back all entities, as documented.

Run as a process of its own by `benches.__main__`: `python -m benches.peers NAME COUNT FILE` prints
one JSON object of seconds. An answer that is wrong fails before its time counts.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benches.data import profiles

Times = dict[str, float]


def clock(work: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


def synced(path: Path, content: bytes) -> None:
    with path.open("wb", buffering=0) as file:
        view = memoryview(content)
        while view:
            view = view[file.write(view) :]
        os.fsync(file.fileno())


def profile_model() -> Any:
    from pydantic import BaseModel

    class Profile(BaseModel):
        name: str
        affiliation: str | None = None
        skills: list[str] = []
        papers: list[str] = []
        bio: str = ""
        h_index: int | None = None
        email: str | None = None
        score: float = 0.0

    return Profile


def omem(rows: list[dict[str, Any]], path: Path) -> Times:
    from omem import OMem

    model = profile_model()
    items = [model(**row) for row in rows]
    memory = OMem(model, lambda p: p.name)
    times: Times = {}
    times["add"], _ = clock(lambda: memory.add(items))
    times["dump"], _ = clock(lambda: memory.dump_data(path))
    fresh = OMem(model, lambda p: p.name)
    times["load"], found = clock(lambda: fresh.load_data(path) and fresh.get(rows[-1]["name"]))
    assert found == items[-1]
    times["items"], loaded = clock(lambda: fresh.items)
    assert loaded == items
    return times


def ontomem(rows: list[dict[str, Any]], path: Path) -> Times:
    from ontomem import MergeStrategy, OMem

    model = profile_model()
    items = [model(**row) for row in rows]

    def make() -> Any:
        return OMem(
            model, lambda p: p.name, None, None, strategy_or_merger=MergeStrategy.MERGE_FIELD
        )

    memory = make()
    times: Times = {}
    times["add"], _ = clock(lambda: memory.add(items))
    times["dump"], _ = clock(lambda: memory.dump_data(path))
    fresh = make()

    def load() -> Any:
        fresh.load_data(path)
        return fresh.get(rows[-1]["name"])

    times["load"], found = clock(load)
    assert found == items[-1]
    times["items"], loaded = clock(lambda: fresh.items)
    assert loaded == items
    return times


def pydantic(rows: list[dict[str, Any]], path: Path) -> Times:
    from pydantic import TypeAdapter

    model = profile_model()
    adapter = TypeAdapter(list[model])
    items = [model(**row) for row in rows]
    times: Times = {}
    times["dump"], _ = clock(lambda: synced(path, adapter.dump_json(items)))
    times["load"], loaded = clock(lambda: adapter.validate_json(path.read_bytes()))
    times["items"] = 0.0
    assert loaded == items
    return times


def orjson(rows: list[dict[str, Any]], path: Path) -> Times:
    import orjson as codec

    times: Times = {}
    times["dump"], _ = clock(lambda: synced(path, codec.dumps(rows)))
    times["load"], loaded = clock(lambda: codec.loads(path.read_bytes()))
    times["items"] = 0.0
    assert loaded == rows
    return times


def stdlib(rows: list[dict[str, Any]], path: Path) -> Times:
    times: Times = {}
    times["dump"], _ = clock(lambda: synced(path, json.dumps(rows, ensure_ascii=False).encode()))
    times["load"], loaded = clock(lambda: json.loads(path.read_bytes()))
    times["items"] = 0.0
    assert loaded == rows
    return times


def msgspec(rows: list[dict[str, Any]], path: Path) -> Times:
    import msgspec as codec

    struct = codec.defstruct(
        "Profile",
        [
            ("name", str),
            ("affiliation", str | None),
            ("skills", list[str]),
            ("papers", list[str]),
            ("bio", str),
            ("h_index", int | None),
            ("email", str | None),
            ("score", float),
        ],
    )
    items = [struct(**row) for row in rows]
    decoder = codec.json.Decoder(list[struct])
    times: Times = {}
    times["dump"], _ = clock(lambda: synced(path, codec.json.encode(items)))
    times["load"], loaded = clock(lambda: decoder.decode(path.read_bytes()))
    times["items"] = 0.0
    assert loaded == items
    return times


def disk(rows: list[dict[str, Any]], path: Path) -> Times:
    """The limit: the same bytes, written and synced, and read."""
    content = json.dumps(rows, ensure_ascii=False, separators=(",", ":")).encode()
    times: Times = {}
    times["dump"], _ = clock(lambda: synced(path, content))
    times["load"], read = clock(path.read_bytes)
    assert read == content
    return times


PEERS: dict[str, Callable[[list[dict[str, Any]], Path], Times]] = {
    "omem": omem,
    "ontomem": ontomem,
    "pydantic": pydantic,
    "orjson": orjson,
    "json": stdlib,
    "msgspec": msgspec,
    "disk": disk,
}


def main() -> None:
    name, count, path = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
    times = PEERS[name](profiles(count), path)
    times["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    print(json.dumps(times))


if __name__ == "__main__":
    main()
