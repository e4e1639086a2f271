"""How lanes change hands: due retries and abandoned lanes become ready, ready lanes get an owner."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from sqlite3 import Connection
from typing import NamedTuple

import msgspec

from glassq.model.leases import ClaimCause, Claimed, Grant, Lease, Owner
from glassq.model.waits import NO_WORKER, waits_of
from glassq.model.watermarks import Watermark
from glassq.storage import Terms
from glassq.stores.sqlite.arriving import promote_scheduled
from glassq.stores.sqlite.choosing import Chooser
from glassq.stores.sqlite.rows import MICRO, READY, QueueRow, begun_of, head, next_front, next_tail, window
from glassq.stores.sqlite.waits import bring_up, standstills, waited

_PROMOTED_AT_ONCE = 100
_IN_A_ROW = 16
"""Lanes that are granted beyond those that begin whatever is noted of them: some processes wait for the file
for longer than others, and so do the lanes that they hold."""


def reclaim(cx: Connection, queue: int, lane: str, now: int, cause: ClaimCause) -> None:
    """Take a held lane from its owner: ready again at the front, the job that it ran blamed for the crash."""
    first = head(cx, queue, lane, None)
    if first is None:  # the owner died in the callback of the lane's last job
        cx.execute("DELETE FROM lanes WHERE queue = ? AND lane = ?", (queue, lane))
        return
    # Tried now or before: nothing overtakes it.
    tried = "runs OR blocked_at IS NOT NULL"
    cx.execute(
        f"UPDATE lanes SET state = {READY}, place = :place, owner = NULL, cause = :cause, since = :now,"
        # Nobody worked on it since its owner was heard of last.
        " waits = CASE WHEN place - lease < :now"
        f" THEN waits || (place - lease) || ',' || :now || ',{NO_WORKER},0,' ELSE waits END,"
        " attempts = attempts + runs, crashes = crashes + runs,"
        " blocked_at = CASE WHEN runs THEN coalesce(blocked_at, :now) ELSE blocked_at END,"
        f" begun_rank = CASE WHEN {tried} THEN coalesce(begun_rank, :rank) END,"
        f" begun_seq = CASE WHEN {tried} THEN coalesce(begun_seq, :seq) END,"
        " runs = 0 WHERE queue = :queue AND lane = :lane",
        {
            "place": next_front(cx, queue),
            "cause": cause,
            "now": now,
            "rank": -first.level,
            "seq": first.seq,
            "queue": queue,
            "lane": lane,
        },
    )


class _Times(NamedTuple):
    """When the first lease ends, the first job is due, the first retry is, and the first lease of another
    owner ends."""

    lease: int | None
    job: int | None
    retry: int | None
    of_others: int | None

    @classmethod
    def of(cls, cx: Connection, queue: int, owner: str) -> _Times:
        """Those of a queue, as an owner sees it."""
        return cls(*cx.execute(_TIMES, {"queue": queue, "owner": owner}).fetchone())


def bring_up_to_date(cx: Connection, queue: int, owner: str, now: int) -> _Times:
    """Let time, which was seen to pass, have its effect: ended leases, due jobs and due retries made ready.
    Returns what comes next.

    In this order: a job that comes in when a lease has ended finds its lane with no owner any more.
    """
    times = _Times.of(cx, queue, owner)
    ended, due, again = [time is not None and time <= now for time in times[:3]]
    if not (ended or due or again):
        return times
    if ended:
        _reclaim_expired(cx, queue, now)
    if due:
        promote_scheduled(cx, queue, now)
    if again:
        _promote_due(cx, queue, now)
    return _Times.of(cx, queue, owner)


def together(claims: Sequence[Claimed], now: float, found: Mapping[str, Watermark]) -> Claimed:
    """The answer to claims of several queues, which stood there."""
    return Claimed(
        grants=tuple(grant for claimed in claims for grant in claimed.grants),
        now=now,
        others={queue: ready for each in claims for queue, ready in each.others.items()},
        next_due=min((each.next_due for each in claims if each.next_due is not None), default=None),
        found=found,
        looked={queue: after for each in claims for queue, after in each.looked.items()},
    )


def _reclaim_expired(cx: Connection, queue: int, now: int) -> None:
    """Lanes whose lease has ended, the one that ended first in front."""
    rows = cx.execute(
        "SELECT lane FROM lanes WHERE queue = ? AND state = 'held' AND place <= ?"
        " ORDER BY place, lane LIMIT ?",
        (queue, now, _PROMOTED_AT_ONCE),
    ).fetchall()
    for (lane,) in reversed(rows):
        reclaim(cx, queue, lane, now, ClaimCause.LEASE_EXPIRED)


def reclaim_from(
    cx: Connection,
    owners: Collection[str],
    time_of: Callable[[int], int],
    cause: ClaimCause,
    queues: Collection[int] | None = None,
) -> None:
    """All lanes of owners that are known to be gone, in these queues, None in every one; the lease that ends
    first in front."""
    if not owners:
        return
    marks = ", ".join("?" * len(owners))
    rows = cx.execute(
        f"SELECT queue, lane FROM lanes WHERE state = 'held' AND owner IN ({marks})"
        " ORDER BY place DESC, lane DESC",
        tuple(owners),
    ).fetchall()
    for queue, lane in rows:
        if queues is None or queue in queues:
            reclaim(cx, queue, lane, time_of(queue), cause)


def _promote_due(cx: Connection, queue: int, now: int) -> None:
    """Lanes whose retry is due join the tail of the ready lanes."""
    rows = cx.execute(
        "SELECT lane FROM lanes WHERE queue = ? AND state = 'waiting' AND place <= ?"
        " ORDER BY place, lane LIMIT ?",
        (queue, now, _PROMOTED_AT_ONCE),
    ).fetchall()
    for (lane,) in rows:
        bring_up(cx, queue, lane, now)
        cx.execute(
            f"UPDATE lanes SET state = {READY}, place = ? WHERE queue = ? AND lane = ?",
            (next_tail(cx, queue), queue, lane),
        )


_HELD = "lanes INDEXED BY lanes_by_state WHERE queue = :queue AND state = 'held'"
"""Few of very many lanes: SQLite, left to itself, reads them all."""
_TIMES = (
    f"SELECT (SELECT place FROM {_HELD} ORDER BY place LIMIT 1),"
    " (SELECT min(due_at) FROM scheduled WHERE queue = :queue),"
    " (SELECT min(place) FROM lanes WHERE queue = :queue AND state = 'waiting'),"
    f" (SELECT place FROM {_HELD} AND owner <> :owner ORDER BY place LIMIT 1)"
)


def holders(cx: Connection, queue: int) -> set[str]:
    """The owners of a queue's held lanes."""
    rows = cx.execute(f"SELECT DISTINCT owner FROM {_HELD}", {"queue": queue})
    return {owner for (owner,) in rows}


class _Ready(msgspec.Struct, frozen=True):
    """A ready lane's row."""

    lane: str
    cause: str
    begun_rank: int | None
    begun_seq: int | None
    cancel: str | None
    attempts: int
    failures: int
    crashes: int
    change: int
    waits: str
    since: int

    @property
    def is_fresh(self) -> bool:
        """Whether nothing is noted of its head."""
        counts = self.attempts or self.failures or self.crashes
        return not (counts or self.cancel or self.begun_rank is not None) and self.cause == ClaimCause.READY


def _that_begin(ready: Sequence[_Ready], begin: int) -> Sequence[_Ready]:
    """So many, and those behind them up to the first one of whose head something is noted."""
    noted = (place for place, each in enumerate(ready) if place >= begin and not each.is_fresh)
    return ready[: next(noted, len(ready))]


_READY_LANES = (
    "SELECT lane, cause, begun_rank, begun_seq, cancel, attempts, failures, crashes, change, waits, since"
    " FROM lanes WHERE queue = ? AND state = 'ready'"
)


class Claim(msgspec.Struct):
    """Who claims lanes of a queue, and when. `stood`: its counters, of which the token goes on here;
    `granted` is how often it did. Without `grace` each lease counts as one that was made fresh already."""

    queue: int
    name: str
    stood: QueueRow
    owner: Owner
    lease: int
    now: int
    grace: bool = True
    granted: int = 0

    def grant(self, cx: Connection, lanes: int, begin: int, size: int, turn: int) -> tuple[list[Grant], bool]:
        """Take up to so many ready lanes, longest waiting first, with windows of this size, or of a turn
        while others wait; and whether further ones are left waiting. Behind the first ones, that `begin`
        whatever is noted of them, only such of which nothing is."""
        rows = cx.execute(
            f"{_READY_LANES} ORDER BY place LIMIT ?",
            (self.queue, 0 if self.stood.paused else lanes + 1),
        ).fetchall()
        picked = _that_begin([_Ready(*row) for row in rows[:lanes]], begin)
        crowd = len(rows) > min(len(picked), begin)
        return self._take_all(cx, picked, min(size, turn) if crowd else size), len(rows) > len(picked)

    def grant_chosen(
        self, cx: Connection, chosen: Sequence[str], begin: int, size: int, turn: int
    ) -> tuple[list[Grant], bool]:
        """The same of lanes that were chosen by their names."""
        rows = [cx.execute(f"{_READY_LANES} AND lane = ?", (self.queue, name)).fetchone() for name in chosen]
        picked = _that_begin([_Ready(*row) for row in rows], begin)
        ready = cx.execute(
            "SELECT 1 FROM lanes WHERE queue = ? AND state = 'ready' LIMIT ?",
            (self.queue, 0 if self.stood.paused else len(picked) + 1),
        ).fetchall()
        crowd = len(ready) > min(len(picked), begin)
        return self._take_all(cx, picked, min(size, turn) if crowd else size), len(ready) > len(picked)

    def _take_all(self, cx: Connection, ready: Sequence[_Ready], size: int) -> list[Grant]:
        standing = standstills(cx, self.queue, self.now) if ready else ""
        return [self._take(cx, each, size, standing) for each in ready]

    def _take(self, cx: Connection, row: _Ready, size: int, standing: str) -> Grant:
        begun = begun_of(row.begun_rank, row.begun_seq)
        if begun is None:
            jobs = window(cx, self.queue, row.lane, size)
        else:  # was tried before, and comes alone: what follows it is decided after it
            tried = head(cx, self.queue, row.lane, begun)
            jobs = () if tried is None else (tried,)
        first = jobs[0]  # a lane's row goes with its last job
        # fence: the number grows with every claim, and past anything given out before a lost store.
        self.stood.token = token = max(self.stood.token + 1, self.now)
        self.granted += 1
        waits = waited(cx, self.queue, row.lane, row.waits, row.since, self.now, standing)
        cx.execute(
            "UPDATE lanes SET state = 'held', place = ?, token = ?, owner = ?, lease = ?, cause = 'ready',"
            " runs = 1, waits = ?, graced = ? WHERE queue = ? AND lane = ?",
            (
                self.now + self.lease,
                token,
                str(self.owner),
                self.lease,
                waits,
                0 if self.grace else token,
                self.queue,
                row.lane,
            ),
        )
        return Grant(
            lease=Lease(self.name, row.lane, token),
            jobs=jobs,
            cause=ClaimCause(row.cause),
            attempts=row.attempts,
            failures=row.failures,
            crashes=row.crashes,
            cancelled=row.cancel == first.id,
            change=row.change,
            waits=waits_of(waits),
        )

    def carry_out(self, cx: Connection, terms: Terms, lanes: int, begin: int, size: int) -> Claimed:
        """Let time have its effect, then grant; what is left to be said of all queues is left out. Lanes that
        do not begin at once are left to others."""
        times = bring_up_to_date(cx, self.queue, str(self.owner), self.now)
        most, at_once = terms.within(lanes, begin)
        most = min(most, at_once + _IN_A_ROW) if terms.together and terms.turn == 1 else at_once
        chooser = None
        choice = terms.choice
        if choice is None:
            grants, others = self.grant(cx, most, at_once, size, terms.turn)
        else:
            after = choice.after.get(self.name, "")
            chooser = Chooser(
                cx, self.queue, self.stood, self.owner, choice, after=after, lease=self.lease, now=self.now
            )
            chosen = chooser.choose(0 if self.stood.paused else most)
            grants, others = self.grant_chosen(cx, chosen, at_once, size, terms.turn)
            chooser.note_owners([each.lease.lane for each in grants])
            grants = [
                msgspec.structs.replace(each, stolen=each.lease.lane in chooser.stolen) for each in grants
            ]
        # Whoever was granted some of many comes again when it has room.
        leases = chooser is not None or not (grants and others)
        due = 0.0 if chooser is not None and chooser.sees_more else self._next_due(times, leases=leases)
        self.note(cx)
        return Claimed(
            grants=tuple(grants),
            now=self.now / MICRO,
            others={self.name: 1} if others else {},
            next_due=due,
            looked={} if chooser is None else {self.name: chooser.looked},
        )

    def note(self, cx: Connection) -> None:
        """Write down the last token, how many were given, and the time."""
        cx.execute(
            "UPDATE queues SET token = ?, granted = granted + ?, seen = ? WHERE id = ?",
            (self.stood.token, self.granted, self.now, self.queue),
        )

    def _next_due(self, times: _Times, *, leases: bool) -> float | None:
        """Seconds until a job or a retry of the queue is due, or, if these matter, somebody else's lease
        ends; if any. What is granted here changes none of these."""
        due = min((time for time in times[1 : 4 if leases else 3] if time is not None), default=None)
        return None if due is None else max(0.0, (due - self.now) / MICRO)
