"""Successes in several lanes, as a worker tells of them and as a store answers: so much alike that nobody
makes a record of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from glassq.model.leases import Lease, Leaving, Settled, Settlement, SettleStatus
from glassq.model.several import Several
from glassq.model.verdicts import Action
from glassq.model.watermarks import Watermark


class TurnEnds(Several[Settlement]):
    """Lanes of one queue, at least one, in each of which a job has succeeded. Its turn ends with that, or
    goes on with the one of `next_ids`, which begins before this is answered (see `Settlement.begun`). With
    the last of them, if that is given up, another lane may begin."""

    def __init__(
        self,
        leases: Sequence[Lease],
        job_ids: Sequence[str],
        begins: Lease | None = None,
        next_ids: Sequence[str | None] | None = None,
    ) -> None:
        self.leases = leases
        self.job_ids = job_ids
        self.begins = begins
        self.next_ids = next_ids
        """None where no turn goes on."""
        self.queue = leases[0].queue
        self.alike = _TURN_ENDS if next_ids is None else _SUCCEEDED

    def make(self, index: int) -> Settlement:
        """See `Several.make`."""
        lease, job_id, next_ids = self.leases[index], self.job_ids[index], self.next_ids
        if next_ids is not None and (next_id := next_ids[index]) is not None:
            return Settlement(lease=lease, job_id=job_id, action=Action.ACK, next_id=next_id, begun=True)
        begins = self.begins if index == len(self) - 1 else None
        return Settlement(lease=lease, job_id=job_id, begins=begins, **_TURN_ENDS)

    def __len__(self) -> int:
        return len(self.leases)


_SUCCEEDED: Final[Mapping[str, Any]] = {"action": Action.ACK}
_TURN_ENDS: Final[Mapping[str, Any]] = {**_SUCCEEDED, "leaving": Leaving.YIELD}


_SAYS_NO_MORE: Final = {"paused": False, "change": 0, "jobs": (), "released": 0, "ended": (), "relay": False}


class EndedTurns(Several[Settled]):
    """The answers to some of which each is settled right behind the one before it, in one step. Others wait
    from the one at the place `crowded` on. All lanes are given up, or those not that are `held`."""

    def __init__(
        self,
        count: int,
        status: SettleStatus,
        now: float,
        ordinal: int,
        crowded: int,
        found: Watermark,
        held: Sequence[bool] | None = None,
    ) -> None:
        self._ordinals = range(ordinal, ordinal + count)
        self._crowded = crowded
        self._held = held
        self.alike = {**_SAYS_NO_MORE, "status": status, "now": now, "found": found}
        if held is None:
            self.alike["held"] = False

    def make(self, index: int) -> Settled:
        """See `Several.make`."""
        told, held = {**self.alike}, self._held
        if held is not None:
            told["held"] = held[index]
        return Settled(ordinal=self._ordinals[index], others=index >= self._crowded, **told)

    def column(self, field: str) -> list[Any]:
        """See `Several.column`. Costs no answers."""
        if field == "ordinal":
            return list(self._ordinals)
        if field == "held" and self._held is not None:
            return list(self._held)
        return super().column(field)

    def __len__(self) -> int:
        return len(self._ordinals)
