"""Lanes that were claimed together, and lanes that were left together, as they are told."""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter
from typing import Any

from glassq.model.events import LaneClaimed, LaneLeft
from glassq.model.leases import Grant, Lease
from glassq.model.runs import Run


class Comings(Run[LaneClaimed]):
    """Lanes of one queue that a claim has granted."""

    kind = LaneClaimed
    """See `Run.kind`."""

    def __init__(self, worker: str, grants: Sequence[Grant]) -> None:
        self._worker = worker
        self._grants = grants

    def make(self, index: int) -> LaneClaimed:
        """See `Run.make`."""
        grant = self._grants[index]
        return LaneClaimed(worker=self._worker, lease=grant.lease, cause=grant.cause, stolen=grant.stolen)

    def first(self, field: str) -> Any:
        """See `Run.first`."""
        return self._worker if field == "worker" else getattr(self._grants[0], field)

    def column(self, field: str) -> list[Any]:
        """See `Run.column`. Costs no events."""
        if field == "worker":
            return [self._worker] * len(self._grants)
        return list(map(attrgetter(field), self._grants))

    def __len__(self) -> int:
        return len(self._grants)


class Leavings(Run[LaneLeft]):
    """Lanes of one queue whose last settlements were answered."""

    kind = LaneLeft
    """See `Run.kind`."""

    def __init__(self, leases: Sequence[Lease]) -> None:
        self._leases = leases

    def make(self, index: int) -> LaneLeft:
        """See `Run.make`."""
        return LaneLeft(lease=self._leases[index])

    def __len__(self) -> int:
        return len(self._leases)
