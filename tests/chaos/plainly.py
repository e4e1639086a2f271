"""The program at its fastest: nothing is around its jobs and nobody is told of each at once, so that a worker
takes the shortest way it has with them (`glassq.worker.plain`, courses, bundles of turns).

What a job does is written into the history by the job itself: when its code begins and ends. Its roles stand
in for those of the same names. `CHAOS_TURN` is the length of a turn; `CHAOS_HOLD_SETTLING` is in holdups.py.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import cycle
from pathlib import Path
from random import Random
from typing import Any
from unittest import mock

from glassq import Glassq, Priority, Receipt, Signature, current_job
from glassq.errors import EnqueueError, JobNotFound, ReplayRefused, StorageError
from glassq.model.events import WorkerChanged
from glassq.observe.history import HistoryFile, record_stays, recorded_end, stay_of
from glassq.stores.open import open_storage
from glassq.telemetry import Bus
from glassq.worker.plain import PlainAttempts
from tests.chaos import planted
from tests.chaos.ending import Ending
from tests.chaos.holdups import hold_up
from tests.chaos.notes import note, take_notes
from tests.chaos.verdict import QUEUE

BATCH = 50
_ILL = Path(os.environ["CHAOS_NOTES"]) / "ill"
"""While this file is there, jobs that may fail do."""

_ILLNESS = 2.0
"""Seconds for which it lasts at most: until the first job is buried."""
_histories: list[HistoryFile] = []


def _record(bus: Bus, history: HistoryFile) -> None:
    """What a history has beside the attempts, which write themselves down."""
    _histories.append(history)
    record_stays(bus, history)


with mock.patch("glassq.app.record_attempts", _record):
    app = Glassq(
        history=os.environ["CHAOS_HISTORY"],
        lease_seconds=float(os.environ.get("CHAOS_LEASE", "1")),
    )
app.queue(QUEUE, max_length=300, full_wait=1.0, turn=int(os.environ.get("CHAOS_TURN", "1")))


# -- the tasks ---------------------------------------------------------------------------------------------


class Planned(Exception):
    """What a job raises that is meant to fail."""


_way = threading.local()
"""`is_plain`: whether this thread is in an attempt of a plain job."""


def mark_the_way() -> None:
    """Note of each start in this process whether it was on the plain path. Nothing is looked at or asked for
    that was not before."""
    run = PlainAttempts.run

    def run_marked(self: PlainAttempts, *about: Any) -> Any:
        _way.is_plain = True
        try:
            return run(self, *about)
        finally:
            _way.is_plain = False

    mock.patch.object(PlainAttempts, "run", run_marked).start()


@contextmanager
def _written_down(level: int) -> Iterator[None]:
    """The lines of a start and of an end, around the code of a job."""
    job, history = current_job(), _histories[0]
    history.write(
        "start",
        **stay_of(job),
        id=job.id,
        seq=job.seq,
        level=level,
        attempt=job.attempt,
        plain=getattr(_way, "is_plain", False),
    )
    planted.begun()
    with recorded_end(history, job):
        yield


@app.fifo(QUEUE, key="key", name="quick")
def quick(key: str | None, level: int, seconds: float) -> None:
    """Next to nothing."""
    with _written_down(level):
        if seconds:
            time.sleep(seconds)


@app.fifo(QUEUE, key="key", name="doomed", max_retries=1, retry_wait=0.01)
def doomed(key: str | None, level: int) -> None:
    """Fail, and be buried, while everything that may fail does."""
    with _written_down(level):
        if _ILL.exists():
            raise Planned("for now")


# -- producing ---------------------------------------------------------------------------------------------


def feed(name: str, lanes: str = "1", faults: str = "0") -> int:
    """Keep lanes full of quick jobs until SIGTERM; of a hundred, so many may fail."""
    ending, random = Ending(), _chance(name)
    note("up")
    while not ending.asked:
        calls = [_call(random, _key(random, int(lanes)), int(faults)) for _ in range(BATCH)]
        _enqueue(calls)
    return 0


def enqueue(count: str) -> int:
    """So many quick jobs in the default lane."""
    app.enqueue_many([quick.s(None, int(Priority.NORMAL), 0.0) for _ in range(int(count))])
    return 0


def _chance(name: str) -> Random:
    return Random(f"{os.environ.get('CHAOS_SEED', '0')}:{name}")


def _key(random: Random, lanes: int) -> str | None:
    """One of so many lanes, of which the first has no key."""
    lane = random.randrange(lanes)
    return f"k{lane}" if lane else None


def _call(random: Random, key: str | None, faults: int, level: Priority = Priority.NORMAL) -> Signature[Any]:
    if random.random() * 100 < faults:
        return doomed.options(priority=level).s(key, int(level))
    return quick.options(priority=level).s(key, int(level), random.choice((0.0, 0.0, 0.0, 0.001)))


def _enqueue(calls: Sequence[Signature[Any]]) -> Sequence[Receipt]:
    try:
        return app.enqueue_many(calls)
    except (EnqueueError, StorageError) as error:
        note("refused", error=type(error).__name__)
        return ()


# -- steering ----------------------------------------------------------------------------------------------


def steer(name: str, lanes: str) -> int:
    """Until SIGTERM pause and resume, cancel, call at a higher level, let jobs fail and bring them back, in
    turn; in the end everything goes on."""
    ending, random = Ending(), _chance(name)
    turns = cycle((_pause, _cancel, _overtake, _fall_ill))
    note("up")
    while not ending.asked:
        next(turns)(random, _key(random, int(lanes)))
        note("steered")
    app.queue(QUEUE).replay()
    return 0


def _pause(random: Random, key: str | None) -> None:
    """For a moment: the whole queue, or one lane."""
    scope = key if random.random() < 0.5 else None
    app.queue(QUEUE).pause(scope)
    time.sleep(random.uniform(0.01, 0.05))
    app.queue(QUEUE).resume(scope)


def _cancel(random: Random, key: str | None) -> None:
    """One of a few jobs that wait, or run by then."""
    receipts = _enqueue([_call(random, key, 0) for _ in range(20)])
    for receipt in random.sample(receipts, min(3, len(receipts))):
        try:
            note("cancelling", id=receipt.id)
            app.cancel(receipt)
        except JobNotFound:
            note("too_late")


def _overtake(random: Random, key: str | None) -> None:
    _enqueue([_call(random, key, 0, Priority.HIGH) for _ in range(5)])


def _fall_ill(random: Random, key: str | None) -> None:
    """Some jobs are buried, and brought back when they can succeed."""
    _ILL.touch()
    _enqueue([_call(random, key, 50, Priority.CRITICAL) for _ in range(6)])
    ends = time.monotonic() + _ILLNESS
    while not app.queue(QUEUE).dead_letters(1) and time.monotonic() < ends:
        time.sleep(0.005)
    _ILL.unlink()
    try:
        app.queue(QUEUE).replay(to=random.choice(("front", "tail")))
    except ReplayRefused:
        note("refused_replay")


# -- working -----------------------------------------------------------------------------------------------


def work(concurrency: str) -> int:
    """A worker process, until a signal."""
    mark_the_way()
    app.bus.subscribe(_up, WorkerChanged)
    return 0 if app.worker(concurrency=int(concurrency)).run(drain=10.0) else 1


def _up(event: WorkerChanged) -> None:
    if event.state == "running":
        note("up")


def drain(timeout: str) -> int:
    """Run everything that is left."""
    return 0 if app.worker(concurrency=4).run_until_idle(float(timeout)) else 1


ROLES: dict[str, Callable[..., int]] = {
    "feed": feed,
    "enqueue": enqueue,
    "steer": steer,
    "work": work,
    "drain": drain,
}


def main(arguments: list[str]) -> int:
    """Run a role; what to plant comes first."""
    planted.plant(os.environ.get("CHAOS_PLANT"))
    mock.patch("glassq.app.open_storage", hold_up(open_storage)).start()
    take_notes()
    role, *rest = arguments
    status = ROLES[role](*rest)
    note("done")
    return status
