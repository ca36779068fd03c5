"""What is written is executed: the code blocks of README and docs, and every docstring example."""

from __future__ import annotations

import doctest
import importlib
import inspect
import pkgutil
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

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
def test_docstring_examples(module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    logger = omem.get_logger()
    before = (logger.level, list(logger.handlers))
    result = doctest.testmod(importlib.import_module(module))
    assert result.failed == 0
    assert (logger.level, logger.handlers) == before


def documented() -> Iterator[tuple[str, Any, Any]]:
    """Whatever a user can name: where it stands, what has the docstring, what is called."""
    for name in omem.__all__:
        thing = getattr(omem, name)
        if not callable(thing):
            continue
        yield name, thing, None if inspect.isclass(thing) else thing
        for base in thing.__mro__ if inspect.isclass(thing) and thing is not omem.BaseMem else ():
            # BaseMem only names what OMem explains.
            if base.__module__.startswith("omem") and base is not omem.BaseMem:
                for member, value in vars(base).items():
                    if callable(value) or isinstance(value, (property, staticmethod)):
                        if not member.startswith("_"):
                            call = None if isinstance(value, property) else value
                            yield f"{base.__name__}.{member}", value, call


def test_everything_public_has_its_parts_and_an_example() -> None:
    found = {place: (thing, call) for place, thing, call in documented()}
    assert len(found) > 100
    lacking: list[str] = []
    for place, (thing, call) in found.items():
        text = inspect.getdoc(thing) or ""
        if re.search(r"see `\w+\.\w+`", text):  # an override, explained where it is declared
            continue
        parts = [">>>"]
        if call is not None and not inspect.isclass(call):
            signature = inspect.signature(call)
            names = [name for name in signature.parameters if name != "self"]
            parts += ["Args:", *(f"    {name}: " for name in names)] if names else []
            returned = str(signature.return_annotation)
            parts += ["Yields:"] if "Generator" in returned else []
            parts += ["Returns:"] if returned != "None" and "Generator" not in returned else []
        lacking += [f"{place} has no {part!r}" for part in parts if part not in text]
    assert not lacking, "\n".join(lacking)
