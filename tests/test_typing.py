"""The types that users see, under both checkers."""

from __future__ import annotations

import runpy
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parent / "typing_example.py"
WRONG = EXAMPLE.read_text() + "\nmemory.add(3)\nmemory.get('EDDF').icao\n"


def check(checker: str, file: Path) -> subprocess.CompletedProcess[str]:
    options = {
        "mypy": ["--strict", "--no-incremental"],
        "pyright": ["--pythonpath", sys.executable],
    }[checker]
    return subprocess.run(
        [sys.executable, "-m", checker, *options, str(file)],
        capture_output=True,
        text=True,
        cwd=file.parent,
    )


def test_the_example_runs() -> None:
    runpy.run_path(str(EXAMPLE))


@pytest.mark.parametrize("checker", ["mypy", "pyright"])
def test_the_example_is_well_typed(checker: str, tmp_path: Path) -> None:
    file = tmp_path / "example.py"
    file.write_text(EXAMPLE.read_text())
    done = check(checker, file)
    assert done.returncode == 0, done.stdout + done.stderr
    file.write_text(WRONG)
    done = check(checker, file)
    assert done.returncode == 1, "the checker must see the two mistakes"
    assert "arg-type" in done.stdout or "reportArgumentType" in done.stdout, done.stdout
    assert "union-attr" in done.stdout or "reportOptionalMemberAccess" in done.stdout, done.stdout
