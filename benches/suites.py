"""Which data are asked about: the quick suite, the full one, and a tiny one that keeps it alive."""

from __future__ import annotations

from dataclasses import dataclass, replace

from benches.data import KINDS
from benches.questions import Case

BASIC = ("add/new", "dump/fresh", "load/first_get", "load/all_items")
VECTORS = ("index", "search")
STREAMED = ("growth",)


@dataclass(frozen=True)
class Block:
    """One kind and size of data, the questions about it, and who is asked."""

    kind: str
    size: int
    ask: tuple[str, ...]
    """Questions (`dump`) and cases (`dump/fresh`)."""
    peers: tuple[str, ...] | None = None
    rounds: int = 5
    budget: float = 1.5
    """Seconds after which a peer gets no further round of a case."""
    cut_off: float = 6
    """Seconds after which one sample is given up."""
    minutes: float = 0
    """What these data may take of a suite that has a time; 0: what they need."""

    def wants(self, case: Case) -> bool:
        return case.id in self.ask or case.question in self.ask

    def asks(self, peer: str) -> bool:
        return self.peers is None or peer in self.peers

    def repetitions(self, case: Case) -> int:
        return min(self.rounds, 3) if case.alone else self.rounds


@dataclass(frozen=True)
class Suite:
    """All that one run asks."""

    name: str
    blocks: tuple[Block, ...]

    def narrowed(
        self,
        *,
        ask: list[str] | None = None,
        kinds: list[str] | None = None,
        sizes: list[int] | None = None,
        rounds: int | None = None,
        budget: float | None = None,
        cut_off: float | None = None,
        minutes: float | None = None,
    ) -> Suite:
        """The part of it that was asked for on the command line."""
        blocks = [block for block in self.blocks if kinds is None or block.kind in kinds]
        if sizes is not None:
            firsts = {block.kind: block for block in reversed(blocks)}
            blocks = [replace(b, size=size) for b in firsts.values() for size in sizes]
        if ask is not None:
            every = tuple(ask)
            blocks = [
                replace(
                    block,
                    ask=tuple(
                        name
                        for name in every
                        if sizes is not None
                        or name in block.ask
                        or name.partition("/")[0] in block.ask
                        or any(asked.startswith(name + "/") for asked in block.ask)
                    ),
                )
                for block in blocks
            ]
        if rounds is not None:
            blocks = [replace(block, rounds=rounds) for block in blocks]
        if budget is not None:
            blocks = [replace(block, budget=budget) for block in blocks]
        if cut_off is not None:
            blocks = [replace(block, cut_off=cut_off) for block in blocks]
        blocks = [block for block in blocks if block.ask]
        if minutes is not None:
            weights = [block.minutes or 1 for block in blocks]
            blocks = [
                replace(block, minutes=minutes * weight / sum(weights))
                for block, weight in zip(blocks, weights, strict=True)
            ]
        return replace(self, blocks=tuple(blocks))


LOADS = ("load/first_get", "load/all_items")
ON_ENTITIES = ("dump", "load", "get", "lookup", "memory", "collector")
SHAPES = ("ascii", "multilingual", "validated", "wide", "deep", "long", "airports", "cities")
CODECS = ("ontomem", "pydantic", "msgspec", "disk")


def _shapes(megabytes: float, rounds: int, budget: float, cut_off: float) -> list[Block]:
    sizes = {kind: int(megabytes * 1e6 / KINDS[kind].bytes) for kind in SHAPES}
    return [
        Block(kind, size, BASIC, CODECS, rounds, budget, cut_off) for kind, size in sizes.items()
    ]


QUICK = Suite(
    "quick",
    (
        Block(
            "profiles",
            20_000,
            ("add/new", "dump", *LOADS, *ON_ENTITIES[2:], "startup"),
            rounds=4,
            budget=1.0,
        ),
        Block("profiles", 10_000, ("add", "merge", *VECTORS), rounds=4, budget=0.8),
        *(Block("profiles", n, (*BASIC, "add"), CODECS, 3, 1.0) for n in (1_000, 3_000)),
        *_shapes(2.5, 3, 0.6, 6),
    ),
)


def _full(size: int, *ask: str, minutes: float, rounds: int = 5, cut_off: float = 60) -> Block:
    """One set of profiles for every peer. Small ones come first: who is cut off there is not asked
    about more of the same."""
    return Block("profiles", size, ask, None, rounds, 60, cut_off, minutes)


FULL = Suite(
    "full",
    (
        _full(1_000, *BASIC, "add", "startup", minutes=1.7),
        _full(10_000, *BASIC, "add", minutes=1.2),
        _full(30_000, *BASIC, "add", "merge", minutes=2.5),
        _full(100_000, *BASIC, "add", minutes=3, cut_off=20),
        _full(50_000, *VECTORS, minutes=1.8, cut_off=20),
        _full(200_000, "add/new", "add/duplicates_50", *ON_ENTITIES, minutes=13.5, rounds=11),
        _full(
            1_000_000,
            *BASIC,
            "dump/after_load",
            "get",
            "lookup",
            "memory",
            "collector",
            minutes=17.5,
        ),
        *(
            Block("profiles", size, STREAMED, ("disk",), 3, 60, 240, minutes)
            for size, minutes in ((100_000, 0.3), (1_000_000, 0.8), (10_000_000, 6))
        ),
        *(replace(block, minutes=0.55) for block in _shapes(25, 5, 30, 20)),
        _full(100_000, *VECTORS, minutes=2, cut_off=20),
    ),
)
TINY = Suite(
    "tiny",
    (
        Block("profiles", 200, ("add", "merge", *ON_ENTITIES, *VECTORS, *STREAMED), None, 1, 5, 30),
        Block("wide", 50, ("dump/fresh", "load/first_get", "memory/held"), None, 1, 5, 30),
    ),
)
SUITES = {suite.name: suite for suite in (QUICK, FULL, TINY)}
