"""Looking at the lanes of a queue one by one: which stand out, how they stand, and who holds them."""

from __future__ import annotations

from collections.abc import Sequence
from sqlite3 import Connection
from typing import NamedTuple

import msgspec

from glassq.model.clock import Clock
from glassq.model.lanes import LaneOrder, LanesSeen, LaneStats, WorkerStats
from glassq.model.waits import PAUSED, stretches_of
from glassq.stores.sqlite.jumps import time_of
from glassq.stores.sqlite.rows import MICRO, begun_of, micros
from glassq.stores.sqlite.serving import ALIVE
from glassq.stores.sqlite.views import shown_state

_DEPTH = "SELECT count(*) FROM jobs WHERE jobs.queue = :queue AND jobs.lane = {lane}"
_FIRSTS = (  # a read per level
    "FROM (VALUES (-6), (-5), (-4), (-3), (-2), (-1)) AS levels CROSS JOIN jobs"
    " ON jobs.queue = :queue AND jobs.lane = {lane} AND jobs.rank = levels.column1 AND jobs.seq ="
    " (SELECT min(seq) FROM jobs AS each"
    " WHERE each.queue = :queue AND each.lane = {lane} AND each.rank = levels.column1)"
)
_OLDEST = f"SELECT min(seq), eligible_at {_FIRSTS}"  # `min` makes the other column come from the same row
_RANKED = {
    LaneOrder.DEPTH: f"-nullif(({_DEPTH}), 0)",
    LaneOrder.AGE: f"(SELECT min(seq) {_FIRSTS})",
}
"""What lanes are ranked by, the least first; nothing for a lane that is kept without jobs for a callback."""

_COLUMNS = (
    "lane, state, place, owner, runs, begun_rank, begun_seq, paused, attempts, blocked_at, since, waits"
)


class _Lane(NamedTuple):
    """A lane's row."""

    lane: str
    state: str
    place: int
    owner: str | None
    runs: int
    begun_rank: int | None
    begun_seq: int | None
    paused: int
    attempts: int
    blocked_at: int | None
    since: int
    waits: str


class _Moment(msgspec.Struct, frozen=True):
    """The queue that is looked at, when, and since when it is paused as a whole, if it is."""

    cx: Connection
    queue: int
    now: int
    paused_at: int | None


def lanes(cx: Connection, queue: int, clock: Clock, by: LaneOrder, limit: int, look: int) -> LanesSeen:
    """See `Storage.lanes`. Costs a read per lane that is looked at, for the depth one per job in it, for the
    age one per level."""
    paused, paused_at, seen = cx.execute(
        "SELECT paused, paused_at, seen FROM queues WHERE id = ?", (queue,)
    ).fetchone()
    # The clock is asked once the snapshot is taken, so that nothing in it is later.
    moment = _Moment(cx, queue, time_of(seen, micros(clock.wall())), paused_at if paused else None)
    (total,) = cx.execute("SELECT count(*) FROM lanes WHERE queue = ?", (queue,)).fetchone()
    ranked = _held_up(moment, look) if by is LaneOrder.BLOCKED else _ranked(moment, by, look)
    ranked.sort(key=lambda each: (each[1], each[0]))
    counted = by is LaneOrder.DEPTH
    listed = [_figures(moment, name, -number if counted else None) for name, number in ranked[:limit]]
    return LanesSeen(
        lanes=tuple(figures for figures in listed if figures is not None),
        total=total,
        looked=min(look, total),
        exact=look >= total,
    )


def _ranked(moment: _Moment, by: LaneOrder, look: int) -> list[tuple[str, int]]:
    """The first so many lanes, with the number they are ranked by."""
    rows = moment.cx.execute(
        f"SELECT lane, {_RANKED[by].format(lane='some.lane')}"
        " FROM (SELECT lane FROM lanes WHERE queue = :queue LIMIT :look) AS some",
        {"queue": moment.queue, "look": look},
    )
    return [(lane, number) for lane, number in rows if number is not None]


def _held_up(moment: _Moment, look: int) -> list[tuple[str, int]]:
    """Lanes with since when they are held up, of the first so many."""
    rows = moment.cx.execute(
        f"SELECT {_COLUMNS} FROM (SELECT * FROM lanes WHERE queue = :queue LIMIT :look)"
        " WHERE blocked_at IS NOT NULL OR paused OR :paused OR (state = 'held' AND place <= :now)",
        {
            "queue": moment.queue,
            "look": look,
            "paused": moment.paused_at is not None,
            "now": moment.now,
        },
    )
    found = []
    for row in map(_Lane._make, rows.fetchall()):
        oldest = _oldest(moment, row.lane)
        since = None if oldest is None else _held_up_since(moment, row, oldest)
        if since is not None:
            found.append((row.lane, since))
    return found


def _oldest(moment: _Moment, lane: str) -> int | None:
    """When the lane's first job by sequence became eligible."""
    row = moment.cx.execute(_OLDEST.format(lane=":lane"), {"queue": moment.queue, "lane": lane}).fetchone()
    return None if row is None else row[1]


def _held_up_since(moment: _Moment, lane: _Lane, oldest: int) -> int | None:
    """Since when a lane is held up: its head failed, its lease has ended, or it waits for a pause to end."""
    times = [] if lane.blocked_at is None else [lane.blocked_at]
    if lane.state == "held":
        times += [lane.place] if lane.place <= moment.now else []
    elif lane.state != "halted" and (lane.paused or moment.paused_at is not None):
        times.append(_paused_since(moment, lane, oldest))
    return min(times, default=None)


def _paused_since(moment: _Moment, lane: _Lane, oldest: int) -> int:
    """From the pause on, or from when the lane was left, or from when its first job came. What it waited for
    before is noted (see `waits`); one pause may be noted in parts."""
    left = lane.since
    stretches = stretches_of(lane.waits)
    if stretches and stretches[-1].cause == PAUSED and stretches[-1].end == left:
        left = stretches[-1].begin
    since = max(left, oldest)
    return since if lane.paused else max(since, moment.paused_at or 0)


def _figures(moment: _Moment, name: str, depth: int | None) -> LaneStats | None:
    """How a lane stands, with its depth if that is known already; None when it is kept, without jobs, for a
    callback."""
    cx, queue, now = moment.cx, moment.queue, moment.now
    row = cx.execute(f"SELECT {_COLUMNS} FROM lanes WHERE queue = ? AND lane = ?", (queue, name)).fetchone()
    lane = _Lane(*row)
    oldest = _oldest(moment, name)
    if oldest is None:
        return None
    begun = begun_of(lane.begun_rank, lane.begun_seq)
    place = "ORDER BY rank, seq LIMIT 1" if begun is None else "AND rank = ? AND seq = ?"
    head, head_at = cx.execute(
        f"SELECT id, eligible_at FROM jobs WHERE queue = ? AND lane = ? {place}",
        (queue, name, *(begun or ())),
    ).fetchone()
    if depth is None:
        (depth,) = cx.execute(_DEPTH.format(lane=":lane"), {"queue": queue, "lane": name}).fetchone()

    def age(since: int | None) -> float:
        return 0.0 if since is None else max(0.0, (now - since) / MICRO)

    return LaneStats(
        lane=name,
        state=shown_state(lane.state, paused=bool(lane.paused) or moment.paused_at is not None),
        depth=depth,
        head=head,
        head_age=age(head_at),
        attempts=lane.attempts + lane.runs,
        oldest_age=age(oldest),
        blocked=age(_held_up_since(moment, lane, oldest)),
        owner=lane.owner or "",
    )


def workers(cx: Connection, queue: int | None, name: str, now: int) -> list[WorkerStats]:
    """See `Storage.workers`. Where a worker runs is not told here: it is on this host."""
    heard: dict[str, int] = {
        owner: beat
        for owner, queues, beat in cx.execute("SELECT owner, queues, beat FROM workers")
        if name in msgspec.json.decode(queues)
    }
    held: dict[str, Sequence[int]] = {
        owner: counts
        for owner, *counts in cx.execute(
            "SELECT owner, count(*), sum(runs) FROM lanes INDEXED BY lanes_by_state"
            " WHERE queue = ? AND state = 'held' GROUP BY owner",
            (queue,),
        )
    }
    found = []
    for owner in sorted({*heard, *held}):
        beat, (lanes, running) = heard.get(owner), held.get(owner, (0, 0))
        found.append(
            WorkerStats(
                owner=owner,
                alive=beat is not None and beat + ALIVE > now,
                heard=None if beat is None else max(0.0, (now - beat) / MICRO),
                lanes=lanes,
                running=running,
            )
        )
    return found
