"""Schedulers on one store whose clock the test moves: each may die at any call, or sleep for any time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any, cast

from glassq.app import Glassq
from glassq.client.means import Means
from glassq.client.task import Task
from glassq.codec import open_envelope
from glassq.context import slot_in
from glassq.model.names import whole
from glassq.registry import Registry
from glassq.schedules.scheduler import Scheduler
from glassq.schedules.timetables import Timetable
from glassq.scheduling import Schedules
from glassq.storage import ShardedStorage
from glassq.stores.sharded import ShardedQueues
from glassq.stores.sqlite.store import SqliteStorage
from glassq.telemetry import Bus
from glassq.testing.clock import FakeClock

QUEUE = "reports"
LEASE = 15.0


class Killed(BaseException):
    """The process is gone, in the middle of a call."""


class Mortal:
    """A store's handle whose process may die before or after any call that changes something."""

    def __init__(self, inner: ShardedStorage, dies: Callable[[], bool]) -> None:
        self._inner = inner
        self._dies = dies

    def __getattr__(self, name: str) -> Any:
        verb = getattr(self._inner, name)
        if name not in ("append", "exchange"):
            return verb

        def mortal(*args: Any, **kwargs: Any) -> Any:
            if self._dies():
                raise Killed
            answer = verb(*args, **kwargs)
            if self._dies():
                raise Killed
            return answer

        return mortal


class Office:
    """A store, and processes that lead its schedules."""

    def __init__(self, file: Path, *, seed: int = 0, danger: float = 0.0) -> None:
        self.clock = FakeClock()
        self.random = Random(seed)
        self.danger = danger
        self.storage = ShardedQueues(SqliteStorage.open(f"sqlite:///{file}", clock=self.clock))
        self.bus = Bus()
        app = Glassq("sqlite://")
        self.task = cast("Task[[str], None]", app.fifo(QUEUE, name="report")(_report))
        self.schedules = self.process()

    def process(self) -> Schedules:
        """What one process has of the schedules."""
        mortal = cast("ShardedStorage", Mortal(self.storage, lambda: self.random.random() < self.danger))
        registry = Registry(self.bus)
        registry.declare(QUEUE)
        return Schedules(
            Means(
                storage=lambda: mortal,
                registry=registry,
                bus=self.bus,
                clock=self.clock,
                serializer="json",
                random=self.random.random,
            )
        )

    def declare(self, timetable: Timetable, name: str = "report", **options: Any) -> Schedules:
        """A process that declares a schedule."""
        process = self.process()
        process.declare(name, self.task.s(name), timetable, **options)
        return process

    def scheduler(self, process: Schedules | None = None) -> Scheduler:
        """A candidate in a process of its own."""
        return (process or self.process()).scheduler("host", LEASE)

    def enqueued(self) -> list[int]:
        """The slots of all jobs in the queue, in their order."""
        waiting = self.storage.waiting(QUEUE, 10_000)
        found = [slot_in(open_envelope(record.job.body).headers) for record in waiting]
        return [int(slot.timestamp()) for slot in found if slot is not None]

    def queues(self) -> list[str]:
        """The names of queues that people see."""
        return [whole(name) for name in self.storage.queues()]

    def close(self) -> None:
        """Let the file go."""
        self.storage.close()


def _report(_: str) -> None:
    """Of a day."""
