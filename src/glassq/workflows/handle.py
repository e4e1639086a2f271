"""A workflow as people see it: how it goes, what it is made of, how to stop it."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterator, Mapping
from enum import StrEnum
from typing import Any

from glassq.client.mailbox import Mailbox
from glassq.codec import Serializer
from glassq.errors import ResultTimeout
from glassq.model.clock import Clock
from glassq.model.flows import FlowRecord
from glassq.model.jobs import JobState
from glassq.model.names import gate_of
from glassq.sharing import SharedValues
from glassq.storage import ShardedStorage
from glassq.workflows.graph import Graph
from glassq.workflows.records import cancel_flow, find_flow, graph_now
from glassq.workflows.submitting import first_shards, open_gate

_FIRST_LOOK, _LONGEST_LOOK, _GROWTH = 0.01, 0.5, 1.5
"""Seconds between two looks of `wait`: at first, in the end, and how fast they grow."""


class WorkflowStatus(StrEnum):
    """How a workflow goes."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    """All its jobs have ended, and one was buried or expired."""
    CANCELLED = "cancelled"
    """All its jobs have ended; some did not run, because somebody cancelled them or all of it."""


class Workflow:
    """A handle on one workflow, which is `running` until all its jobs have ended. A replay of a dead letter
    among them makes it run again.

    Its record is kept for as long as `app.submit(keep=)` says after it has ended; then `WorkflowNotFound`.
    """

    def __init__(
        self,
        workflow_id: str,
        storage: Callable[[], ShardedStorage],
        clock: Clock,
        serializer: Serializer,
        mailbox: Mailbox,
        graph: Graph | None = None,
    ) -> None:
        self.id = workflow_id
        self._storage = storage
        self._clock = clock
        self._serializer = serializer
        self._mailbox = mailbox
        self._graph = graph

    @property
    def name(self) -> str:
        """What it was submitted as. One round trip."""
        return self._record().name

    def status(self) -> WorkflowStatus:
        """How it goes now. One round trip. Raises `WorkflowNotFound`."""
        return WorkflowStatus(self._record().status)

    def progress(self) -> Mapping[JobState, int]:
        """How many of its jobs ended how. One round trip. Raises `WorkflowNotFound`."""
        return self._record().ended

    def wait(self, timeout: float | None = None) -> WorkflowStatus:
        """Wait until it has ended, and say how; `ResultTimeout` after so many seconds.

        Looks at once, after 10 ms, then less and less often, every 0.5 s at last; each is a round trip.
        Raises `WorkflowNotFound`, `StorageError`. Blocks: on an event loop, `wait_async`.
        """
        pauses = self._pauses(timeout)
        while (record := self._record()).ended_at is None:
            self._clock.sleep(self._next(pauses, record, timeout))
        return WorkflowStatus(record.status)

    async def wait_async(self, timeout: float | None = None) -> WorkflowStatus:  # noqa: ASYNC109 - as `wait`
        """As `wait`, awaited; any number may wait, no thread waits with them. An `a` before its name, as
        elsewhere, would make it a keyword."""
        pauses = self._pauses(timeout)
        while (record := await self._mailbox.errand(lambda _: self._record())).ended_at is None:  # noqa: ASYNC110
            # Nothing tells a process of what ends in another one.
            await asyncio.sleep(self._next(pauses, record, timeout))
        return WorkflowStatus(record.status)

    def _pauses(self, timeout: float | None) -> Iterator[float]:
        return _pauses(self._clock, self._clock.monotonic() + (math.inf if timeout is None else timeout))

    def _next(self, pauses: Iterator[float], record: FlowRecord, timeout: float | None) -> float:
        """How long to wait before the next look; `ResultTimeout` when the time is over."""
        pause = next(pauses, None)
        if pause is None:
            ended = sum(record.ended.values())
            raise ResultTimeout(
                f"{self!r} has not ended within {timeout:g} s: {ended} of {record.total} jobs have"
            )
        return pause

    def cancel(self) -> int:
        """Take out all of its jobs that have not ended, the last first, so that nothing more begins; returns
        how many were removed or, where they run, asked (see `app.cancel`). It is `cancelled` once these have
        ended. Two round trips for each of them. Raises `WorkflowNotFound`."""
        return cancel_flow(self._storage(), self.id, self._graph)

    def graph(self) -> Graph:
        """Its steps and edges, with how its jobs ended: `.mermaid()`, `.json()`. Two round trips. Raises
        `WorkflowNotFound`."""
        self._graph = graph_now(self._storage(), self.id, self._graph)
        return self._graph

    def jobs(self, step: str) -> tuple[str, ...]:
        """The ids of the jobs of all steps of this name, in the order they were written; empty when there is
        none. Raises `WorkflowNotFound`."""
        graph = self._graph or self.graph()
        return tuple(each.job for each in graph.steps if each.name == step)

    def xcom_pull(self, name: str, default: Any = None) -> Any:
        """What a job of it has shared under this name (`current_job().xcom_push`), or the default. One round
        trip."""
        return SharedValues(self._storage(), self.id, self._serializer).pull(name, default)

    def begin(self) -> None:
        """Let its first steps go, should its submit have died just before it had done that everywhere.
        Harmless at any other time. A round trip for each queue, or shard, that has first steps."""
        open_gate(self._storage(), gate_of(self.id), first_shards(self._graph or self.graph()))

    def _record(self) -> FlowRecord:
        return find_flow(self._storage(), self.id)

    def __repr__(self) -> str:
        return f"<workflow {self.id}>"


def _pauses(clock: Clock, deadline: float) -> Iterator[float]:
    """Seconds between two looks, until the time is over."""
    pause = _FIRST_LOOK
    while (left := min(pause, deadline - clock.monotonic())) > 0:
        yield left
        pause = min(pause * _GROWTH, _LONGEST_LOOK)
