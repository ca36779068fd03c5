"""Where the time of a case goes: `make profile CASE=… KIND=… SIZE=…`.

The case runs again and again for ten seconds, its checks included (read what it calls, not the
share of the whole), under `perf` where that can be used, else under py-spy, which sees Python and
native frames. The report goes to `target/profile/`.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent
OUT = ROOT / "target" / "profile"
SECONDS = 10


def repeat(case: str, kind: str, size: int) -> None:
    """What is profiled."""
    from benches.data import Data
    from benches.peers import NAMED
    from benches.questions import cases
    from benches.trial import Trial

    data = Data(kind, size)
    peer = NAMED["omem"].load()(data)
    with tempfile.TemporaryDirectory() as folder:
        trial = Trial(peer, data, Path(folder))
        sample = cases()[case].sample
        values = []
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            values.append(sample(peer, trial))
    print(f"{case}, {size:,} {kind}: best {min(values):.4g} of {len(values)}")


def main() -> None:
    from benches.data import KINDS
    from benches.questions import cases

    parser = argparse.ArgumentParser(prog="python -m benches.profile", description=__doc__)
    parser.add_argument("--case", default="load/all_items", choices=cases(), metavar="CASE")
    parser.add_argument("--kind", default="profiles", choices=KINDS, metavar="KIND")
    parser.add_argument("--size", default=50_000, type=int, metavar="N")
    parser.add_argument("--repeat", action="store_true", help="only do what is profiled")
    options = parser.parse_args()
    case, kind, size = options.case, options.kind, options.size
    if options.repeat:
        repeat(case, kind, size)
        return
    OUT.mkdir(parents=True, exist_ok=True)
    name = f"{case.replace('/', '-')}-{kind}-{size}"
    work = [sys.executable, "-m", "benches.profile", "--repeat"]
    work += ["--case", case, "--kind", kind, "--size", str(size)]
    print(f"the whole report: {by_perf(name, work) or by_py_spy(name, work)}")


def by_perf(name: str, work: list[str]) -> Path | None:
    """The report of `perf`; None where it is missing or the kernel does not let it look."""
    data, report = OUT / f"{name}.data", OUT / f"{name}.txt"
    allowed = ["perf", "record", "-q", "-o", data, "true"]
    if not shutil.which("perf") or subprocess.run(allowed, capture_output=True).returncode:
        return None
    subprocess.run(["perf", "record", "-q", "-g", "-o", data, *work], cwd=ROOT, check=True)
    command = ["perf", "report", "-i", data, "--no-children", "-g", "none", "--stdio"]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    report.write_text(text)
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    print("\n".join(lines[:25]))
    return report


def by_py_spy(name: str, work: list[str]) -> Path:
    """The picture of py-spy, which comes with the benchmarks' own tools."""
    report = OUT / f"{name}.svg"
    spy = Path(sys.executable).with_name("py-spy")
    if not spy.exists():
        raise SystemExit(
            "neither perf nor py-spy can be used; install perf (Linux: linux-tools, and "
            "kernel.perf_event_paranoid at most 2) or run `make profile`, which brings py-spy"
        )
    done = subprocess.run([spy, "record", "--native", "-o", report, "--", *work], cwd=ROOT)
    if done.returncode:
        raise SystemExit("py-spy could not look: see what it says above (macOS: it needs sudo)")
    return report


if __name__ == "__main__":
    main()
