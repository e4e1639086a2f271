"""A clock that is moved by hand, and events as a worker emits them: for the tests of observers."""

from __future__ import annotations

from collections.abc import Mapping

from glassq.model.events import AttemptAbandoned, AttemptSettled, AttemptStarted
from glassq.model.leases import Lease
from glassq.model.verdicts import Action, Outcome, Verdict

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SAMPLED = {"traceparent": f"00-{TRACE}-{SPAN}-01"}
UNSAMPLED = {"traceparent": f"00-{TRACE}-{SPAN}-00"}

LEASE = Lease("orders", "c-7", 41)


class MovedClock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 1000.0

    def wall(self) -> float:
        """Seconds since the epoch, one and a half billion of them after `monotonic`."""
        return 1_500_000_000.0 + self.now

    def monotonic(self) -> float:
        """The seconds it was moved to."""
        return self.now

    def sleep(self, seconds: float) -> None:
        """Moves it."""
        self.now += seconds


def started(
    job_id: str = "orders/p:1",
    *,
    at: float = 1000.0,
    timeout: float | None = None,
    waited: float | None = None,
    headers: Mapping[str, str] | None = None,
    lease: Lease = LEASE,
) -> AttemptStarted:
    """An attempt of the task `charge` begins."""
    return AttemptStarted(
        lease=lease,
        task="charge",
        job_id=job_id,
        seq=1,
        attempt=1,
        started=at,
        timeout=timeout,
        time_in_queue=waited,
        headers=headers or {},
    )


def settled(
    outcome: Outcome = Outcome.SUCCEEDED,
    action: Action = Action.ACK,
    *,
    job_id: str = "orders/p:1",
    task: str = "charge",
    seconds: float = 0.02,
    ran: bool = True,
    end_to_end: float | None = None,
    headers: Mapping[str, str] | None = None,
    lease: Lease = LEASE,
) -> AttemptSettled:
    """An attempt was settled."""
    reason = "" if outcome is Outcome.SUCCEEDED else str(outcome)
    return AttemptSettled(
        lease=lease,
        task=task,
        job_id=job_id,
        seq=1,
        attempt=1,
        outcome=outcome,
        verdict=Verdict(action, reason),
        seconds=seconds,
        ran=ran,
        end_to_end=end_to_end,
        ordinal=1,
        headers=headers or {},
    )


def abandoned(outcome: Outcome = Outcome.SUCCEEDED, *, job_id: str = "orders/p:1") -> AttemptAbandoned:
    """An attempt's verdict was not accepted."""
    return AttemptAbandoned(lease=LEASE, task="charge", job_id=job_id, attempt=1, outcome=outcome)
