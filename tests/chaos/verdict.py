"""What every run has to show at its end, beside what the checker reads in its history."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence

from glassq.codec import open_envelope
from glassq.model.names import whole
from glassq.storage import DeadRecord, Storage
from glassq.testing.history import Report
from tests.chaos.events import Event
from tests.chaos.processes import Process
from tests.chaos.tracing import RECLAIMED

QUEUE = "chaos"
MAX_CRASHES = 5
"""After so many deaths of its worker a job is buried: the default, which the program leaves alone."""


def assert_told_enough(report: Report, notes: Collection[str]) -> None:
    """Something happened, and the checker could look at all of it; `notes` are what a test expects it to say
    about what it could not check."""
    assert report.figures["jobs_acknowledged"] > 0, report.figures
    assert report.figures["starts"] > 0, report.figures
    assert set(report.notes) == set(notes), report.notes


def assert_ended_as_meant(processes: Sequence[Process], said: str) -> None:
    """Each process ended with a status that was meant: an error nobody caught is none of them."""
    wrong = [
        f"{process} ended with {status}, not {sorted(process.endings)}"
        for process in processes
        if (status := process.wait()) not in process.endings
    ]
    assert not wrong, f"{wrong}; said:\n{said[-3000:]}"


def assert_no_complaints(said: str) -> None:
    """No process logged or printed an error with its traceback: not even one that it then lived with."""
    found = max(said.find("Traceback (most recent call last)"), said.find("Exception ignored in"))
    assert found < 0, f"an error that nothing here explains:\n{said[max(0, found - 500) : found + 3000]}"


def assert_nothing_left(storage: Storage) -> None:
    """No job waits, runs, is late or stands in a halted or paused lane, in any queue."""
    left = {stats.queue: stats.by_state() for stats in storage.stats(storage.queues()) if stats.depth}
    assert not left, f"after the drain there is left: {left}"


def assert_doomed_alone_died(storage: Storage, taken: Sequence[Event], killed: int) -> None:
    """The dead letters of the program's queue are the jobs that always fail, after their two attempts.

    A worker that dies, or is taken a lane from, costs the head of each lane it held one attempt more, and a
    job that this happened to five times is buried for it. `killed` processes may have owned lanes that
    nobody wrote down.
    """
    reclaimed = Counter(
        event["lane"] for event in taken if whole(event["queue"]) == QUEUE and event["cause"] in RECLAIMED
    )
    letters = storage.dead(QUEUE, 1_000_000) if QUEUE in storage.queues() else []
    wrong = [
        (letter.job.id, letter.lane, task_of(letter), letter.reason, letter.attempts)
        for letter in letters
        if not _meant_to_die(letter, reclaimed[letter.lane] + killed)
    ]
    assert not wrong, f"buried, although nothing here asks for it: {wrong[:10]}"


def _meant_to_die(letter: DeadRecord, most_crashes: int) -> bool:
    if letter.reason == "crashed":
        return min(letter.attempts, most_crashes) >= MAX_CRASHES
    exhausted = (task_of(letter), letter.reason) == ("doomed", "exception")
    return exhausted and 2 <= letter.attempts <= 2 + most_crashes


def task_of(letter: DeadRecord) -> str:
    """The task a dead letter is of."""
    return open_envelope(letter.job.body).task
