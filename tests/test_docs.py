"""What is written is executed: the code blocks of README and docs, and every docstring example."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
import re
from pathlib import Path

import pytest
from pydantic import BaseModel

import omem

ROOT = Path(__file__).parent.parent
BLOCK = re.compile(r"^```python\n(.*?)^```", re.M | re.S)
PAGES = sorted(
    str(page.relative_to(ROOT))
    for page in (ROOT / "README.md", *ROOT.glob("docs/*.md"))
    if BLOCK.search(page.read_text())
)
MODULES = ["omem", *(m.name for m in pkgutil.walk_packages(omem.__path__, "omem."))]


class ResearcherProfile(BaseModel):
    name: str
    interests: list[str] = []


def setting() -> dict[str, object]:
    """What the pages take for granted: a memory with a few entities, an embedder."""
    embedder = omem.HashingEmbedder()
    memory = omem.OMem(ResearcherProfile, "name", embedder=embedder)
    memory.add(
        [ResearcherProfile(name="Ada", interests=["engines"]), ResearcherProfile(name="Alan")]
    )
    memory.build_index()
    return {
        "OMem": omem.OMem,
        "MergeStrategy": omem.MergeStrategy,
        "ResearcherProfile": ResearcherProfile,
        "memory": memory,
        "embedder": embedder,
    }


@pytest.mark.parametrize("page", PAGES)
def test_code_blocks_run(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    blocks = BLOCK.findall((ROOT / page).read_text())
    names = setting()
    for number, block in enumerate(blocks):
        exec(compile(block, f"{page} block {number}", "exec", dont_inherit=True), names)


def test_readme_shows_what_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each `expression    # value` line of README is true."""
    monkeypatch.chdir(tmp_path)
    block = BLOCK.findall((ROOT / "README.md").read_text())[0]
    names: dict[str, object] = {}
    exec(compile(block, "README.md", "exec", dont_inherit=True), names)
    shown = re.findall(r"^(\S.*?)\s+# ('.*'|\[.*\])$", block, re.M)
    assert len(shown) == 2
    for expression, value in shown:
        assert repr(eval(expression, names)) == value


@pytest.mark.parametrize("module", [m for m in MODULES if not m.endswith("_omem")])
def test_docstring_examples(module: str) -> None:
    options = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    result = doctest.testmod(importlib.import_module(module), optionflags=options)
    assert result.failed == 0
