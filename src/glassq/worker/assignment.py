"""Which lanes a worker asks for that has keys assigned to it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Final

from glassq.model.clock import Clock
from glassq.model.leases import Claimed, Lease
from glassq.model.names import whole
from glassq.policy.assignment import fits_any, is_pattern
from glassq.storage import Choice
from glassq.worker.options import WorkerOptions

PATIENCE: Final = 0.2
"""Seconds that a lane waits for the worker it is assigned to before another one takes it."""
STAYS: Final = 2
"""Leases for which a lane stays with whoever took it."""
_AT_ONCE: Final = 100
"""Keys that are looked up with one claim."""


class Assignment:
    """What a worker wants of each queue. Belongs to the thread that claims.

    More keys than are looked up at once are asked for in turn. Of what is not assigned it remembers what it
    got lately: that is its own for a while, and served like what is assigned, or nobody would serve it.
    """

    def __init__(self, options: WorkerOptions, clock: Clock) -> None:
        self._options = options
        self._clock = clock
        self._keys = [key for key in options.assigned if not is_pattern(key)]
        self._patterns = tuple(filter(is_pattern, options.assigned))
        self._stays = STAYS * options.lease_seconds
        self._claims = 0
        self._looked: dict[str, str] = {}
        self._began = clock.monotonic()
        self._lately: OrderedDict[tuple[str, str], None] = OrderedDict()

    def choice(self, queue: str) -> Choice:
        """What to ask for in this queue now."""
        if self._clock.monotonic() - self._began > self._stays:
            # From the beginning, once in a while: a lane that was passed as another's may be free by now.
            self._looked.clear()
            self._began = self._clock.monotonic()
        return Choice(
            assigned=self._some(self._keys),
            patterns=self._patterns,
            lately=tuple(lane for shard, lane in self._lately if whole(shard) == queue),
            steal_from=self._stealing(),
            exclusive=self._options.exclusive,
            after={shard: place for shard, place in self._looked.items() if whole(shard) == queue},
            patience=PATIENCE,
            stays=self._stays,
        )

    def look(self, claimed: Claimed) -> None:
        """What came of it."""
        self._claims += 1
        self._looked |= claimed.looked
        for grant in claimed.grants:
            if not fits_any(grant.lease.lane, self._options.assigned):
                self._remember(grant.lease)

    def _remember(self, lease: Lease) -> None:
        place = (lease.queue, lease.lane)
        self._lately[place] = None
        self._lately.move_to_end(place)
        if len(self._lately) > _AT_ONCE:
            self._lately.popitem(last=False)

    def _stealing(self) -> tuple[str, ...]:
        """So many keys at once, in their order, and all patterns."""
        entries = self._options.steal_from
        if len(entries) <= _AT_ONCE:
            return entries
        keys = set(self._some([entry for entry in entries if not is_pattern(entry)]))
        return tuple(entry for entry in entries if is_pattern(entry) or entry in keys)

    def _some(self, keys: Sequence[str]) -> tuple[str, ...]:
        """The keys, or the next hundred of more than that."""
        if len(keys) <= _AT_ONCE:
            return tuple(keys)
        first = self._claims * _AT_ONCE % len(keys)
        return tuple((*keys[first:], *keys[:first])[:_AT_ONCE])
