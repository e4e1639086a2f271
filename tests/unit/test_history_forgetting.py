"""A queue that its store was asked to forget, as the self-test asks: what that says about its jobs."""

from __future__ import annotations

from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from glassq import Glassq
from glassq.testing.history import check, read
from glassq.testing.history.report import Report
from tests.unit.defects import Lines
from tests.unit.playing import QUEUE, Play, Process, write_history


def leave(folder: Path, *, done: int, forgotten: bool = True, again: int = 0) -> Lines:
    """Four jobs are enqueued, of which some are done; the queue is forgotten, and perhaps used again."""
    play = Play(folder)
    process = Process(play)
    process.enqueue(4)
    for _ in range(done):
        process.work()
    process.tape.write("forget.invoked", call="x-1", queue=QUEUE)
    process.tape.write("forget.ok", call="x-1", queue=QUEUE, forgotten=forgotten)
    if again:
        process.enqueue(again)
    play.inner.close()
    return [line for tape in play.tapes for line in tape.lines]


def judge(lines: Lines, folder: Path) -> Report:
    """What the checker says."""
    return check(read([write_history(lines, folder / "history")]))


def test_a_forgotten_queue_was_empty(tmp_path: Path) -> None:
    """A store forgets a queue only while it holds nothing: that is as good as a dump, and leaves no note."""
    report = judge(leave(tmp_path, done=4), tmp_path)
    assert (report.findings, report.notes) == ([], [])


def test_a_job_that_was_lost_before_is_missing(tmp_path: Path) -> None:
    """To forget a queue hides no loss: what was acknowledged must have ended before."""
    report = judge(leave(tmp_path, done=3), tmp_path)
    assert report.counts == {"I1": 1}
    assert "is gone" in report.findings[0].what


@pytest.mark.parametrize(("forgotten", "again"), [(False, 0), (True, 2)])
def test_a_queue_that_is_still_used_needs_a_dump(tmp_path: Path, forgotten: bool, again: int) -> None:
    """A store that refused, or a name that somebody uses again, proves nothing, and accuses nobody."""
    report = judge(leave(tmp_path, done=4, forgotten=forgotten, again=again), tmp_path)
    assert report.findings == []
    assert [note for note in report.notes if "there is no dump of it" in note]


def test_what_a_store_forgets_is_recorded(tmp_path: Path) -> None:
    """With its answer: not while a job is there."""
    url, directory = f"sqlite:///{tmp_path}/jobs.db", tmp_path / "history"
    with Glassq(url, history=directory, registry=CollectorRegistry()) as app:
        send = app.fifo("mail", name="send")(lambda: None)
        send()
        assert not app.storage.forget("mail")
        assert app.worker().run_until_idle(30)
        assert app.storage.forget("mail")
    report = check(read([directory]))
    assert (report.findings, report.notes) == ([], [])
