"""Which slots of a schedule are due, which of those are enqueued, and how long each is remembered.

A slot is a moment at which a schedule is due, in whole seconds since the epoch. A schedule's `position` says
that every slot up to it has been dealt with; what lies in (position, now] is due.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, Literal
from zlib import crc32

import msgspec

Missed = Literal["skip", "last", "all"]
"""What becomes of slots that nobody enqueued in time."""

After = Callable[[float], int | None]
"""A timetable: the first slot after a moment; None when there is no further one."""

MOST_CAUGHT_UP: Final = 100
"""Slots that `all` catches up on at most, the newest ones: an outage is not answered by a flood."""
GRACE: Final = 60
"""Seconds a slot may be late and is not missed yet, as `skip` sees it: a leader may change meanwhile."""
HORIZON: Final = 366 * 86_400
"""Seconds after which a slot is not caught up on, however rare its schedule is."""
MARGIN: Final = 86_400
"""Seconds a slot is remembered for longer than anybody would still enqueue it."""
COUNTED: Final = 1_000
"""Due slots that are told apart; what is missed beyond them is not counted."""


class Due(msgspec.Struct, frozen=True):
    """What there is to do: the slots to enqueue, oldest first, how many are missed, and where the schedule
    stands once that is done."""

    slots: tuple[int, ...]
    missed: int
    position: int


def due(after: After, missed: Missed, *, position: int, now: float) -> Due:
    """What is due of a schedule by now.

    `last` enqueues the newest due slot, however late; `all` the newest hundred; `skip` the newest one unless
    it is more than a minute late. The others are missed. A position that is more than a day ahead was reached
    while the clock was wrong: the schedule goes on from now, or it would stand still until then.
    """
    if position > now + MARGIN:
        return Due((), 0, int(now))
    found = _newest(after, position, int(now))
    if not found:
        return Due((), 0, position)
    taken = found[-MOST_CAUGHT_UP:] if missed == "all" else found[-1:]
    if missed == "skip" and now - found[-1] > GRACE:
        taken = []
    return Due(tuple(taken), len(found) - len(taken), found[-1])


def remembered_until(after: After, missed: Missed, slot: int) -> int:
    """Until when a slot that was enqueued must be known as such: a day longer than it could be caught up on.

    Whoever enqueued it may have died before the schedule's position said so; whoever comes next, however much
    later, then enqueues it again.
    """
    end = slot + HORIZON
    last = slot
    for _ in range(MOST_CAUGHT_UP if missed == "all" else 1):
        later = after(last)
        if later is None or later >= end:
            return end + MARGIN
        last = later
    return last + MARGIN


def spread(name: str, slot: int, jitter: float) -> float:
    """Seconds by which a slot's job is put off, below `jitter`; the same whoever asks."""
    return crc32(f"{name}/{slot}".encode()) / (1 << 32) * jitter


def _newest(after: After, since: int, until: int) -> list[int]:
    """The slots in (since, until], no more than the newest `COUNTED`.

    Looked for in spans before the end that grow, so that a schedule of every second costs no more after a
    year than after a day.
    """
    since = max(since, until - HORIZON)
    span = GRACE
    while True:
        start = max(since, until - span)
        found = list(_between(after, start, until))
        if start == since or len(found) > COUNTED:
            return found[-COUNTED:]
        span *= 4


def _between(after: After, start: int, end: int) -> Iterator[int]:
    slot = after(start)
    while slot is not None and slot <= end:
        yield slot
        slot = after(slot)
