"""Looking at the lanes of a queue one by one: which stand out, how they stand, and who holds them.

A queue may have very many lanes, so they are read in pieces that keep the server for less than a millisecond:
of all that are looked at a name and a number, and the rest only of those that are listed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from glassq.model.lanes import LaneOrder, LanesSeen, LaneStats, WorkerStats
from glassq.model.stats import LaneState
from glassq.stores.redis import scripts
from glassq.stores.redis.commands import Commands
from glassq.stores.redis.replies import MICRO, full_id

_AT_ONCE: Final = 50
"""Lanes that one script looks at."""
_NOT_HELD, _HELD, _BLOCKED, _PAUSED = "a", "h", "f", "g"
"""The indices of a queue, as `lua/opening.lua` calls them."""
_LAST, _NOW = "+inf", ""
"""Where an index is looked at to."""


def lanes(server: Commands, key: str, queue: str, by: LaneOrder, limit: int, look: int) -> LanesSeen:
    """See `Storage.lanes`.

    Lanes that nobody holds are kept by their lowest seq, and blocked heads by since when they are: of these
    the first `limit` are enough. Lanes that are held, or paused, are looked at one by one; those that are
    held first and last, so that one which is taken in between is seen.
    """
    ranking = _Ranking(server, key, by, look)
    if by is LaneOrder.BLOCKED:
        ranking.take(_BLOCKED, enough=limit)
        ranking.take(_HELD, till=_NOW)
        ranking.take(_NOT_HELD if ranking.whole_paused else _PAUSED)
    else:
        ranking.take(_HELD)
        ranking.take(_NOT_HELD, enough=limit if by is LaneOrder.AGE else None)
        ranking.take_again(_HELD)
    listed = _figures(server, key, queue, ranking.names(limit))
    return LanesSeen(
        # What was held up when it was looked at may have gone on since.
        lanes=tuple(each for each in listed if each.blocked or by is not LaneOrder.BLOCKED),
        total=ranking.total,
        looked=len(ranking.amounts),
        exact=ranking.exact,
    )


class _Ranking:
    """Lanes with the number they are ranked by. `look` of them are looked at, besides those of an index that
    is in their order."""

    def __init__(self, server: Commands, key: str, by: LaneOrder, look: int) -> None:
        self._server, self._key, self._by, self._look = server, key, by, look
        self.total, self.whole_paused, self.exact = 0, False, True
        self.amounts: dict[bytes, int | None] = {}

    def take(self, index: str, *, enough: int | None = None, till: str = _LAST) -> None:
        """Look at the lanes of an index, or at the first of one whose order is asked for."""
        looked, is_all = self._walk(index, self._look if enough is None else enough, till)
        if enough is None:
            self._look -= looked
            self.exact = self.exact and is_all

    def take_again(self, index: str) -> None:
        """Look again at the lanes of an index, if all of them were looked at before."""
        if self.exact:
            self._walk(index, self.total, _LAST)

    def _walk(self, index: str, most: int, till: str) -> tuple[int, bool]:
        """Look at the lanes of an index in its order; at how many that was, and whether at all of them."""
        start, skip, looked = "-inf", 0, 0
        while True:
            asked = (index, self._by, start, skip, till, min(most - looked, _AT_ONCE))
            self.total, paused, following, skip, *found = self._server.run(scripts.RANK, self._key, *asked)
            self.whole_paused = bool(paused)
            names, numbers = found[::2], found[1::2]
            self.amounts.update(
                (name, int(number) if number else None) for name, number in zip(names, numbers, strict=True)
            )
            looked += len(names)
            start = following.decode()
            if not start or looked >= most:
                return looked, not start

    def names(self, limit: int) -> list[bytes]:
        """The first so many: of the deepest, or with the lowest seq, or held up since the longest ago."""
        sign = -1 if self._by is LaneOrder.DEPTH else 1
        ranked = sorted((sign * number, name) for name, number in self.amounts.items() if number is not None)
        return [name for _, name in ranked[:limit]]


def _figures(server: Commands, key: str, queue: str, names: Sequence[bytes]) -> Iterator[LaneStats]:
    """How these lanes stand, but for those that have gone meanwhile."""
    while names:
        now, *found = server.run(scripts.FIGURES, key, *names[:_AT_ONCE])
        for name, figures in zip(names, found, strict=False):
            if figures is not None:
                yield _lane(queue, name.decode(), int(now), figures)
        names = names[len(found) :]


def _lane(queue: str, lane: str, now: int, figures: Sequence[Any]) -> LaneStats:
    state, depth, head, head_at, attempts, oldest_at, blocked_at, owner = figures

    def age(since: bytes) -> float:
        return max(0.0, (now - int(since)) / MICRO) if since != b"0" else 0.0

    return LaneStats(
        lane=lane,
        state=LaneState(state.decode()),
        depth=depth,
        head=full_id(queue, head.decode()),
        head_age=age(head_at),
        attempts=attempts,
        oldest_age=age(oldest_at),
        blocked=age(blocked_at),
        owner=owner.decode(),
    )


def workers(server: Commands, key: str) -> list[WorkerStats]:
    """See `Storage.workers`."""
    said: dict[bytes, bytes] = {}
    held: dict[bytes, tuple[int, int]] = {}
    start, skip, first = b"0", 0, 0
    while start:
        now, start, skip, *found = server.run(scripts.WORKERS, key, start.decode(), skip, _AT_ONCE)
        first = first or int(now)
        for worker, *told in found:
            if len(told) == 1:
                said[worker] = told[0]
            else:
                lanes, running = held.get(worker, (0, 0))
                held[worker] = (lanes + told[0], running + told[1])
    names = sorted({*said, *held})
    return [_worker(name.decode(), first, said.get(name), *held.get(name, (0, 0))) for name in names]


def _worker(owner: str, now: int, said: bytes | None, lanes: int, running: int) -> WorkerStats:
    """What is known of a worker: what it `said` is <heard of at>:<pid>:<host>, empty when it did not say."""
    at, pid, host = (said or b"::").decode().split(":", 2)
    return WorkerStats(
        owner=owner,
        alive=said is not None,
        heard=max(0.0, (now - int(at)) / MICRO) if at else None,
        host=host or None,
        pid=int(pid) if pid else None,
        lanes=lanes,
        running=running,
    )
