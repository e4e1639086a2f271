"""Holders of lanes whose store has lost data, and with it their leases: what they cannot know of yet."""

from __future__ import annotations

from collections import defaultdict
from functools import cached_property

from glassq.testing.history import lines as kinds
from glassq.testing.history.facts import NEVER, Facts

_GRAIN = 1e-6
"""Times are written down rounded; closer ones are taken for the same moment."""


class Holders:
    """A lease is a promise of the store's, and one that lost data may have forgotten it, and promise the lane
    to another. The holder goes on in good faith: it runs ahead by as many jobs as it may, and all that it
    sends is refused."""

    def __init__(self, facts: Facts) -> None:
        self._facts = facts

    def unaware(self, start: kinds.Start, by: float) -> bool:
        """Whether a job was begun under a lease that the store had perhaps forgotten by then, or forgot up to
        `by`: its data was lost after it had last confirmed the lease, and had refused it nothing yet."""
        lives = self._facts.lives[start.queue]
        if not lives.broken_between(-NEVER, by):
            return False  # nearly always: nothing has to be looked up
        stay = start.queue, start.lane, start.token
        confirmed = [sent for sent in self._granted.get(stay, ()) if sent <= start.m]
        for settling in self._facts.settlings_in.get(stay, ()):
            answer = settling.answer
            if isinstance(answer, kinds.SettleFenced) and answer.m < start.m - _GRAIN:
                return False
            if isinstance(answer, kinds.SettleOk) and answer.held and answer.m <= start.m:
                confirmed.append(settling.asked.m)
        return bool(confirmed) and lives.broken_between(max(confirmed), by)

    @cached_property
    def _granted(self) -> dict[tuple[str, str, int], list[float]]:
        """When each lease was asked for or extended."""
        granted: dict[tuple[str, str, int], list[float]] = defaultdict(list)
        for taken in self._facts.taken.values():
            for take in taken:
                granted[take.queue, take.lane, take.token].append(take.sent)
        for renewal in self._facts.history.of(kinds.LeaseRenewed):
            for lease in renewal.leases:
                granted[lease].append(renewal.sent)
        return granted
