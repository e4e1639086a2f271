"""From a URL, or a ready client, to a store. The only place that knows which stores there are.

Each store is imported when it is asked for, so that a program pays for the one it uses: a Redis client takes
170 ms to import.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from glassq.errors import BadOption
from glassq.model.clock import Clock
from glassq.storage import Storage

RIGHT_URLS = (
    "sqlite:///jobs.db, sqlite:////var/lib/app/jobs.db, redis://localhost:6379/0, unix:///run/redis.sock "
    "or redis+cluster://host:7000,other:7000"
)
_REDIS = ("redis", "rediss", "unix", "redis+sentinel", "redis+cluster")


class Place(msgspec.Struct, frozen=True):
    """Where a store is. `target` is what was given, `address` is fit for people: it has no password."""

    target: Any
    kind: str
    address: str


def locate(target: object) -> Place:
    """Which store a URL or a ready redis-py client names, without opening it.

    `BadOption` says what is wrong with it and shows right ones.
    """
    if not isinstance(target, str):
        from glassq.stores.redis.location import Location as RedisLocation

        return Place(target, "redis", RedisLocation.of_client(target).address)
    scheme, colon, _ = target.partition("://")
    if not colon:
        raise BadOption("url", f"it has no scheme before ://, as a URL has; use one like {RIGHT_URLS}")
    if scheme == "sqlite":
        from glassq.stores.sqlite.location import Location as SqliteLocation

        return Place(target, "sqlite", str(SqliteLocation.parse(target)))
    if scheme in _REDIS:
        from glassq.stores.redis.location import Location as RedisLocation

        return Place(target, "redis", RedisLocation.parse(target).address)
    raise BadOption("url", f"no store answers to {scheme}://; use one like {RIGHT_URLS}")


def open_storage(
    target: object, *, clock: Clock | None = None, reconnected: Callable[[], None] | None = None
) -> Storage:
    """Open the store a URL or client names. Raises what that store raises for a place that cannot be used.

    `clock` replaces the store's own in tests: a server's time is the server's, never this machine's.
    `reconnected` is called when the store was found again after it could not be reached.
    """
    place = target if isinstance(target, Place) else locate(target)
    if place.kind == "sqlite":
        from glassq.stores.sqlite.store import SqliteStorage

        return SqliteStorage.open(place.target, clock=clock, reconnected=reconnected)
    from glassq.stores.redis.store import RedisStorage

    return RedisStorage.open(place.target, clock=clock, reconnected=reconnected)
