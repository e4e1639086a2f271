"""Jobs that have ended and are in the tables still: noted beside their lane's leg, taken out together.

To take a job out and to count it is a transaction that changes two pages at least. To note that it has
ended is a record in a file (see `legnotes`). So a lane on a course goes in legs of some jobs each: the jobs
of a leg are noted, and when the leg ends they are taken out and counted.

Nobody sees the difference. Every transaction ends all legs before it does anything (see `Connections`); so
does whoever reads what jobs and lanes there are. Two kinds leave legs alone, which are of this process and
touch nothing that a leg rests on: other legs, and appends behind whatever there is in a lane that is known.

fence: so while nobody has said that legs are over, all that was looked at when one began is as it was: whose
the lane is, its change counter, which jobs come next, whether others wait. Afterwards nothing can be noted.
A leg's number is random, so that no other one is ever taken for it. What is noted stays so, whoever is killed
then.
"""

from __future__ import annotations

import secrets
from itertools import islice
from operator import attrgetter
from sqlite3 import Connection

import msgspec

from glassq.stores.sqlite.jumps import is_usual
from glassq.stores.sqlite.known import HeldLane, Known, Leg
from glassq.stores.sqlite.legnotes import Note
from glassq.stores.sqlite.rows import Place, QueueRow

_MOST = 64
"""Jobs of a leg: to take them out costs others, who wait for that, about 0.2 ms."""
_LEVEL_AND_HOLD = attrgetter("rank", "dedup")
_BEGIN = "INSERT INTO legs (number, queue, lane, rank, from_seq, notes_at) VALUES (?, ?, ?, ?, ?, ?)"
_LEGS = "SELECT number, queue, lane, rank, from_seq, notes_at FROM legs"


class Stepped(msgspec.Struct, frozen=True, gc=False):
    """A job that succeeded while its lane went on with the next one: when, which of the queue's settled jobs
    it is, and where the queue stood before."""

    now: int
    ordinal: int
    incarnation: str
    seq: int
    enqueued: int


def begin(cx: Connection, known: Known, lane: HeldLane, stood: QueueRow, *, anew: bool) -> Leg | None:
    """Let a plain lane go on, on a leg; None when its next job could not be, or nothing can be noted. `anew`:
    when this transaction began there was no leg at all."""
    lane.look_ahead(cx)
    if known.notes is None or lane.first(cx) is None:
        return None
    jobs = _those_on_it(lane)
    if len(jobs) <= 1:
        return None
    first, number = jobs[0], secrets.randbits(62) | 1
    notes_at = known.notes.begin(number, first=not known.legs, anew=anew)
    if notes_at is None:
        return None
    leg = Leg(number, lane, jobs, known.notes, stood)
    cx.execute(_BEGIN, (number, lane.queue, lane.lane, first.rank, first.seq, notes_at))
    known.legs[number] = leg
    return leg


def _those_on_it(lane: HeldLane) -> list[Place]:
    """The first jobs of a lane that can be noted to have ended, and the one behind them."""
    # order: the jobs of a leg are of one level, so that none which comes in later is ever among them. A job
    # that holds what it alone may hold is taken out by itself, with that.
    jobs = list(islice(lane.places, _MOST + 1))
    fit = list(map((jobs[0].rank, None).__eq__, map(_LEVEL_AND_HOLD, jobs)))
    return jobs[: fit.index(False) + 1] if False in fit else jobs


def go_on(known: Known, leg: Leg, job_id: str, next_id: str, clock: int) -> Stepped | None:
    """Note that this job of the leg has succeeded and that one begins. None, and nothing is done, when the
    leg is over, or this is not the next of its jobs; `LegsAreOver` when that is found out only now."""
    jobs, ended, stood = leg.jobs, leg.ended + 1, leg.stood
    if ended >= len(jobs) or leg.number not in known.legs:
        return None
    job = jobs[ended - 1]
    if job.id != job_id or jobs[ended].id != next_id:
        return None  # order: what was named is not what comes
    if not is_usual(stood.seen, clock):
        return None
    # fence: nobody has done anything since it began, or it would be refused.
    leg.notes.add(leg.number, ended, job.seq, clock)
    leg.ended, leg.at = ended, clock
    stood.settled = ordinal = stood.settled + 1
    stood.seen = clock
    return Stepped(clock, ordinal, stood.incarnation, stood.seq, stood.enqueued)


def end(cx: Connection, known: Known, queue: int, lane: str) -> None:
    """End the leg of this lane, if it is on one. What is known stays true."""
    leg = known.leg_of(queue, lane)
    if leg is not None:
        del known.legs[leg.number]
        _end(cx, leg)


def end_known(cx: Connection, known: Known) -> None:
    """End all legs, in a transaction that found nobody else to have written. What is known stays true."""
    if known.legs:
        legs = list(known.legs.values())
        known.legs.clear()
        for leg in legs:
            _end(cx, leg)


def end_all(cx: Connection, known: Known) -> None:
    """End the legs of every process, of which nothing is known."""
    rows = cx.execute(_LEGS).fetchall()
    noted: dict[int, Note] = {}
    if rows and known.notes is not None:
        noted = known.notes.finish([(row[0], row[5]) for row in rows])
    for number, queue, lane, rank, from_seq, _ in rows:
        note = noted.get(number)
        if note is not None and note.ended:
            _take_out(cx, queue, lane, rank, from_seq, note)
    cx.execute("DELETE FROM legs")


def are_noted(cx: Connection, known: Known) -> bool:
    """Whether there may be jobs in the tables that have ended."""
    legs = [(row[0], row[5]) for row in cx.execute(_LEGS)]
    if not legs or known.notes is None:
        return bool(legs)
    noted = known.notes.noted(legs)
    return any(number not in noted or noted[number].ended for number, _ in legs)


def _end(cx: Connection, leg: Leg) -> None:
    """End one of this process, which knows what it has noted."""
    if leg.ended:
        lane, first, last = leg.lane, leg.jobs[0], leg.jobs[leg.ended - 1]
        note = Note(leg.ended, last.seq, leg.at, leg.number)
        _take_out(cx, lane.queue, lane.lane, first.rank, first.seq, note)
        lane.without_first(leg.ended)
    cx.execute("DELETE FROM legs WHERE number = ?", (leg.number,))


def _take_out(cx: Connection, queue: int, lane: str, rank: int, from_seq: int, note: Note) -> None:
    """The jobs of a leg that have ended are settled as any other, only together."""
    gone = cx.execute(
        "DELETE FROM jobs WHERE queue = ? AND lane = ? AND rank = ? AND seq BETWEEN ? AND ?",
        (queue, lane, rank, from_seq, note.till_seq),
    )
    if gone.rowcount != note.ended:
        raise LookupError(f"{note.ended} jobs in {lane} were noted to have ended, {gone.rowcount} had not")
    # The time of a leg never goes back: whoever sees the clock jump ends it first.
    cx.execute(
        "UPDATE queues SET settled = settled + :ended, succeeded = succeeded + :ended,"
        " settled_at = max(settled_at, :at), seen = max(seen, :at) WHERE id = :queue",
        {"ended": note.ended, "at": note.at, "queue": queue},
    )
