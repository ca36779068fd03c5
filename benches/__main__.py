"""Persistence against its peers, side by side: `python -m benches [--count N] [--rounds N]`.

Each peer runs in a process of its own, in turn (A B C A B C …), on the same data; the median of the
rounds counts, every raw sample is kept. Files are written to a fresh folder and synced; reads come
from the page cache.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import platform
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benches.peers import PEERS

ROOT = Path(__file__).parent.parent
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
TITLES = {
    "omem": "omem",
    "ontomem": "ontomem",
    "pydantic": "Pydantic `TypeAdapter`",
    "orjson": "orjson (dicts)",
    "json": "json (dicts)",
    "msgspec": "msgspec (structs)",
    "disk": "plain write + fsync, read",
}


def measure(name: str, count: int, folder: Path) -> dict[str, float]:
    """One sample of one peer, in a process of its own."""
    command = [
        sys.executable,
        "-m",
        "benches.peers",
        name,
        str(count),
        str(folder / f"{name}.json"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    if done.returncode:
        raise SystemExit(f"{name} failed:\n{done.stderr}")
    return json.loads(done.stdout)


def installed(name: str) -> bool:
    return name in ("json", "disk") or importlib.util.find_spec(name) is not None


def table(samples: dict[str, list[dict[str, float]]], count: int, rounds: int) -> str:
    """The medians as Markdown."""
    lines = [
        "| | add | dump, fsync included | load to first `get` | load to all entities |",
        "|---|---|---|---|---|",
    ]
    for name, rows in samples.items():

        def median(*keys: str, rows: list[dict[str, float]] = rows) -> str:
            if any(key not in row for row in rows for key in keys):
                return ""
            return f"{statistics.median(sum(row[key] for key in keys) for row in rows):.3f} s"

        cells = [median("add"), median("dump"), median("load"), median("load", "items")]
        lines.append(f"| {TITLES[name]} | " + " | ".join(cells) + " |")
    machine = f"{platform.system()} {platform.machine()}, Python {platform.python_version()}"
    lines += [
        "",
        f"{count:,} eight-field profiles of about 475 bytes, median of {rounds} "
        f"interleaved runs, {machine}; `python -m benches --readme` measures and writes this.",
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benches", description=__doc__)
    parser.add_argument("--count", type=int, default=200_000, help="how many entities")
    parser.add_argument("--rounds", type=int, default=3, help="how often each peer is measured")
    parser.add_argument("--peers", nargs="*", choices=list(PEERS), default=list(PEERS))
    parser.add_argument("--json", type=Path, help="where to write every raw sample")
    parser.add_argument("--readme", action="store_true", help="put the table into README.md")
    options = parser.parse_args()
    from omem import _omem

    if _omem.DEBUG_BUILD:
        raise SystemExit("this is a debug build of omem; build a release to measure")
    names = [name for name in options.peers if installed(name)]
    samples: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(options.rounds):
            for name in names:
                samples[name].append(measure(name, options.count, Path(folder)))
    shown = table(samples, options.count, options.rounds)
    print(shown)
    missing = [name for name in options.peers if name not in names]
    if missing:
        print(f"\nnot installed, so not measured: {', '.join(missing)}")
    if options.json:
        facts: dict[str, Any] = {"count": options.count, "samples": samples}
        options.json.write_text(json.dumps(facts, indent=1))
    if options.readme:
        page = ROOT / "README.md"
        before, rest = page.read_text().split(BEGIN)
        page.write_text(f"{before}{BEGIN}\n{shown}\n{END}{rest.split(END)[1]}")


if __name__ == "__main__":
    main()
