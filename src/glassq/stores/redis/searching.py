"""Finding a job by its id. Its lane is not known from it, so lanes are read in bounded pieces: never in the
path of a job, and never for long at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from glassq.stores.redis import scripts
from glassq.stores.redis.commands import Commands
from glassq.stores.redis.connections import Argument

_LANES_AT_ONCE = 500
_JOBS_AT_ONCE = 2000


def find_in_lanes(server: Commands, key: str, job: str) -> Sequence[Any] | None:
    """What `find` tells of an unsettled job, by the stored part of its id; None when no lane has it.

    Lanes change hands meanwhile. Those that are held are looked at first and last, so that one which was
    taken in between is seen.
    """
    for names in _pages(server, key):
        found = _find(server, key, job, names)
        if found is not None:
            return found
    return None


def _pages(server: Commands, key: str) -> Iterator[list[Argument]]:
    """Lanes with their levels, page by page; the first page a second time at the end."""
    start = 0
    while True:
        levels, following, *names = server.run(scripts.LANES, key, start, _LANES_AT_ONCE)
        yield [part for name in names for level in levels.decode() for part in (name, level)]
        if start == 0 and not following:
            return
        if not following:
            break
        start = int(following)
    levels, _, *names = server.run(scripts.LANES, key, 0, 1)
    yield [part for name in names for level in levels.decode() for part in (name, level)]


def _find(server: Commands, key: str, job: str, lists: list[Argument]) -> Sequence[Any] | None:
    at = 0
    while lists:
        answer: list[Any]
        status, *answer = server.run(scripts.FIND, key, job, _JOBS_AT_ONCE, at, *lists)
        if status == b"found":
            return answer
        done, at = answer
        lists = lists[2 * done :]
    return None
