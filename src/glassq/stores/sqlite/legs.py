"""Jobs that have ended and are in the tables still: noted in a row of their lane's, taken out together.

To take a job out and to count it changes two pages at least. To note in one row that it has ended changes
one, by one statement that is a transaction of its own. So a lane on a course goes in legs of some jobs each:
the jobs of a leg are noted, and when the leg ends they are taken out and counted.

Nobody sees the difference. Every transaction ends all legs before it does anything (see `Connections`); so
does whoever reads what jobs and lanes there are. Two kinds leave legs alone, which are of this process and
touch nothing that a leg rests on: other legs, and appends behind whatever there is in a lane that is known.

fence: so while the row of a leg is there, all that was looked at when it began is as it was: whose the lane
is, its change counter, which jobs come next, whether others wait. Where it is gone nothing can be noted. Its
number is random, so that no other leg is ever taken for it. What is noted stays so, whoever is killed then.
"""

from __future__ import annotations

import secrets
from sqlite3 import Connection
from typing import NamedTuple

import msgspec

from glassq.stores.sqlite.jumps import is_usual
from glassq.stores.sqlite.known import HeldLane, Known, Leg
from glassq.stores.sqlite.rows import QueueRow

_MOST = 64
"""Jobs of a leg: to take them out costs others, who wait for that, about 0.2 ms."""
_COLUMNS = "number, queue, lane, rank, from_seq, till_seq, ended, at"
_BEGIN = f"INSERT INTO legs ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, 0, ?)"
_NOTE = "UPDATE legs SET till_seq = ?, ended = ?, at = ? WHERE number = ?"
_LEGS = f"SELECT {_COLUMNS} FROM legs"


class Stepped(msgspec.Struct, frozen=True, gc=False):
    """A job that succeeded while its lane went on with the next one: when, which of the queue's settled jobs
    it is, and where the queue stood before."""

    now: int
    ordinal: int
    incarnation: str
    seq: int
    enqueued: int


def begin(cx: Connection, known: Known, lane: HeldLane, stood: QueueRow) -> Leg | None:
    """Let a plain lane go on, on a leg; None when its next job could not be on it."""
    lane.look_ahead(cx)
    first = lane.first(cx)
    if first is None or first.dedup is not None or lane.second(cx) is None:
        return None
    leg = Leg(secrets.randbits(62), lane, first.rank, stood)
    cx.execute(_BEGIN, (leg.number, lane.queue, lane.lane, first.rank, first.seq, first.seq, stood.seen))
    known.legs[leg.number] = leg
    return leg


def go_on(cx: Connection, known: Known, leg: Leg, job_id: str, next_id: str, clock: int) -> Stepped | None:
    """Note that this job of the leg has succeeded and that one begins. One statement, in a transaction or by
    itself. None, and nothing is done, when the leg is over, or this is not the next of its jobs."""
    places = leg.lane.places
    if leg.number not in known.legs or leg.count >= _MOST or len(places) <= 1:
        return None
    job, stood = places[0], leg.stood
    if job.id != job_id or places[1].id != next_id:
        return None  # order: what was named is not what comes
    # order: the jobs of a leg are of one level, so that none which comes in later is ever among them. A job
    # that holds what it alone may hold is taken out by itself, with that.
    if job.rank != leg.rank or job.dedup is not None:
        return None
    if not is_usual(stood.seen, clock):
        return None
    # fence: nobody has done anything since it began, or the row would not be there.
    if cx.execute(_NOTE, (job.seq, leg.count + 1, clock, leg.number)).rowcount != 1:
        return None
    leg.count += 1
    places.popleft()
    stood.settled += 1
    stood.seen = clock
    return Stepped(clock, stood.settled, stood.incarnation, stood.seq, stood.enqueued)


def end(cx: Connection, known: Known, queue: int, lane: str) -> None:
    """End the leg of this lane, if it is on one. What is known stays true."""
    leg = known.leg_of(queue, lane)
    if leg is not None:
        del known.legs[leg.number]
        row = cx.execute(f"{_LEGS} WHERE number = ?", (leg.number,)).fetchone()
        _take_out(cx, _Row._make(row))


def end_known(cx: Connection, known: Known) -> None:
    """End all legs, in a transaction that found nobody else to have written. What is known stays true."""
    if known.legs:
        known.legs.clear()
        end_all(cx)


def end_all(cx: Connection) -> None:
    """End the legs of every process."""
    for row in cx.execute(_LEGS).fetchall():
        _take_out(cx, _Row._make(row))


def are_noted(cx: Connection) -> bool:
    """Whether there are jobs in the tables that have ended."""
    return bool(cx.execute("SELECT EXISTS (SELECT 1 FROM legs WHERE ended)").fetchone()[0])


class _Row(NamedTuple):
    """A leg, whoever's: its jobs that have ended."""

    number: int
    queue: int
    lane: str
    rank: int
    from_seq: int
    till_seq: int
    ended: int
    at: int


def _take_out(cx: Connection, leg: _Row) -> None:
    """End it: its jobs are settled as any other, only together."""
    if leg.ended:
        gone = cx.execute(
            "DELETE FROM jobs WHERE queue = ? AND lane = ? AND rank = ? AND seq BETWEEN ? AND ?",
            (leg.queue, leg.lane, leg.rank, leg.from_seq, leg.till_seq),
        )
        if gone.rowcount != leg.ended:
            raise LookupError(
                f"{leg.ended} jobs in {leg.lane} were noted to have ended, {gone.rowcount} had not"
            )
        # The time of a leg never goes back: whoever sees the clock jump ends it first.
        cx.execute(
            "UPDATE queues SET settled = settled + ?1, succeeded = succeeded + ?1,"
            " settled_at = max(settled_at, ?2), seen = max(seen, ?2) WHERE id = ?3",
            (leg.ended, leg.at, leg.queue),
        )
    cx.execute("DELETE FROM legs WHERE number = ?", (leg.number,))
