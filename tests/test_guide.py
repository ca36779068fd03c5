"""The persistence guide that users know from elsewhere, block by block, in one session."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import pandas as pd
import pytest
from pydantic import BaseModel

from omem import HashingEmbedder, MergeStrategy, OMem


class ResearcherProfile(BaseModel):
    name: str
    h_index: int | None = None
    interests: list[str] = []


def make() -> OMem[ResearcherProfile]:
    return OMem(
        memory_schema=ResearcherProfile,
        key_extractor=lambda x: x.name,
        embedder=HashingEmbedder(),
        strategy_or_merger=MergeStrategy.MERGE_FIELD,
    )


def test_the_guide(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    memory = make()
    memory.add(
        [
            ResearcherProfile(name="Ada Lovelace", interests=["engines", "music"]),
            ResearcherProfile(name="Alan Turing", h_index=40, interests=["machines"]),
        ]
    )
    memory.build_index()
    memory.dump("./my_memory")
    assert sorted(f for f in os.listdir("my_memory") if f[0] != ".") == [
        "faiss_index",
        "memory.json",
        "metadata.json",
    ]
    assert {"index.faiss", "docstore.pkl"} <= set(os.listdir("my_memory/faiss_index"))

    new_memory = make()
    new_memory.load("./my_memory")
    assert new_memory.size == 2
    assert new_memory.has_index()
    assert [p.name for p in new_memory.search("machines", top_k=1)] == ["Alan Turing"]

    memory.dump_data("./my_data.json")
    memory.dump_index("./my_index_folder")
    memory.dump_metadata("./my_metadata.json")
    new_memory = make()
    new_memory.load_data("./my_data.json")
    new_memory.load_index("./my_index_folder")
    assert new_memory.load_metadata("./my_metadata.json")["size"] == 2
    assert new_memory.items == memory.items

    memory.dump_data("./backups/data_v1.json")
    memory.dump_index("./backups/index_v1")
    new_memory.load_data("./backups/data_v1.json")
    new_memory.build_index()

    timestamp = datetime.now().strftime("%Y%m%d_%H%M%S")
    memory.dump(f"./backups/memory_{timestamp}")
    latest = sorted(os.listdir("./backups"))[-1]
    memory.load(f"./backups/{latest}")
    assert memory.size == 2

    with open("export.json", "w") as f:
        json.dump([item.model_dump() for item in memory.items], f, indent=2)
    df = pd.DataFrame([item.model_dump() for item in memory.items])
    df.to_csv("export.csv", index=False)
    df.to_parquet("export.parquet")
    assert len(pd.read_parquet("export.parquet")) == len(pd.read_csv("export.csv")) == 2


def test_no_langchain_is_imported() -> None:
    code = "import omem, sys; print([m for m in sys.modules if m.startswith('langchain')])"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
