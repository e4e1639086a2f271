"""The checker finds what breaks the contract: one defect at a time, planted into a valid history."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from glassq.model.verdicts import Action
from glassq.testing.history import Report, check, read
from tests.unit.defects import DEFECTS, Lines
from tests.unit.playing import LEASE, QUEUE, Play, Process, lines_of, write_history


def tell(folder: Path) -> Lines:
    """Retries, a crash, an outlived lease, dead letters, a replay, a cancelled job, and two jobs left."""
    play = Play(folder)
    first, second = Process(play), Process(play)
    first.enqueue(5, lane="a")
    first.enqueue(1, lane="a")
    second.enqueue(1, lane="a")
    first.work()
    first.work(Action.RETRY)
    first.work()
    first.work(Action.BURY)
    first.work(Action.BURY)
    first.start()  # outlives its lease
    play.pass_time(LEASE + 1)
    second.work()
    first.end()
    first.settle()
    second.drain()
    second.enqueue(3, lane="b")
    second.start()  # and is killed
    play.pass_time(LEASE + 1)
    third = Process(play)
    third.drain()
    third.store.replay(QUEUE, [third.store.dead(QUEUE, 1)[0].job.id], front=True)
    third.drain()
    third.enqueue(3, lane="c")
    third.store.cancel(third.store.waiting(QUEUE, 3)[2].job.id)
    return play.dump()


@pytest.fixture(scope="module")
def valid(tmp_path_factory: pytest.TempPathFactory) -> Lines:
    """A history without a fault."""
    return tell(tmp_path_factory.mktemp("play"))


def judge(lines: Lines, folder: Path, **options: Any) -> Report:
    """The checker's verdict on these lines."""
    return check(read([write_history(lines, folder / "history")]), **options)


def test_a_valid_history_is_clean(valid: Lines, tmp_path: Path) -> None:
    """Nothing is found where nothing is wrong, and the figures tell what happened."""
    report = judge(valid, tmp_path)
    assert report.findings == []
    assert report.notes == []
    figures = report.figures
    assert figures["jobs_acknowledged"] == 13
    assert figures["settlements_fenced"] == 1
    assert figures["overlaps"] == 1
    assert figures["takeovers"] == 2
    assert figures["reruns_per_lane"] == {"q/a": 1, "q/b": 1}
    assert figures["max_reruns_per_takeover"] == 1


@pytest.mark.parametrize(("plant", "invariant"), DEFECTS, ids=[plant.__name__ for plant, _ in DEFECTS])
def test_a_planted_defect_is_found(
    valid: Lines, plant: Callable[[Lines], None], invariant: str, tmp_path: Path
) -> None:
    """Each defect is found under the invariant it breaks, and shown with the lines that prove it."""
    lines = copy.deepcopy(valid)
    plant(lines)
    report = judge(lines, tmp_path, losses_expected=True)
    assert invariant in report.counts, report.findings
    found = [finding for finding in report.findings if finding.invariant == invariant]
    assert all(finding.what and finding.where for finding in found)


def test_starts_that_do_not_say_whether_they_are_replayed(valid: Lines, tmp_path: Path) -> None:
    """User code that writes its own start does not know that its job was replayed; the replay tells. Without
    that one, the same starts are out of order."""
    lines = copy.deepcopy(valid)
    for line in lines_of(lines, "start"):
        del line["replayed"]
    assert judge(lines, tmp_path).findings == []
    silent = [line for line in lines if not line["e"].startswith("replay.")]
    (silence := tmp_path / "silence").mkdir()
    assert judge(silent, silence).counts.keys() >= {"I3", "I5"}


def test_a_job_that_was_asked_to_end_may_have_been_taken_out(valid: Lines, tmp_path: Path) -> None:
    """Where a cancellation says `asked`, the store ends a job unrun that had not begun: it is not lost. One
    that found nothing explains nothing."""
    lines = copy.deepcopy(valid)
    [answer] = lines_of(lines, "cancel.ok")
    answer["result"] = "asked"
    assert judge(lines, tmp_path).findings == []
    answer["result"] = None
    assert judge(lines, tmp_path).counts.keys() >= {"I1", "I10"}
