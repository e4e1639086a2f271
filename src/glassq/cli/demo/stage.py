"""Everything one run of the demo needs to exist: two servers, two workers, a producer, a store."""

from __future__ import annotations

import secrets
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from glassq.cli.demo.board import Lanes
from glassq.cli.demo.children import Child, ChildFailed, Surroundings
from glassq.cli.demo.crash import Crash
from glassq.cli.demo.eventlog import customers, read_events
from glassq.cli.demo.otlp import SpanCollector
from glassq.cli.demo.receiver import Receiver
from glassq.cli.demo.settings import DEFAULT_QUEUE

START_SECONDS = 30.0
"""What a process may take until it serves: interpreters start slowly on a busy machine."""


class Stage:
    """Receiver and span collector serve while entered; when it is left, no process and no file remains."""

    def __init__(self, url: str | None) -> None:
        self.events = read_events()
        self.lanes = Lanes(self.events, customers(self.events))
        self.crash = Crash(len(self.events) // 2)
        self.workers: list[Child] = []
        self.endpoints: dict[str, str] = {}
        self.producer: Child | None = None
        self.started = 0.0
        self._given_url = url
        # A store that others use may hold a queue of any name: ours must be nobody's.
        self.queue = f"{DEFAULT_QUEUE}-demo-{secrets.token_hex(3)}" if url else DEFAULT_QUEUE
        self._resources = ExitStack()

    def __enter__(self) -> Self:
        with self._resources as resources:
            scratch = Path(resources.enter_context(tempfile.TemporaryDirectory(prefix="glassq-demo-")))
            self.url = self._given_url or f"sqlite:///{scratch / 'jobs.db'}"
            self.receiver = resources.enter_context(Receiver(self.crash))
            self.collector = resources.enter_context(SpanCollector())
            self._surroundings = Surroundings(
                url=self.url,
                queue=self.queue,
                receiver=self.receiver.url,
                otlp=self.collector.url,
                scratch=scratch,
            )
            self._resources = resources.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._resources.__exit__(kind, error, trace)

    def start_workers(self) -> None:
        """Start both side by side and wait until they serve; `ChildFailed` with their own words if not."""
        for name in ("worker A", "worker B"):
            self.workers.append(self._resources.enter_context(self._surroundings.worker(name)))
        for worker in self.workers:
            self.endpoints[worker.name] = worker.wait_for_line(r"http://[\w.:\[\]]+", START_SECONDS).group()
        self.crash.arm(self.workers, self.receiver.ledger)

    def start_producer(self, seconds: float) -> None:
        """Begin to play the log back, over this many seconds."""
        self.started = time.monotonic()
        self.producer = self._resources.enter_context(
            self._surroundings.producer(seconds, self.lanes.enqueued)
        )

    @property
    def elapsed(self) -> float:
        """Seconds since the producer was started."""
        return time.monotonic() - self.started

    @property
    def survivor(self) -> Child:
        """The worker that was not killed (yet)."""
        return next(worker for worker in self.workers if worker is not self.crash.victim)

    def check(self) -> None:
        """`ChildFailed` when a process has ended that must not have."""
        for worker in self.workers:
            if worker is not self.crash.victim and worker.exit_code is not None:
                raise ChildFailed(f"{worker.name} ended by itself{worker.last_words()}")
        if self.producer is not None and self.producer.exit_code not in (None, 0):
            raise ChildFailed(f"the producer failed{self.producer.last_words()}")
