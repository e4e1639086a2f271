"""Leases are renewed as far as the store is heard."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import pytest

from glassq.errors import StorageUnavailable
from glassq.model.events import LaneLost
from glassq.model.leases import Lease, Owner, Renewed
from glassq.storage import Storage
from glassq.telemetry import Bus
from glassq.testing.clock import FakeClock
from glassq.worker.holdings import HeldLane, Holdings
from glassq.worker.options import WorkerOptions
from glassq.worker.settle import Settler
from glassq.worker.telling import Teller
from glassq.worker.upkeep import Upkeep

NEAR, AWAY = Lease("near", "a", 1), Lease("away", "b", 2)


class PlayedStore:
    """A store whose answer to a renewal is given."""

    def __init__(self, answer: Renewed | StorageUnavailable) -> None:
        self.answer = answer

    def renew(self, owner: Owner, leases: Sequence[Lease], *, lease_seconds: float) -> Renewed:
        """What was given."""
        if isinstance(self.answer, StorageUnavailable):
            raise self.answer
        return self.answer

    def report(self, owner: Owner, queues: Sequence[str]) -> dict[str, Any]:
        """Heard."""
        return {}


@pytest.mark.parametrize(
    ("answer", "kept", "lost", "whole"),
    [
        (Renewed(), [NEAR, AWAY], [], True),
        (Renewed(unheard=frozenset({AWAY})), [NEAR], [], False),
        (Renewed(unheard=frozenset({AWAY}), lost=frozenset({NEAR})), [], [NEAR], False),
        (StorageUnavailable("away"), [], [], False),
    ],
)
def test_only_what_was_heard_of_is_taken_for_renewed(
    answer: Renewed | StorageUnavailable, kept: list[Lease], lost: list[Lease], whole: bool
) -> None:
    """A lease on a part of the store that is away goes on ending, is not taken for lost, and is asked for
    again soon; those on the other parts are renewed all the same."""
    bus, clock, holdings, gone = Bus(), FakeClock(), Holdings(), list[Lease]()
    bus.subscribe(lambda event: gone.append(event.lease), LaneLost)
    store, owner = cast("Storage", PlayedStore(answer)), Owner("alice", "first")
    lanes = [HeldLane(lease, clock.monotonic() + 15, clock) for lease in (NEAR, AWAY)]
    holdings.add(lanes)
    clock.advance(5)
    upkeep = Upkeep(
        storage=store,
        clock=clock,
        owner=owner,
        options=WorkerOptions(lease_seconds=15),
        holdings=holdings,
        settler=Settler(store, bus, clock, owner, lambda: 0.5),
        teller=Teller(bus, "teller"),
        queues=lambda: ("near", "away"),
    )
    assert upkeep.turn() is whole
    assert [lane.lease for lane in lanes if lane.deadline == clock.monotonic() + 15] == kept
    assert gone == lost
