"""Where the time of a case goes: `python -m benches.profile [CASE] [KIND] [SIZE]`.

The case runs again and again for ten seconds, its checks included (read what it calls, not the
share of the whole), under `perf` where that is installed, else under py-spy, which sees Python and
native frames. The report goes to `target/profile/`.
"""

from __future__ import annotations

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
    arguments = [argument for argument in sys.argv[1:] if argument != "--repeat"]
    defaults = ["load/all_items", "profiles", "50000"]
    case, kind, size = [*arguments, *defaults[len(arguments) :]][:3]
    if "--repeat" in sys.argv:
        repeat(case, kind, int(size))
        return
    OUT.mkdir(parents=True, exist_ok=True)
    name = f"{case.replace('/', '-')}-{kind}-{size}"
    work = [sys.executable, "-m", "benches.profile", "--repeat", case, kind, size]
    if shutil.which("perf"):
        data, report = OUT / f"{name}.data", OUT / f"{name}.txt"
        subprocess.run(["perf", "record", "-q", "-g", "-o", data, *work], cwd=ROOT, check=True)
        command = ["perf", "report", "-i", data, "--no-children", "-g", "none", "--stdio"]
        text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        report.write_text(text)
        lines = [line for line in text.splitlines() if line and not line.startswith("#")]
        print("\n".join(lines[:25]))
    else:
        report = OUT / f"{name}.svg"
        spy = Path(sys.executable).with_name("py-spy")
        subprocess.run([spy, "record", "--native", "-o", report, "--", *work], cwd=ROOT, check=True)
    print(f"the whole report: {report}")


if __name__ == "__main__":
    main()
