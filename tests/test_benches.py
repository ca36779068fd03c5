"""The benchmark suite is alive: every question of every peer that is installed, at a tiny size.

No time is asserted. A wrong answer of a peer, and above all of omem, fails here.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from benches import compare, pages, plots, process, report
from benches.data import KINDS, Data
from benches.peers import ENTRIES, NAMED
from benches.process import Desk, GoneError
from benches.questions import ORDER, cases, explanation, heading
from benches.results import Result, Run
from benches.runner import Runner
from benches.suites import BASIC, SUITES, Block, Suite
from benches.trial import Trial, WrongAnswerError

ROOT = Path(__file__).parent.parent
INSTALLED = [e.name for e in ENTRIES if e.installed]


@pytest.mark.parametrize("peer", INSTALLED)
def test_every_question_is_answered(peer: str, tmp_path: Path) -> None:
    data = Data("profiles", 60)
    trial = Trial(NAMED[peer].load()(data), data, tmp_path, tidy=False)
    trial.write_saved()
    answered = [case for case in cases().values() if set(case.verbs) <= _verbs(trial)]
    assert answered
    for case in answered:
        if case.question != "startup":
            assert case.sample(trial.peer, trial) >= 0, case.id


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "profiles"])
def test_every_kind_of_data_is_kept(kind: str, tmp_path: Path) -> None:
    data = Data(kind, 20)
    for peer in INSTALLED:
        folder = tmp_path / peer
        folder.mkdir()
        trial = Trial(NAMED[peer].load()(data), data, folder, tidy=False)
        for name in BASIC:
            case = cases()[name]
            if set(case.verbs) <= _verbs(trial):
                assert case.sample(trial.peer, trial) >= 0, (peer, name)


def _verbs(trial: Trial) -> set[str]:
    wanted = {verb for case in cases().values() for verb in case.verbs}
    return {verb for verb in wanted if trial.peer.has(verb)}


def test_a_wrong_answer_has_no_time(tmp_path: Path) -> None:
    data = Data("profiles", 20)
    peer = NAMED["json"].load()(data)
    peer.get = lambda key: {"name": key}  # type: ignore[attr-defined]
    with pytest.raises(WrongAnswerError, match="another one"):
        cases()["load/first_get"].sample(peer, Trial(peer, data, tmp_path))


def test_omem_answers_everything() -> None:
    peer = NAMED["omem"].load()(Data("profiles", 1))
    lacking = {c.id: [v for v in c.verbs if not peer.has(v)] for c in cases().values()}
    assert {name: verbs for name, verbs in lacking.items() if verbs} == {}


def test_data_are_the_same_every_time() -> None:
    for kind in set(KINDS) - {"cities"}:  # real ones take seconds to read
        assert Data(kind, 5).rows == Data(kind, 5).rows


def desk(folder: Path, cut_off: float = 20) -> Desk:
    return Desk("profiles", 500, folder, cut_off, entities=True)


def test_clocked_work_that_takes_too_long_is_cut_off(tmp_path: Path) -> None:
    asked = desk(tmp_path, cut_off=1e-5)
    with pytest.raises(GoneError, match="more than 1e-05 s") as gone:
        asked.ask("json", "load/all_items")
    assert (gone.value.peer, gone.value.status) == ("json", "cut off")


def test_a_process_that_dies_is_told_and_another_one_takes_its_place(tmp_path: Path) -> None:
    asked = desk(tmp_path)
    try:
        first = asked.worker("json")
        os.kill(first.process.pid, signal.SIGKILL)
        with pytest.raises(GoneError, match="SIGKILL") as gone:
            asked.ask("json", "load/all_items")
        assert gone.value.status == "died"
        assert asked.ask("json", "load/all_items")["value"] > 0
    finally:
        asked.close()


def test_the_largest_process_is_ended_when_memory_gets_short(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = desk(tmp_path)
    try:
        asked.worker("json")
        asked.worker("omem")  # NumPy, FAISS and Pydantic: it is the larger one
        monkeypatch.setattr(process, "RESERVE", 1.1)
        monkeypatch.setattr(process, "POLL", 0.0)
        with pytest.raises(GoneError, match="out of memory") as gone:
            asked.ask("json", "load/all_items")
        assert (gone.value.peer, gone.value.status) == ("omem", "died")
        assert asked.workers == {}
    finally:
        asked.close()


def test_a_run_without_time_leaves_out(tmp_path: Path) -> None:
    block = replace(Block("profiles", 50, ("dump/fresh",), ("json",)), minutes=1e-9)
    runner = Runner(Suite("x", (block,)), [NAMED["json"]], tmp_path, lambda what: None)
    runner.run()
    found = {(r.peer, r.status) for r in runner.results()}
    assert found == {("json", "left out"), ("omem", "ok")}
    text = report.question(made_run(runner.results()), "dump")
    assert "| json, dicts | left out |" in text


def test_peers_go_on_without_omem_and_the_rest_of_a_size_without_a_peer(tmp_path: Path) -> None:
    """Both processes end in the first case; a larger size does not ask for it again."""
    blocks = tuple(
        Block("profiles", n, ("dump/fresh", "get/one"), ("json",), 1, cut_off=cut_off)
        for n, cut_off in ((50, 1e-7), (60, 20.0))
    )
    runner = Runner(Suite("x", blocks), [NAMED["json"]], tmp_path, lambda what: None)
    runner.run()
    found = {(r.size, r.case, r.peer): (r.status, r.note) for r in runner.results()}
    assert {status for status, _ in found.values()} == {"cut off"}
    assert found[60, "get/one", "json"][1] == "already at 50"
    assert len(found) == 8


def test_an_interrupted_run_leaves_what_it_measured(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benches", "quick", "--sizes", "1000", "--data", "profiles"]
    command += ["--peers", "orjson", "json", "--out", str(tmp_path)]
    file = tmp_path / "run.json"
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL) as running:
        end = time.monotonic() + 60
        while not file.exists() and running.poll() is None and time.monotonic() < end:
            time.sleep(0.05)
        running.send_signal(signal.SIGTERM)
        assert running.wait(30) == 130
    run = Run.load(file)
    assert run.results and run.unfinished.startswith("1,000 profiles: ")
    assert "**Unfinished**" in report.facts(run)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--sizes", "0"], "0 is no whole number from 1 up"),
        (["--sizes", "many"], "many is no whole number from 1 up"),
        (["--minutes", "-1"], "-1 is no number greater than 0"),
        (["--questions", "speed"], "invalid choice: 'speed'"),
        (["--peers", "redis"], "invalid choice: 'redis'"),
        (["quick", "--data", "wide", "--questions", "search"], "asks nothing of what was chosen"),
    ],
)
def test_wrong_options_are_told(arguments: list[str], said: str) -> None:
    command = [sys.executable, "-m", "benches", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode != 0 and said in done.stderr and "Traceback" not in done.stderr


def test_a_run_from_the_command_line(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benches", "tiny", "--data", "wide"]
    command += ["--peers", "orjson", "disk", "--out", str(tmp_path / "run")]
    command += ["--questions", "dump/fresh", "load/first_get", "memory/held"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert f"## {heading('dump')}" in done.stdout
    run = Run.load(tmp_path / "run" / "run.json")
    assert all(r.status == "ok" and r.samples for r in run.results)
    assert {r.peer for r in run.results} == {"omem", "orjson", "disk"}
    assert {r.kind for r in run.results} == {"wide"}
    assert run.versions["orjson"] and run.machine["processor"]
    again = tmp_path / "again.json"
    run.save(again)
    assert Run.load(again) == run


def test_tables_show_lost_cut_off_and_wrong() -> None:
    own = Result("dump/fresh", "profiles", 10, "omem", "s", [1.0, 1.1, 1.2])
    rows = [
        own,
        Result("dump/fresh", "profiles", 10, "disk", "s", [0.5, 0.5, 0.5], own.samples),
        Result("dump/fresh", "profiles", 10, "json", "s", [2.2, 2.2, 2.2], own.samples),
        Result("dump/fresh", "profiles", 10, "ontomem", "s", status="cut off", note="6 s"),
        Result("dump/fresh", "profiles", 10, "pickle", "s", status="wrong", note="lost one"),
    ]
    text = report.question(made_run(rows), "dump")
    assert "| omem | 1.10 s ± 5% |" in text
    assert "**0.45 ×**" in text and "2 ×" in text and "cut off (6 s)" in text
    assert "write + fsync; read needs less than omem in 1 of 1: the limit" in text
    assert "wrong (lost one)" in text


def test_pages_show_a_run(tmp_path: Path) -> None:
    own = {c: Result(c, "profiles", 10, "omem", "s", [1.0] * 3) for c in pages.TABLE_CASES}
    rows = [
        Result(c, "profiles", 10, "orjson", "s", [2.0] * 3, [1.0] * 3) for c in pages.TABLE_CASES
    ]
    run = made_run([*own.values(), *rows])
    assert plots.draw(run, tmp_path) == [tmp_path / "peers.png"]
    shown = pages.summary(run, "", "benches/runs/x", ["peers.png"])
    assert "| omem | 1.00 s ± 0% |" in shown
    assert "| orjson, dicts | 2.00 s ± 0% · 2 × |" in shown
    assert "(benches/runs/x/peers.png)" in shown


def test_growth_is_drawn(tmp_path: Path) -> None:
    rows = [
        Result("dump/fresh", "profiles", n, peer, "s", [n * 1e-6])
        for n in (10, 100, 1000)
        for peer in ("omem", "json")
    ]
    assert plots.draw(made_run(rows), tmp_path) == [tmp_path / "growth.png"]
    assert (tmp_path / "growth.png").stat().st_size > 1000


def test_every_suite_asks_what_there_is() -> None:
    known = {*ORDER, *cases()}
    for suite in SUITES.values():
        for block in suite.blocks:
            assert set(block.ask) <= known and block.kind in KINDS
            assert block.peers is None or set(block.peers) <= set(NAMED)
    for question in ORDER:
        assert heading(question).endswith("?") and explanation(question)


def made_run(rows: list[Result]) -> Run:
    return Run(
        "quick",
        {"processor": "x", "cores": 2, "python": "3"},
        {},
        "abc",
        "2026-01-01",
        1.0,
        [],
        rows,
    )


def timed(samples: list[float], case: str = "dump/fresh", peer: str = "omem") -> Result:
    return Result(case, "profiles", 10, peer, "s", samples)


@pytest.mark.parametrize(
    ("left", "right", "p"),
    [
        # R: wilcox.test(1:4, 5:8), wilcox.test(1:5, 6:10), wilcox.test(c(1,3,5), c(2,4,6))
        ([1, 2, 3, 4], [5, 6, 7, 8], 0.02857142857142857),
        ([1, 2, 3, 4, 5], [6, 7, 8, 9, 10], 0.007936507936507936),
        ([1, 3, 5], [2, 4, 6], 0.7),
        ([1, 1, 1], [1, 1, 1], 1.0),
    ],
)
def test_mann_whitney_is_exact(left: list[float], right: list[float], p: float) -> None:
    assert compare.mann_whitney(left, right) == pytest.approx(p)
    assert compare.mann_whitney(right, left) == pytest.approx(p)


@pytest.mark.parametrize("seed", range(5))
def test_many_samples_are_tested_by_the_normal_approximation(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    dice = random.Random(seed)
    left = [round(dice.gauss(1.0, 0.2), 2) for _ in range(31)]  # ties among them
    right = [round(dice.gauss(1.1, 0.2), 2) for _ in range(28)]
    approximate = compare.mann_whitney(left, right)
    monkeypatch.setattr(compare, "EXACT", 100)
    assert approximate == pytest.approx(compare.mann_whitney(left, right), rel=0.2)


def test_ties_count_as_their_mean_rank() -> None:
    # Ranks 1, 3.5 (four times), 6: of the 20 sums of three, 12 are as far from the middle as 8 is.
    assert compare.mann_whitney([1, 2, 2], [2, 2, 3]) == pytest.approx(12 / 20)


def test_step_up_keeps_the_rate_of_false_discoveries() -> None:
    assert compare.significant([0.01, 0.04, 0.03, 0.005], 0.05) == [True, True, True, True]
    assert compare.significant([0.2, 0.04, 0.9, 0.5], 0.05) == [False, False, False, False]


def test_a_real_change_is_found_and_noise_is_not() -> None:
    dice = random.Random(1)

    def noisy(median: float) -> list[float]:
        return [median * dice.uniform(0.97, 1.03) for _ in range(9)]

    names = [f"dump/{n}" for n in range(40)]
    before = made_run([timed(noisy(1.0), name) for name in names])
    after = made_run([timed(noisy(1.5 if n == 7 else 1.0), names[n]) for n in range(40)])
    found = compare.changes(before, after)
    assert [change.after.case for change in found] == ["dump/7"]
    assert found[0].factor == pytest.approx(1.5, rel=0.1)


def test_too_few_samples_show_nothing() -> None:
    before, after = made_run([timed([1, 1.01, 1.02])]), made_run([timed([2, 2.01, 2.02])])
    assert compare.changes(before, after) == []


def test_compare_from_the_command_line(tmp_path: Path) -> None:
    paths = [tmp_path / "a.json", tmp_path / "b.json"]
    for path, level in zip(paths, (1.0, 0.5), strict=True):
        made_run([timed([level + n / 1000 for n in range(8)])]).save(path)
    command = [sys.executable, "benches/compare.py", *map(str, paths)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "Slower: 0" in done.stdout and "Faster: 1" in done.stdout
    assert "0.50 ×  omem: dump/fresh, 10 profiles" in done.stdout


def test_compare_tells_what_it_cannot_see() -> None:
    before = made_run([timed([1, 2, 3]), timed([1, 2, 3, 4], "dump/gone")])
    after = made_run([timed([1, 2, 3]), timed([1, 2, 3, 4], "dump/come")])
    text = compare.describe(before, replace(after, unfinished="x"))
    assert "1 results of both runs are compared, 1 of them with too few samples" in text
    assert "1 are only in the first; 1 are only in the second." in text
    assert "The second run is unfinished" in text


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "cannot be read: No such file or directory"),
        ("{", "is no JSON"),
        ("[]", "is no run of this suite"),
        ('{"format": 1, "results": []}', "is no run of this suite"),
        ('{"format": 1, "results": [{"x": 1}]}', "is no run of this suite"),
    ],
)
def test_a_file_that_is_no_run_is_told(tmp_path: Path, content: str | None, said: str) -> None:
    path = tmp_path / "run.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(SystemExit, match=said):
        Run.load(path)
