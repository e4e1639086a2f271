"""What people see of a schedule."""

from __future__ import annotations

from typing import Literal

import msgspec


class ScheduleView(msgspec.Struct, frozen=True, kw_only=True):
    """One stored schedule. Times are epoch seconds by the store's clock. Arguments are never part of it."""

    name: str
    timetable: str
    queue: str
    task: str
    key: str | None
    next_at: float | None
    """Its next slot, which lies in the past while it lags; None when there is none any more."""
    lag: float
    """Seconds by which that is overdue; 0 when it is not."""
    paused: bool
    missed: Literal["skip", "last", "all"]
    """What becomes of slots that nobody enqueued in time."""
    jitter: float
    """Seconds below which its jobs are put off."""
    declared: Literal["code", "run time"]
    revision: int
    slots_enqueued: int
    slots_missed: int
