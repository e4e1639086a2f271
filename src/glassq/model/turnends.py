"""Ends of turns whose last jobs have succeeded, as a worker tells of them and as a store answers: so much
alike that nobody makes a record of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from glassq.model.leases import Lease, Leaving, Settled, Settlement, SettleStatus
from glassq.model.several import Several
from glassq.model.verdicts import Action
from glassq.model.watermarks import Watermark


class TurnEnds(Several[Settlement]):
    """Lanes of one queue, at least one, each of which is given up because its job has succeeded; with the
    last of them another lane may begin."""

    alike: Mapping[str, Any] = {"action": Action.ACK, "leaving": Leaving.YIELD}
    """See `Several.alike`."""

    def __init__(self, leases: Sequence[Lease], job_ids: Sequence[str], begins: Lease | None = None) -> None:
        self.leases = leases
        self.job_ids = job_ids
        self.begins = begins
        self.queue = leases[0].queue

    def make(self, index: int) -> Settlement:
        """See `Several.make`."""
        return Settlement(
            lease=self.leases[index],
            job_id=self.job_ids[index],
            begins=self.begins if index == len(self.leases) - 1 else None,
            **self.alike,
        )

    def __len__(self) -> int:
        return len(self.leases)


_SAYS_NO_MORE: Final = {
    "held": False,
    "paused": False,
    "change": 0,
    "jobs": (),
    "released": 0,
    "ended": (),
    "relay": False,
}


class EndedTurns(Several[Settled]):
    """The answers to some of which each is settled right behind the one before it, in one step. Others wait
    from the one at the place `crowded` on."""

    def __init__(
        self, count: int, status: SettleStatus, now: float, ordinal: int, crowded: int, found: Watermark
    ) -> None:
        self._ordinals = range(ordinal, ordinal + count)
        self._crowded = crowded
        self.alike = {**_SAYS_NO_MORE, "status": status, "now": now, "found": found}

    def make(self, index: int) -> Settled:
        """See `Several.make`."""
        return Settled(ordinal=self._ordinals[index], others=index >= self._crowded, **self.alike)

    def column(self, field: str) -> list[Any]:
        """See `Several.column`. Costs no answers."""
        return list(self._ordinals) if field == "ordinal" else super().column(field)

    def __len__(self) -> int:
        return len(self._ordinals)
