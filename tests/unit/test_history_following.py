"""The checker knows of jobs that wait for others: it accuses what began too early, and nothing else."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest

from glassq.model.edges import After, EdgePolicy
from glassq.model.jobs import NewJob
from glassq.model.verdicts import Action
from glassq.testing.history import Report, check, read
from tests.unit.defects import Lines, dump_of
from tests.unit.playing import QUEUE, Play, Process, lines_of, write_history


def append(process: Process, lane: str, *after: After) -> str:
    """Enqueue a job that waits for others; its id."""
    [answer] = process.store.append(QUEUE, [NewJob(body=b"job", lane=lane, after=after)])
    return answer.id


def tell(folder: Path) -> Lines:
    """A chain, a failed parent whose child is brought back with it, one whose child is not, and one left."""
    play = Play(folder)
    process = Process(play)
    first = append(process, "a")
    append(process, "b", After(append(process, "c", After(first))))
    process.drain()
    for name in "de":
        append(process, name, After(append(process, name)))
        process.work(Action.BURY)
    process.store.replay(QUEUE, [process.store.dead(QUEUE, 1)[0].job.id], front=True)
    process.drain()
    failed = append(process, "f")
    process.work(Action.BURY)
    append(process, "g", After(failed, EdgePolicy.WAIT))
    return play.dump()


@pytest.fixture(scope="module")
def valid(tmp_path_factory: pytest.TempPathFactory) -> Lines:
    """A history without a fault."""
    return tell(tmp_path_factory.mktemp("play"))


def judge(lines: Lines, folder: Path) -> Report:
    """The checker's verdict on these lines."""
    return check(read([write_history(lines, folder / "history")]))


def test_a_valid_history_is_clean(valid: Lines, tmp_path: Path) -> None:
    """What was cancelled, brought back or is still deferred is accounted for."""
    report = judge(valid, tmp_path)
    assert (report.findings, report.notes) == ([], [])
    assert dump_of(valid)["stats"]["settled"] == {"succeeded": 5, "buried": 3, "cancelled": 2, "expired": 0}
    assert (dump_of(valid)["stats"]["deferred"], dump_of(valid)["stats"]["replayed"]) == (1, 2)


def test_a_job_that_began_too_early_is_found(valid: Lines, tmp_path: Path) -> None:
    """Before the settlement of the one it waits for was sent."""
    lines = copy.deepcopy(valid)
    sent = next(line for line in lines_of(lines, "settle.invoked"))
    start = lines_of(lines, "start")[1]
    lines.remove(start)
    lines.insert(lines.index(sent), {**start, "m": sent["m"] - 1e-3})
    report = judge(lines, tmp_path)
    assert "I11" in report.counts
    [finding] = [each for each in report.findings if each.invariant == "I11"]
    assert finding.where


def test_a_deferred_job_that_is_gone_is_found(valid: Lines, tmp_path: Path) -> None:
    """None of those it waits for failed so that it would be cancelled, and it is not there any more."""
    lines = copy.deepcopy(valid)
    stats = dump_of(lines)["stats"]
    stats["deferred"] -= 1
    stats["settled"]["cancelled"] += 1
    assert set(judge(lines, tmp_path).counts) == {"I1"}
