"""The closed vocabulary of what can be observed. An event states a fact after it became true.

Names and counts only: no arguments, no results, and no error text that could carry them, but in the one event
that is about it (`AttemptFailed`).
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from glassq.model.leases import ClaimCause, Lease
from glassq.model.verdicts import Failure, Outcome, Verdict

LOSSES = ("emptied", "rolled_back")
"""How a store can lose what it acknowledged. emptied: it knows nothing of the queue, or began it anew
(FLUSHALL, a restart without its data, another server). rolled_back: it went back to an earlier state (the
end of its log was cut, a failover to a replica that lagged, an older copy)."""


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """Root of all events."""


class QueueDeclared(Event, frozen=True, kw_only=True):
    """A queue became known to this application, with or without tasks yet."""

    queue: str


class TaskDeclared(Event, frozen=True, kw_only=True):
    """A task became known to this application."""

    queue: str
    task: str


# -- producing ---------------------------------------------------------------------------------------


class JobEnqueued(Event, frozen=True, kw_only=True):
    """The store accepted a job. `seconds` is what the whole append took, shared by its batch."""

    queue: str
    task: str
    job_id: str
    key: str | None
    seq: int | None
    payload_bytes: int
    seconds: float


class JobDeduplicated(Event, frozen=True, kw_only=True):
    """A call was recognised as a duplicate of `job_id`; nothing was stored."""

    queue: str
    task: str
    job_id: str


class JobsReplayed(Event, frozen=True, kw_only=True):
    """Dead letters were brought back, `to` the front or the tail of their lanes. `headers` are those they
    were enqueued with; `seconds` is what bringing them back took."""

    queue: str
    job_ids: tuple[str, ...]
    headers: tuple[Mapping[str, str], ...]
    to: str
    seconds: float


class SlotsPassed(Event, frozen=True, kw_only=True):
    """Slots of a schedule were dealt with: so many enqueued, so many missed. `lag` is by how many seconds the
    newest of them was overdue, by the store's clock."""

    queue: str
    schedule: str
    enqueued: int
    missed: int
    lag: float


class EnqueueFailed(Event, frozen=True, kw_only=True):
    """A call was not accepted. `reason` is one of the values of `enqueue_failures_total`."""

    queue: str
    reason: str


# -- lanes -------------------------------------------------------------------------------------------


class LaneClaimed(Event, frozen=True, kw_only=True):
    """This worker became the owner of a lane; any cause but READY means it was reclaimed. `stolen` from the
    worker it is assigned to. A worker tells of its claims in the order in which it made them."""

    worker: str
    lease: Lease
    cause: ClaimCause
    stolen: bool = False


class LaneLeft(Event, frozen=True, kw_only=True):
    """This worker gave up a lane by its own will, or the lane's last job was settled."""

    lease: Lease


class LaneLost(Event, frozen=True, kw_only=True):
    """This worker noticed that it does not own the lane any more. `reason`: expired, taken_over."""

    lease: Lease
    reason: str


class WriteFenced(Event, frozen=True, kw_only=True):
    """The store refused a write under an old token."""

    queue: str
    operation: str


class OrderViolated(Event, frozen=True, kw_only=True):
    """The contract was broken. `kind`: duplicate, reorder, stale_token. Must never happen."""

    queue: str
    kind: str


# -- attempts ----------------------------------------------------------------------------------------


class AttemptStarted(Event, frozen=True, kw_only=True):
    """User code is about to run. `started` is a monotonic reading of the emitting process; `time_in_queue`
    (seconds, store's clock) is set for first attempts, and `waits` says what it was spent on, by cause."""

    lease: Lease
    task: str
    job_id: str
    seq: int
    attempt: int
    started: float
    timeout: float | None
    time_in_queue: float | None
    headers: Mapping[str, str] = {}
    level: int = 3
    replayed: bool = False
    waits: Mapping[str, float] | None = None


class AttemptSettled(Event, frozen=True, kw_only=True):
    """An attempt ended and the store committed its verdict. `seconds` is the run time of user code;
    `end_to_end` (seconds, store's clock, eligible -> settled) is set when the job is settled for good."""

    lease: Lease
    task: str
    job_id: str
    seq: int
    attempt: int
    outcome: Outcome
    verdict: Verdict
    seconds: float
    ran: bool
    end_to_end: float | None
    ordinal: int
    headers: Mapping[str, str]


class AttemptAbandoned(Event, frozen=True, kw_only=True):
    """An attempt ended whose verdict was not accepted: the job runs again under another lease."""

    lease: Lease
    task: str
    job_id: str
    attempt: int
    outcome: Outcome


class AttemptFailed(Event, frozen=True, kw_only=True):
    """An attempt failed; told after `AttemptSettled`, or after `AttemptAbandoned`, and then `verdict` is to
    drop it. `ran`: whether user code did. `failure` is what the store keeps of the error: for people to read
    where they read logs, and never a label."""

    lease: Lease
    task: str
    job_id: str
    attempt: int
    outcome: Outcome
    verdict: Verdict
    ran: bool
    headers: Mapping[str, str]
    failure: Failure


class SettlementDelayed(Event, frozen=True, kw_only=True):
    """An attempt is over, and the store could not be told: that is tried again while the lease lasts. Emitted
    for each try that failed."""

    lease: Lease
    job_id: str


class WorkflowSubmitted(Event, frozen=True, kw_only=True):
    """A workflow was stored whole, and its first steps were let go: what waits for nothing else may run."""

    workflow: str
    name: str


class WorkflowEnded(Event, frozen=True, kw_only=True):
    """The last job of a workflow has ended: told by whoever ended it, or relayed that. `status` is succeeded,
    failed or cancelled; `seconds` are since it was submitted, by the store's clock."""

    workflow: str
    name: str
    status: str
    seconds: float


class TraceContextRead(Event, frozen=True, kw_only=True):
    """A job's headers were read for the trace context of an attempt. `result`: ok, missing, invalid. A job
    without headers has none, so nothing is read: its `AttemptStarted` says as much."""

    queue: str
    result: str


class CallbackFailed(Event, frozen=True, kw_only=True):
    """`on_success` or `on_error` raised; it changes nothing about the job."""

    queue: str
    task: str
    callback: str
    error_type: str


# -- the worker and the store -----------------------------------------------------------------------


class WorkerChanged(Event, frozen=True, kw_only=True):
    """A worker entered a state: starting, running, draining, stopped."""

    worker: str
    state: str
    queues: tuple[str, ...] = ()


class WorkerBeat(Event, frozen=True, kw_only=True):
    """The worker's loop turned. `lanes` are held now; `lease_remaining` is the least seconds left."""

    worker: str
    at: float
    lanes: Mapping[str, int]
    lease_remaining: Mapping[str, float]


class LoopBlocked(Event, frozen=True, kw_only=True):
    """The event loop of async jobs has done nothing for `seconds`. `by`: the task that runs on it, which is a
    job's if `job_id` is set."""

    by: str
    job_id: str | None
    seconds: float


class LoopFreed(Event, frozen=True, kw_only=True):
    """The event loop of async jobs goes on, after it was blocked for `seconds`."""

    seconds: float


class DataLossDetected(Event, frozen=True, kw_only=True):
    """The store does not know any more what it acknowledged to this process; told once per loss. `kind`: one
    of `LOSSES`. The figures are the least that is certain, from what this very process was told before."""

    queue: str
    kind: str
    missing: int
    """Accepted jobs that are gone."""
    unsettled: int
    """Settlements that are gone: where their jobs are still there, they run again."""
    first_seq: int
    """From this seq on nothing that was accepted before the loss is left."""


class StorageCalled(Event, frozen=True, kw_only=True):
    """One storage operation ended. `error` is one of the values of `storage_errors_total`, or None."""

    store: str
    operation: str
    seconds: float
    error: str | None = None


class StorageReconnected(Event, frozen=True, kw_only=True):
    """The store was found again after it could not be reached."""

    store: str


class TelemetryDropped(Event, frozen=True, kw_only=True):
    """Telemetry could not be handed on. `signal` and `reason` are values of `telemetry_dropped_total`."""

    signal: str
    reason: str
    count: int


class ObserverDetached(Event, frozen=True, kw_only=True):
    """An observer raised and hears nothing any more."""

    observer: str
    error_type: str
