"""A run as pictures: bars against the peers, and curves of growth on logarithmic axes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benches.data import KINDS
from benches.peers import ENTRIES, NAMED
from benches.questions import cases
from benches.results import Result, Run

BARS = ("add/new", "dump/fresh", "load/first_get", "load/all_items")
CURVES = (*BARS, "add/duplicates_100")
COLOURS = {"omem": "#c0392b", "ontomem": "#2c3e50"}


def plain(title: str) -> str:
    return title.replace("`", "")


def _plt() -> Any:
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    plt.rcParams.update({"font.size": 8, "axes.spines.top": False, "axes.spines.right": False})
    return plt


def draw(run: Run, folder: Path) -> list[Path]:
    """All pictures that the results are enough for."""
    made = [bars(run, folder / "peers.png"), growth(run, folder / "growth.png")]
    return [path for path in made if path is not None]


def _save(figure: Any, path: Path) -> Path:
    figure.tight_layout()
    # No date and no version in the file: the same results give the same picture.
    figure.savefig(path, dpi=110, bbox_inches="tight", metadata={"Software": None})
    _plt().close(figure)
    return path


def bars(run: Run, path: Path) -> Path | None:
    """How many times omem's time each peer takes, at the largest size of the profiles."""
    shown: list[tuple[str, list[Result]]] = []
    for case in BARS:
        rows = [
            r
            for r in run.results
            if r.case == case and r.kind == "profiles" and r.samples and r.peer != "memcpy"
        ]
        size = max((r.size for r in rows if r.peer != "omem"), default=0)
        rows = [r for r in rows if r.size == size and (r.ratio is not None or r.peer == "omem")]
        if len(rows) > 1:
            shown.append((f"{case}|{size}", rows))
    if not shown:
        return None
    plt = _plt()
    figure, axes = plt.subplots(1, len(shown), figsize=(2.6 * len(shown), 2.8), squeeze=False)
    known = cases()
    for axis, (what, rows) in zip(axes[0], shown, strict=True):
        case, _, size = what.partition("|")
        rows.sort(key=lambda r: r.ratio or 1.0, reverse=True)
        names = [plain(NAMED[r.peer].title) for r in rows]
        ratios = [r.ratio or 1.0 for r in rows]
        colours = [COLOURS["omem"] if r.peer == "omem" else "#95a5a6" for r in rows]
        axis.barh(names, ratios, color=colours)
        axis.set_xscale("log")
        axis.minorticks_off()
        axis.axvline(1, color=COLOURS["omem"], linewidth=0.8)
        for at, ratio in enumerate(ratios):
            axis.text(ratio, at, f" {ratio:.2g}", va="center", fontsize=7)
        axis.margins(x=0.25)
        question = {"add": "add", "dump": "dump", "load": "load"}[case.partition("/")[0]]
        axis.set_title(f"{question}: {known[case].title}\n{int(size):,} profiles", fontsize=8)
        axis.set_xlabel("times omem's time")
    return _save(figure, path)


def growth(run: Run, path: Path) -> Path | None:
    """Seconds against entities, for every peer that was asked at three sizes or more."""
    shown = []
    for case in CURVES:
        rows = [r for r in run.results if r.case == case and r.kind == "profiles" and r.samples]
        if len({r.size for r in rows}) >= 3:
            shown.append((case, rows))
    streamed = [r for r in run.results if r.question == "growth" and r.samples]
    if len({r.size for r in streamed}) >= 3:
        shown.append(("growth", streamed))
    if not shown:
        return None
    plt = _plt()
    figure, axes = plt.subplots(1, len(shown), figsize=(2.6 * len(shown), 3), squeeze=False)
    known = cases()
    for axis, (case, rows) in zip(axes[0], shown, strict=True):
        lines: dict[str, list[Result]] = {}
        for row in rows:
            name = row.peer if case != "growth" else f"{row.peer}: {known[row.case].title}"
            lines.setdefault(name, []).append(row)
        for entry in ENTRIES:
            for name, members in lines.items():
                if name.partition(":")[0] != entry.name or len(members) < 2:
                    continue
                members.sort(key=lambda r: r.size)
                axis.plot(
                    [r.size for r in members],
                    [r.median for r in members],
                    marker=".",
                    linewidth=2 if entry.name == "omem" else 1,
                    color=COLOURS.get(entry.name) if case != "growth" else None,
                    label=plain(name if case == "growth" else entry.title),
                )
        axis.set_xscale("log")
        axis.set_yscale("log")
        axis.set_xlabel("entities")
        title = "streamed" if case == "growth" else known[case].title
        axis.set_title(f"{case.partition('/')[0]}: {title}", fontsize=8)
        axis.set_ylabel(rows[0].unit)
        axis.legend(fontsize=5.5, frameon=False)
    return _save(figure, path)


def caption(path: Path) -> str:
    """What a picture shows."""
    return {
        "peers": "Peers against omem, each bar a median ratio of interleaved pairs "
        f"({KINDS['profiles'].title})",
        "growth": "Growth with the number of entities, both axes logarithmic",
    }[path.stem]
