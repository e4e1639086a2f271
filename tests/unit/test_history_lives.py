"""What the marks of answers tell of a server's runs: what was kept, what is excused, and who had to tell."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from glassq.observe.history import FORMAT
from glassq.testing.history.lines import EnqueueOk
from glassq.testing.history.lives import Lives
from tests.unit.defects import Lines
from tests.unit.playing import Line
from tests.unit.test_history_checker import judge

LIFE = "life"
EMPTY_STATS = {
    "ready": 0,
    "leased": 0,
    "waiting_retry": 0,
    "halted": 0,
    "paused": 0,
    "scheduled": 0,
    "deferred": 0,
    "dead_letters": 0,
    "replayed": 0,
}


class Server:
    """A server with one queue, as its answers show it: it may be killed, and come back with less."""

    def __init__(self) -> None:
        self.lines: Lines = []
        self._time = 0.0
        self._jobs: list[str] = []
        self._accepted = 0
        self._run = ("run1", 0)
        self._calls = 0
        for process in ("a", "b"):
            self.write(process, "begin", v=FORMAT, pid=ord(process), host="h")

    def write(self, process: str, event: str, **fields: Any) -> Line:
        """A line, a tenth of a second after the one before."""
        self._time += 0.1
        line = {"e": event, "m": self._time, "p": process, **fields}
        self.lines.append(line)
        return line

    def enqueue(self, process: str) -> str:
        """Append a job; its id."""
        self._calls += 1
        call, known = f"{process}-{self._calls}", f"q/{process}:{self._calls}"
        self.write(process, "enqueue.invoked", call=call, queue="q", n=1)
        seq, (run, began) = len(self._jobs), self._run
        found = [LIFE, seq, seq, 0, run, began, 0]
        self._jobs.append(known)
        jobs = [[known, seq + 1, "a", 3, "ff", 0]]
        self.write(process, "enqueue.ok", call=call, queue="q", jobs=jobs, found=found)
        return known

    def restart(self, lost: int = 0) -> None:
        """Killed and started again, without the last jobs."""
        self._jobs = self._jobs[: len(self._jobs) - lost]
        self._run = (f"run{self._time}", len(self._jobs))

    def tell(self, process: str) -> None:
        """A process reports a loss."""
        self.write(process, "loss", queue="q", kind="rolled_back", missing=1)

    def judge(
        self, folder: Path, left: Sequence[str] | None = None, *, expected: bool = True
    ) -> dict[str, int]:
        """What is found, when these jobs (not told: all that the server has) are left in the end."""
        for process in ("a", "b"):
            self.write(process, "worker.listening", owner=f"{process}/life/0")
        jobs = self._jobs if left is None else left
        unsettled = [
            {"id": known, "seq": seq, "lane": "a", "level": 3, "body": "ff", "replayed": False}
            for seq, known in enumerate(jobs, 1)
        ]
        settled = dict.fromkeys(("succeeded", "buried", "expired", "cancelled"), 0)
        stats = EMPTY_STATS | {"enqueued": len(jobs), "ready": len(jobs), "settled": settled}
        self.write("a", "dump", queue="q", unsettled=unsettled, dead=[], stats=stats)
        self.write("a", "dump.end", queues=["q"])
        return judge(self.lines, folder, losses_expected=expected).counts


def test_a_restart_that_kept_everything_is_no_loss(tmp_path: Path) -> None:
    """Another run that began with all that was counted excuses nothing and has to be reported by nobody."""
    server = Server()
    for process in "abab":
        server.enqueue(process)
    server.restart()
    for process in "ab":
        server.enqueue(process)
    assert server.judge(tmp_path, expected=False) == {}


def test_a_restart_that_kept_everything_excuses_no_lost_job(tmp_path: Path) -> None:
    """A job that is gone although the run began with it is missed."""
    server = Server()
    kept, gone = server.enqueue("a"), server.enqueue("b")
    server.restart()
    last = server.enqueue("a")
    assert gone not in (kept, last)
    counts = server.judge(tmp_path, [kept, last])
    assert counts["I1"] == 1
    assert "I7" not in counts


def test_an_end_that_was_cut_and_told_is_a_loss(tmp_path: Path) -> None:
    """What came after the new run's beginning is lost: a finding where that was not expected, none where it
    was and each process that knew of it has said so."""
    server = Server()
    for process in "abab":
        server.enqueue(process)
    server.restart(lost=2)
    for process in "ab":
        server.tell(process)
        server.enqueue(process)
    assert server.judge(tmp_path) == {}
    assert judge(server.lines, tmp_path, losses_expected=False).counts == {"I7": 1}


def test_an_end_that_was_cut_in_silence_is_found(tmp_path: Path) -> None:
    """The same, and the process that was told of the last job kept silent."""
    server = Server()
    for process in "abab":
        server.enqueue(process)
    server.restart(lost=1)
    for process in "ab":
        server.enqueue(process)
    assert server.judge(tmp_path) == {"I7": 1}


def test_who_knew_of_nothing_lost_need_not_tell(tmp_path: Path) -> None:
    """A process whose jobs are all there is not asked for a report."""
    server = Server()
    for process in "aab":
        server.enqueue(process)
    server.restart(lost=1)
    server.enqueue("a")
    server.tell("b")
    server.enqueue("b")
    assert server.judge(tmp_path) == {}


def test_a_hole_is_no_loss_of_an_end(tmp_path: Path) -> None:
    """A job from before the cut is gone: I1. One from behind it is still there: I7."""
    server = Server()
    first, second, third = (server.enqueue(process) for process in "aaa")
    server.restart(lost=1)
    server.tell("a")
    last = server.enqueue("a")
    counts = server.judge(tmp_path, [first, last, third])
    assert second not in (first, last, third)
    assert (counts["I1"], counts["I7"]) == (1, 1)


def test_a_later_loss_takes_what_an_earlier_one_had_left(tmp_path: Path) -> None:
    """Numbers of each life are compared with what every later one began with."""
    server = Server()
    for process in "aaaa":
        server.enqueue(process)
    for lost in (1, 3):
        server.restart(lost=lost)
        server.tell("a")
        server.enqueue("a")
    assert server.judge(tmp_path) == {}


def ok(m: float, seq: int, run: str, began: int) -> tuple[float, EnqueueOk]:
    """An append that found so many jobs in a run that began with so many, and was given the next seq."""
    jobs: list[tuple[str, int | None, str, int, str, int]] = [(f"q/p:{m}", seq + 1, "", 3, "ff", 0)]
    line = EnqueueOk(m=m, call="", queue="q", jobs=jobs, found=(LIFE, seq, seq, 0, run, began, 0))
    return m - 0.01, line


def test_a_repeated_append_finds_its_own_jobs_there() -> None:
    """The answer of a repetition tells of a mark that counts its jobs already: a restart that keeps just them
    has lost nothing."""
    asked, repeated = ok(1.0, 1, "run1", 0)
    repeated.jobs = [("q/p:1", 1, "", 3, "ff", 0)]
    lives = Lives([(asked, repeated), ok(2.0, 1, "run2", 1)])
    assert len(lives.all) == 1


@pytest.mark.parametrize(("began", "kept"), [(5, True), (4, False)])
def test_a_run_keeps_what_it_began_with(began: int, kept: bool) -> None:
    """The seq with which a run began is the last one that outlived the run before."""
    lives = Lives([ok(1.0, 4, "run1", 0), ok(2.0, 9, "run2", began)])
    assert lives.keeps(0, seq=5) is kept
    assert lives.keeps(0, seq=4)
    assert lives.broken_between(1.0, 1.5)
    assert not lives.broken_between(0.1, 0.9)
