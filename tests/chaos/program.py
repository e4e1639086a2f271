"""The program under test: tasks of several shapes over several keys, and the roles that call and run them.

`GLASSQ_URL` says where the jobs are, `CHAOS_HISTORY` where the history goes and `CHAOS_NOTES` where the
program's own notes go. `CHAOS_LEASE`, `CHAOS_NODE`, `CHAOS_DURABILITY` and `CHAOS_SHARDS` set the application
up, `CHAOS_SEED` decides what a producer calls. `GLASSQ_CRASH_AT` names a point to end or stop at
(crashpoints.py), `CHAOS_PLANT` a defect to plant (planted.py).
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from random import Random
from typing import Any

from glassq import Glassq, current_job
from glassq.errors import EnqueueError, StorageError
from glassq.model.events import WorkerChanged
from glassq.storage import Storage
from glassq.worker.engine import Worker
from glassq.worker.options import WorkerOption
from tests.chaos import crashpoints, planted
from tests.chaos.ending import Ending
from tests.chaos.notes import note, note_slow_beginnings, take_notes

QUEUE = "chaos"
SHARDS = int(os.environ.get("CHAOS_SHARDS", "1"))

app = Glassq(
    history=os.environ["CHAOS_HISTORY"],
    lease_seconds=float(os.environ.get("CHAOS_LEASE", "1")),
    node_id=os.environ.get("CHAOS_NODE"),
)
app.queue(
    QUEUE,
    max_length=int(os.environ.get("CHAOS_LENGTH", "300")) * SHARDS,
    full_wait=1.0,
    durability=os.environ.get("CHAOS_DURABILITY", "memory"),
    shards=SHARDS,
)


# -- the tasks ---------------------------------------------------------------------------------------------


class Planned(Exception):
    """What a task raises that is meant to fail."""


@app.fifo(QUEUE, key="key", name="plain")
def plain(key: str | None, number: int, seconds: float) -> None:
    """Take a while."""
    crashpoints.reach("in_function")
    time.sleep(seconds)


@app.fifo(QUEUE, key="key", name="step")
def step(key: str | None, number: int) -> int:
    """Leave its number, and look now and then whether the step before has left the one before."""
    crashpoints.reach("in_function")
    job = current_job()
    if number and number % 9 == 0 and job is not None:
        note("inherited", found=job.upstream.get("step"), wanted=number - 1)
    return number


@app.fifo(QUEUE, key="key", name="faulty", max_retries=3, retry_wait=0.05)
def faulty(key: str | None, number: int, failures: int) -> None:
    """Fail at first, then succeed."""
    job = current_job()
    if job.attempt <= failures:
        raise Planned(f"attempt {job.attempt} of {failures + 1}")


def _on_success(value: object, job: object, binding: object) -> None:
    crashpoints.reach("in_on_success")


def _on_error(error: object, job: object, binding: object) -> None:
    crashpoints.reach("in_on_error")


@app.fifo(QUEUE, key="key", name="doomed", max_retries=1, retry_wait=0.05, on_error=_on_error)
def doomed(key: str | None, number: int) -> None:
    """Always fail: a dead letter."""
    raise Planned("always")


@app.fifo(QUEUE, key="key", name="clinging")
def clinging(key: str) -> None:
    """At the first attempt, last until the process is killed."""
    job = current_job()
    if job.attempt == 1:
        time.sleep(600)


@app.fifo(QUEUE, _on_success, key="key", name="told")
def told(key: str | None, number: int) -> None:
    """Succeed and have it told."""


@app.fifo(QUEUE, key="key", name="awaited", timeout=30)
async def awaited(key: str | None, number: int, seconds: float) -> None:
    """Take a while on the event loop."""
    await asyncio.sleep(seconds)


@app.fifo(QUEUE, key="key", name="rude")
async def rude(key: str | None, number: int, seconds: float) -> None:
    """Hold up the event loop, and every other async job with it."""
    time.sleep(seconds)  # noqa: ASYNC251 - that is what it is for


# -- producing -----------------------------------------------------------------------------------------------


class Caller:
    """Calls tasks by chance, the same ones for the same seed and name."""

    def __init__(self, name: str, keys: int) -> None:
        self.random = Random(f"{os.environ.get('CHAOS_SEED', '0')}:{name}")
        self._keys = keys
        self._number = 0

    def call(self) -> None:
        """Make one call, or one batch of calls."""
        chosen = self.random.random()
        if chosen < 0.06:
            app.enqueue_many([plain.s(self.key(), self.next(), 0.0) for _ in range(5)])
        elif chosen < 0.16:
            faulty(self.key(), self.next(), self.random.choice((1, 1, 2)))
        elif chosen < 0.22:
            doomed(self.key(), self.next())
        elif chosen < 0.32:
            told(self.key(), self.next())
        else:
            options = self._options()
            plain.options(**options)(self.key(), self.next(), self.random.choice((0.0, 0.002, 0.02)))

    def _options(self) -> dict[str, Any]:
        chosen = self.random.random()
        if chosen < 0.06:
            return {"delay": self.random.uniform(0.01, 0.3)}
        if chosen < 0.16:
            return {"priority": self.random.randrange(1, 7)}
        if chosen < 0.22:
            return {"dedup_id": f"d-{self.random.randrange(40)}"}
        return {}

    def key(self) -> str | None:
        """A key by chance, or none."""
        chosen = self.random.randrange(self._keys + 1)
        return f"k{chosen}" if chosen else None

    def next(self) -> int:
        """The number of the next call."""
        self._number += 1
        return self._number


def enqueue(count: str, seconds: str) -> int:
    """Call `plain` so many times in the default lane."""
    for number in range(int(count)):
        plain(None, number, float(seconds))
    return 0


def cling(lanes: str) -> int:
    """A job in each of so many lanes that only ends with its process."""
    for number in range(int(lanes)):
        clinging(f"c{number}")
    return 0


def produce(name: str, count: str = "0", keys: str = "7") -> int:
    """Call tasks until SIGTERM, or `count` times; the store's refusals are waited out."""
    ending, caller = Ending(), Caller(name, int(keys))
    note("up")
    calls = 0
    while not ending.asked and (count == "0" or calls < int(count)):
        calls += 1
        try:
            caller.call()
        except (EnqueueError, StorageError) as error:
            note("refused", error=type(error).__name__)
            if isinstance(error, StorageError):
                time.sleep(0.02)
    return 0


def feed(name: str) -> int:
    """Keep one lane full of quick jobs until SIGTERM."""
    ending, random, number = Ending(), Random(f"{os.environ.get('CHAOS_SEED', '0')}:{name}"), 0
    note("up")
    while not ending.asked:
        quick = [plain.s(None, number + each, random.choice((0.0, 0.0, 0.0, 0.001))) for each in range(50)]
        number += len(quick)
        try:
            app.enqueue_many(quick)
        except (EnqueueError, StorageError) as error:
            note("refused", error=type(error).__name__)
    return 0


# -- working -----------------------------------------------------------------------------------------------


def work(concurrency: str = "4", drain: str = "10") -> int:
    """A worker process, until a signal; 1 when something outlasted the drain."""
    note_slow_beginnings(app.bus)
    worker = app.worker(concurrency=int(concurrency), **_wishes())
    crashpoints.stop_by(worker)
    return serve(worker, float(drain))


def _wishes() -> WorkerOption:
    """With `CHAOS_THIEVES=1`, keys of this process: some are its own, from the others it steals."""
    if os.environ.get("CHAOS_THIEVES", "0") == "0":
        return {}
    own = os.getpid() % 3
    return {"assigned": [f"k{own}", f"k{own + 3}*"], "steal_from": [f"k{(own + 1) % 3}", "k*"]}


def serve(worker: Worker, drain: float = 10.0) -> int:
    """Run a worker and note when it hears signals; 1 when something outlasted the drain."""
    app.bus.subscribe(_up, WorkerChanged)
    return 0 if worker.run(drain=drain) else 1


def _up(event: WorkerChanged) -> None:
    if event.state == "starting":
        note("up")
    elif event.state == "running":
        note("running")


def drain(timeout: str = "60") -> int:
    """Run everything that is left, scheduled jobs too; 1 when there is still something after `timeout`."""
    deadline = time.monotonic() + float(timeout)
    while time.monotonic() < deadline:
        if app.worker(concurrency=8).run_until_idle(deadline - time.monotonic()) and not _left(app.storage):
            return 0
    return 1


def _left(storage: Storage) -> bool:
    """Whether jobs wait for their time."""
    return any(stats.scheduled for stats in storage.stats(storage.queues()))


ROLES: dict[str, Callable[..., int]] = {
    "enqueue": enqueue,
    "cling": cling,
    "produce": produce,
    "feed": feed,
    "work": work,
    "drain": drain,
}


def main(arguments: list[str]) -> int:
    """Run a role; what to plant and where to crash comes first."""
    planted.plant(os.environ.get("CHAOS_PLANT"))
    take_notes()
    crashpoints.install(app, os.environ.get("GLASSQ_CRASH_AT"), " ".join(arguments))
    role, *rest = arguments
    status = ROLES[role](*rest)
    note("done")
    return status
