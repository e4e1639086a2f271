"""One leader by lease: a value with an end, which only its holder can renew.

Two may believe for a moment that they lead, as one was stopped and does not know yet that its lease is over.
That does no harm: a slot's job is deduplicated, and a schedule's position is moved only by whoever read it
last (see `Catalogue.keep`).
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Final

from glassq.model.clock import Clock
from glassq.model.keeping import Value
from glassq.schedules.catalogue import OFFICE
from glassq.storage import ShardedStorage

_LEADER: Final = "leader"
PATIENCE: Final = 5.0
"""Seconds for which a lease is believed in beyond its length: leaders need not have leases of one length."""


class Leadership:
    """One candidate. Belongs to one thread."""

    def __init__(self, storage: Callable[[], ShardedStorage], clock: Clock, who: str, seconds: float) -> None:
        self._storage = storage
        self._clock = clock
        self._me = f"{who}/{secrets.token_hex(8)}".encode()
        self._seconds = seconds
        self._leads = False
        self._last: Value | None = None
        self._last_seen = 0.0

    @property
    def leads(self) -> bool:
        """Whether it was the leader when it last looked."""
        return self._leads

    def taken(self) -> bool:
        """Whether somebody else leads. Reads only; one round trip, none for the leader itself.

        A lease that was not renewed for longer than its length, as this machine measures it, is over even if
        the store's clock, which was set back meanwhile, has not come to its end.
        """
        if self._leads:
            return False
        found = self._storage().value(OFFICE, _LEADER)
        now = self._clock.monotonic()
        if found is None or found != self._last:
            self._last, self._last_seen = found, now
        return found is not None and now - self._last_seen <= self._seconds + PATIENCE

    def stand(self) -> float | None:
        """Become the leader, or stay it for another lease; the store's time, or None when another one leads.
        Comes after `taken`. One round trip, two when the lease was lost."""
        storage = self._storage()
        if self._leads:
            renewed = storage.exchange(OFFICE, _LEADER, was=self._me, body=self._me, seconds=self._seconds)
            if renewed.done:
                return renewed.now
            self._leads = False
        was = None if self._last is None else self._last.body
        taken = storage.exchange(OFFICE, _LEADER, was=was, body=self._me, seconds=self._seconds)
        self._leads = taken.done
        return taken.now if taken.done else None

    def resign(self) -> None:
        """Leave it to another one at once. One round trip for a leader."""
        if self._leads:
            self._leads = False
            self._storage().exchange(OFFICE, _LEADER, was=self._me, body=None)
