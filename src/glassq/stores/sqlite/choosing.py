"""Which ready lanes a worker gets that has keys assigned to it (see `Choice`).

Places among the ready lanes are never given twice: what is behind the last place looked at, or before the
first, has become ready since.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from sqlite3 import Connection

import msgspec

from glassq.model.leases import Owner
from glassq.policy.assignment import fits, fits_any, is_pattern
from glassq.storage import Choice
from glassq.stores.sqlite.rows import QueueRow, micros

_LOOK = 100
_READY = "SELECT lane, place FROM lanes WHERE queue = ? AND state = 'ready'"


class _Lane(msgspec.Struct, frozen=True):
    """A ready lane and its place."""

    name: str
    place: int


class _Looked(msgspec.Struct):
    """What has become ready since the last look, the nearest first: at the front and at the tail."""

    front: list[_Lane]
    tail: list[_Lane]
    low: int
    high: int


class Chooser:
    """One claim's choice. `stolen` are the names of lanes that were taken from others, `looked` is where the
    next look begins, and `sees_more` says whether it would find more right away."""

    def __init__(
        self,
        cx: Connection,
        queue: int,
        stood: QueueRow,
        owner: Owner,
        choice: Choice,
        *,
        after: str,
        lease: int,
        now: int,
    ) -> None:
        self._cx = cx
        self._queue = queue
        self._life = stood.incarnation
        self._tail = stood.tail
        self._owner = owner
        self._choice = choice
        self._lease = lease
        self._now = now
        self._whose: dict[str, str | None] = {}
        self._gone: dict[str, bool] = {}
        self._picked: list[str] = []
        self._most = 0
        self.stolen: set[str] = set()
        self.looked = self._after = after
        self.sees_more = False

    def choose(self, most: int) -> list[str]:
        """Up to so many lanes, in the order in which they are to be granted."""
        self._most = most
        if most > 0:
            self._choose_own()
            if len(self._picked) < most and not self._choice.exclusive:
                self._choose_others()
        return self._picked

    def _choose_own(self) -> None:
        own = self._ready(self._choice.assigned)
        own += [
            lane
            for lane in self._ready(self._choice.lately)
            if self._owner_now(lane.name) == "mine" and self._has_waited(lane.name)
        ]
        seen = self._look() if self._choice.patterns else None
        if seen is not None:
            own += [lane for lane in (*seen.front, *seen.tail) if fits_any(lane.name, self._choice.patterns)]
        for lane in sorted(own, key=lambda lane: lane.place):
            if self._owner_now(lane.name):
                self._take(lane)
        if seen is not None:
            low, high = self._reached(seen.front, seen.low, -1), self._reached(seen.tail, seen.high, 1)
            self.looked = f"{low}:{high}:{self._life}"

    def _choose_others(self) -> None:
        entries = self._choice.steal_from
        lanes = self._ready([entry for entry in entries if not is_pattern(entry)])
        lanes += self._rows(f"{_READY} ORDER BY place LIMIT {_LOOK}", (self._queue,))
        for rank, lane in sorted(((self._rank(lane.name), lane) for lane in lanes), key=_by_rank):
            owned = self._owner_now(lane.name)
            if not owned or not (rank == 0 or owned == "mine" or self._has_waited(lane.name)):
                continue
            if self._take(lane) and 0 < rank <= len(entries) and owned != "mine":
                self.stolen.add(lane.name)

    def _rank(self, name: str) -> int:
        """In which order lanes that are not this worker's own come; 0 of one that is after all."""
        if fits_any(name, self._choice.patterns):
            return 0
        entries = enumerate(self._choice.steal_from, 1)
        return next((rank for rank, entry in entries if fits(name, entry)), len(self._choice.steal_from) + 1)

    def _take(self, lane: _Lane) -> bool:
        if len(self._picked) == self._most or lane.name in self._picked:
            return False
        self._picked.append(lane.name)
        return True

    # -- looking -------------------------------------------------------------------------------------------

    def _look(self) -> _Looked | None:
        low, _, rest = self._after.partition(":")
        high, _, life = rest.partition(":")
        front: list[_Lane] = []
        if life == self._life and int(high) <= self._tail:
            front = self._rows(
                f"{_READY} AND place < ? ORDER BY place DESC LIMIT ?", (self._queue, int(low), _LOOK)
            )
            behind = int(high)
        else:
            low, behind = "", -(1 << 62)
        tail = self._rows(
            f"{_READY} AND place > ? ORDER BY place LIMIT ?", (self._queue, behind, _LOOK - len(front))
        )
        self.sees_more = len(front) + len(tail) == _LOOK
        if low:
            return _Looked(front, tail, int(low), behind)
        return _Looked(front, tail, tail[0].place, tail[0].place) if tail else None

    def _reached(self, lanes: Sequence[_Lane], last: int, step: int) -> int:
        """The last place of these after which nothing was left that may be had now."""
        for lane in lanes:
            left = lane.name not in self._picked and fits_any(lane.name, self._choice.patterns)
            if left and self._owner_now(lane.name):
                self.sees_more = False  # there was no room for it
                return lane.place - step
            last = lane.place
        return last

    def _ready(self, names: Sequence[str]) -> list[_Lane]:
        """Those of these lanes that are ready."""
        marks = ", ".join("?" * len(names))
        return self._rows(f"{_READY} AND lane IN ({marks})", (self._queue, *names)) if names else []

    def _rows(self, sql: str, values: Iterable[object]) -> list[_Lane]:
        return [_Lane(*row) for row in self._cx.execute(sql, tuple(values))]

    def _has_waited(self, name: str) -> bool:
        (since,) = self._cx.execute(
            "SELECT CASE WHEN since > 0 THEN since ELSE (SELECT min(eligible_at) FROM jobs"
            " WHERE jobs.queue = lanes.queue AND jobs.lane = lanes.lane) END"
            " FROM lanes WHERE queue = ? AND lane = ?",
            (self._queue, name),
        ).fetchone()
        return bool(self._now - since >= micros(self._choice.patience))

    # -- owners --------------------------------------------------------------------------------------------

    def _owner_now(self, name: str) -> str | None:
        """Whose a lane is: mine, nobody's, or free to be another's; None while it stays with its owner."""
        if name not in self._whose:
            row = self._cx.execute(
                "SELECT owner, since FROM owners WHERE queue = ? AND lane = ?", (self._queue, name)
            ).fetchone()
            if row is None:
                self._whose[name] = "nobody"
            elif row[0] == str(self._owner):
                self._whose[name] = "mine"
            else:
                over = row[1] + micros(self._choice.stays) <= self._now or self._is_gone(row[0])
                self._whose[name] = "free" if over else None
        return self._whose[name]

    def _is_gone(self, owner: str) -> bool:
        if owner not in self._gone:
            row = self._cx.execute("SELECT beat FROM workers WHERE owner = ?", (owner,)).fetchone()
            node, incarnation, _ = owner.rsplit("/", 2)
            again = node == self._owner.node and incarnation != self._owner.incarnation
            self._gone[owner] = row is None or row[0] + self._lease < self._now or again
        return self._gone[owner]

    def note_owners(self, lanes: Sequence[str]) -> None:
        """Remember who has these lanes now, and forget what was not had for long."""
        till = self._now + micros(self._choice.stays)
        for name in lanes:
            self._cx.execute(
                "INSERT INTO owners (queue, lane, owner, since, until) VALUES (?, ?, ?, ?, ?)"
                " ON CONFLICT (queue, lane) DO UPDATE SET until = excluded.until,"
                " since = CASE WHEN owner = excluded.owner THEN since ELSE excluded.since END,"
                " owner = excluded.owner",
                (
                    self._queue,
                    name,
                    str(self._owner),
                    0 if self._whose[name] == "nobody" else self._now,
                    till,
                ),
            )
        old = f"SELECT lane FROM owners WHERE queue = :queue AND until <= :now ORDER BY until LIMIT {_LOOK}"
        now = {"queue": self._queue, "now": self._now}
        # What is held now, its owner has had all the time.
        held = "SELECT lane FROM lanes WHERE queue = :queue AND state = 'held'"
        self._cx.execute(
            f"UPDATE owners SET until = :till WHERE queue = :queue AND lane IN ({old}) AND lane IN ({held})",
            {**now, "till": till},
        )
        self._cx.execute(f"DELETE FROM owners WHERE queue = :queue AND lane IN ({old})", now)


def _by_rank(ranked: tuple[int, _Lane]) -> tuple[int, int]:
    rank, lane = ranked
    return rank, lane.place
