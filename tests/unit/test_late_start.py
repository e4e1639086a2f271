"""A worker looks at its lease once more right before user code."""

from __future__ import annotations

import pytest

from glassq import Glassq
from glassq.codec import Envelope, seal
from glassq.model.events import AttemptStarted
from glassq.model.jobs import StoredJob
from glassq.model.leases import Lease
from glassq.model.verdicts import Action, Outcome
from glassq.telemetry import Bus
from glassq.testing.clock import FakeClock
from glassq.worker.attempt import Attempts, Standing
from glassq.worker.holdings import HeldLane


@pytest.mark.parametrize(("stood_still", "runs"), [(14.0, True), (15.0, False)])
def test_user_code_does_not_begin_on_a_lease_that_ended_meanwhile(stood_still: float, runs: bool) -> None:
    """A process that stood still after it took a job up, past its lease, does not begin the job: another
    worker may have settled it. The attempt is dropped, not counted and not settled."""
    app, bus, clock = Glassq("sqlite://"), Bus(), FakeClock()
    ran: list[int] = []
    app.fifo("orders", name="charge")(ran.append)
    bus.subscribe(lambda _: clock.advance(stood_still), AttemptStarted)
    attempts = Attempts(app.registry, bus, clock, serializer="json", max_crashes=5, random=lambda: 0.5)
    lane = HeldLane(Lease("orders", "", 1), clock.monotonic() + 15, clock)
    body = seal(Envelope("charge", "json", {}, b"[[7],{}]"))
    job = StoredJob(id="orders/p:1", seq=1, level=3, body=body, eligible_at=clock.wall())

    ended = attempts.perform(lane, job, Standing(), clock.wall())

    assert ran == ([7] if runs else [])
    assert ended.ran.outcome is (Outcome.SUCCEEDED if runs else Outcome.LEASE_LOST)
    assert ended.verdict.action is (Action.ACK if runs else Action.DROP)
