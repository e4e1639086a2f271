"""Time as a queue has seen it pass, and what a jump of the clock costs nobody."""

from __future__ import annotations

from sqlite3 import Connection

from glassq.stores.sqlite.rows import MICRO

STILL = 100_000
"""µs. A step back of the clock below this is none: it stands still until it has come as far again.
Corrections of clocks are of some ms, and following each would cost a write per lane that waits."""


def touch(cx: Connection, queue: int, clock: int) -> int:
    """Note that time is seen to pass; after a jump of the clock give every holder one fresh lease. Returns
    the queue's time."""
    (seen,) = cx.execute("SELECT seen FROM queues WHERE id = ?", (queue,)).fetchone()
    now = pass_time(cx, queue, int(seen), clock)
    note(cx, queue, now)
    return now


def pass_time(cx: Connection, queue: int, seen: int, clock: int) -> int:
    """What `touch` does, for a caller that has read `seen` and writes it with other columns."""
    now = time_of(seen, clock)
    catch_up(cx, queue, seen, now)
    return now


def time_of(seen: int, clock: int) -> int:
    """What time it is in a queue that was last touched when it was `seen`."""
    return seen if seen - STILL < clock < seen else clock


def is_usual(seen: int, now: int) -> bool:
    """Whether so little time has passed that nothing is to be done about it: no lease is shorter than a
    second."""
    return seen <= now <= seen + MICRO


def note(cx: Connection, queue: int, now: int) -> None:
    """Something happens here now."""
    cx.execute("UPDATE queues SET seen = ? WHERE id = ?", (now, queue))


def catch_up(cx: Connection, queue: int, seen: int, now: int) -> None:
    """What a jump of the clock costs nobody.

    What would end by a clock that was set back ends as much earlier by the new one. The clock jumped, or
    nothing reached the store, when the last touch lies ahead by over a second, or further back than a lease.
    No owner can have renewed by that clock, so none may be judged by it: each gets one lease, once per token,
    which a live owner renews in and a dead one lets run out.
    """
    if is_usual(seen, now):
        return
    times = {"queue": queue, "now": now, "back": seen - now}
    if seen > now:
        cx.execute(
            "UPDATE lanes SET place = place - :back WHERE queue = :queue AND state IN ('held', 'waiting')",
            times,
        )
    if seen and abs(now - seen) > MICRO:
        cx.execute(
            "UPDATE lanes SET place = :now + lease, graced = token"
            " WHERE queue = :queue AND state = 'held' AND graced <> token AND (:back > 0 OR -:back > lease)",
            times,
        )
