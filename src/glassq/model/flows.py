"""Workflows as stores know them: what ended jobs leave, who has to hear of it, and how the whole goes."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from glassq.model.jobs import JobState


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """The end of a job, for somebody who has to hear of it: a child, or the workflow it belongs to.

    Told twice, or late, it changes nothing. `number` is its own in the outbox it was taken from.
    """

    to: str
    """The id of the child, or of the workflow; or the parent itself when that is a gate: all in this shard
    who wait for it."""
    parent: str
    outcome: JobState | None
    """How it ended: succeeded, buried, cancelled or expired; None: it was replayed, and is unsettled."""
    final: bool = True
    """Whether it stays so. A dead letter may be replayed, and so may what was cancelled because of one: what
    is cancelled by such an end is kept, and comes back with it (`outcome=None`), or is dropped once the end
    is final."""
    result: bytes | None = None
    number: int = 0


class Upstream(msgspec.Struct, frozen=True):
    """What a parent of a job left: how it ended, and its result when it was settled with one."""

    job: str
    name: str
    outcome: JobState
    result: bytes | None


class FlowEnded(msgspec.Struct, frozen=True):
    """A workflow all jobs of which have ended; `status` is as in `FlowRecord`."""

    id: str
    name: str
    status: str
    seconds: float


class Delivered(msgspec.Struct, frozen=True, kw_only=True):
    """What deliveries did."""

    released: int = 0
    """Jobs that joined their lanes."""
    cancelled: int = 0
    ended: tuple[FlowEnded, ...] = ()
    relay: bool = False
    """Whether the outbox of this shard has something that was not there before."""


class FlowRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A workflow as stored. Times are epoch seconds by the store's clock; `body` is its client's own."""

    id: str
    name: str
    total: int
    ended: Mapping[JobState, int]
    """How many of its jobs have ended so; those that have not are left out."""
    body: bytes
    began_at: float
    ended_at: float | None = None
    cancelled: bool = False

    @property
    def status(self) -> str:
        """`running`, or how it ended: `succeeded`, `failed` or `cancelled`."""
        return "running" if self.ended_at is None else status_of(self.ended, cancelled=self.cancelled)


def status_of(ended: Mapping[JobState, int], *, cancelled: bool) -> str:
    """How a workflow ended whose jobs ended so; `cancelled`: somebody asked for that."""
    failed = ended.get(JobState.BURIED, 0) + ended.get(JobState.EXPIRED, 0)
    stopped = ended.get(JobState.CANCELLED, 0)
    if failed and not cancelled:
        return "failed"
    return "cancelled" if failed or stopped else "succeeded"
