"""Dropping dead letters, and ending jobs that wait, piece by piece: there may be very many."""

from __future__ import annotations

from typing import Final

from glassq.stores.redis import scripts
from glassq.stores.redis.commands import Commands

_JOBS_AT_ONCE: Final = 500
_LOOKED_AT_ONCE: Final = 100
"""What one script takes at most: it blocks the server for about a millisecond then."""
_MORE: Final = 2
"""What `lua/forget.lua` answers when there is more of the queue."""


def purge(server: Commands, key: str, *, dead: bool) -> int:
    """All of a queue; returns how many."""
    total = 0 if dead else _purge_deferred(server, key)
    while count := int(server.run(scripts.PURGE, key, int(dead), _JOBS_AT_ONCE)):
        total += count
    return total


def purge_lane(server: Commands, key: str, lane: str, *, dead: bool) -> int:
    """All of one lane. Which lane a dead letter or a scheduled job is of only itself says, so all of the
    queue's are read."""
    total, start, skip = 0 if dead else _purge_deferred(server, key, lane), "-inf", 0
    while start:
        asked = (int(dead), lane, start, skip, _LOOKED_AT_ONCE)
        count, following, skip = server.run(scripts.PURGE_LANE, key, *asked)
        total += count
        start = following.decode()
    return total


def _purge_deferred(server: Commands, key: str, *lane: str) -> int:
    """Those that wait for others: before them, so that none of them lets any go that are to be purged."""
    total, cursor = 0, "0"
    while True:
        following, count = server.run(scripts.PURGE_DEFERRED, key, cursor, _LOOKED_AT_ONCE, *lane)
        total += int(count)
        cursor = following.decode()
        if cursor == "0":
            break
    return total


def forget(server: Commands, key: str, *mark: str) -> bool:
    """All of a queue that holds no jobs, piece by piece, closing it with a mark if one is given; False when
    it holds some, or somebody serves it."""
    while (done := int(server.run(scripts.FORGET, key, *mark))) == _MORE:
        pass
    return bool(done)
