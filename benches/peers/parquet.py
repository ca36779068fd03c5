"""A pandas data frame in a Parquet file, by pyarrow."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from benches.data import Row
from benches.peers.base import Peer, sync


class Parquet(Peer):
    modules = ("pandas",)
    packages = ("pandas", "pyarrow")
    frame: pd.DataFrame

    def fill(self, items: Iterable[Row]) -> None:
        frame = pd.DataFrame(list(items), dtype=object)
        self.frame = frame.convert_dtypes(dtype_backend="pyarrow")

    def touch(self, items: Iterable[Row]) -> None:
        key = self.data.key
        changed = {item[key]: item for item in items}
        self.fill(changed.get(row[key], row) for row in self.data.rows)

    def dump(self, path: Path) -> None:
        self.frame.to_parquet(path, engine="pyarrow", index=False)
        sync(path)

    def load(self, path: Path) -> None:
        self.frame = pd.read_parquet(path, engine="pyarrow", dtype_backend="pyarrow")
        self.indexed = self.frame.set_index(self.data.key, drop=False)

    def get(self, key: Any) -> Row:
        return self.rows(self.indexed.loc[[key]])[0]

    def items(self) -> list[Row]:
        return self.rows(self.frame)

    @staticmethod
    def rows(frame: pd.DataFrame) -> list[Row]:
        import pyarrow as pa

        return pa.Table.from_pandas(frame, preserve_index=False).to_pylist()


PEERS = {"parquet": Parquet}
