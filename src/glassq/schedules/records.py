"""A schedule as it is stored: when it is due, which call it makes, and how far it has come."""

from __future__ import annotations

from typing import Literal

import msgspec

from glassq.errors import CorruptRecord, FormatMismatch
from glassq.model.jobs import Priority
from glassq.policy.slots import Missed
from glassq.schedules.timetables import Timetable

RECORD_VERSION = 1


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """The call a schedule makes at each slot, packed: whoever leads can enqueue it, whether it knows the task
    or not. `ttl` is seconds."""

    queue: str
    task: str
    serializer: str
    payload: bytes
    key: str | None = None
    unordered: bool = False
    """Whether each of its jobs is a lane of its own."""
    level: int = int(Priority.NORMAL)
    ttl: float | None = None
    keep: float | None = None
    """Seconds for which results are kept, 0 not at all; None until it is stored: as its task says then."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody declares: when, what, and what becomes of missed slots."""

    name: str
    timetable: Timetable
    order: Order
    missed: Missed = "last"
    jitter: float = 0.0
    """Seconds below which each slot's job is put off, so that not all schedules of a minute come at once."""
    revision: int = 0
    """A plan replaces none of a higher revision."""


class Schedule(msgspec.Struct, frozen=True, kw_only=True):
    """A plan, and where it stands. Times are epoch seconds by the store's clock."""

    plan: Plan
    declared: Literal["code", "run time"]
    position: int
    """Every slot up to here has been dealt with."""
    next: int | None
    """The first slot after it; None when there is none any more."""
    paused: bool = False
    enqueued: int = 0
    missed: int = 0
    """Slots so far that were enqueued, and that were not."""
    v: int = RECORD_VERSION


class _Versioned(msgspec.Struct, frozen=True):
    """What every version of a record has."""

    v: int


_SCHEDULE = msgspec.json.Decoder(Schedule)
_VERSIONED = msgspec.json.Decoder(_Versioned)


def to_bytes(schedule: Schedule) -> bytes:
    """As it is stored."""
    return msgspec.json.encode(schedule)


def from_bytes(name: str, body: bytes) -> Schedule:
    """A stored schedule. `FormatMismatch` when a newer glassq wrote it, `CorruptRecord` when it cannot be
    read."""
    try:
        version = _VERSIONED.decode(body).v
        if version > RECORD_VERSION:
            raise FormatMismatch(f"schedule {name}", version, RECORD_VERSION)
        return _SCHEDULE.decode(body)
    except (msgspec.MsgspecError, RecursionError) as error:
        way_out = f"remove it and add it again: glassq schedule remove {name}"
        raise CorruptRecord(f"schedule {name} cannot be read ({error}); {way_out}") from None
