"""Job records: plain values with no verbs (verbs live with whoever owns the I/O)."""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum, StrEnum
from typing import TYPE_CHECKING, Any, Generic, Protocol

import msgspec

from glassq.errors import ResultNotKept
from glassq.model.edges import After
from glassq.model.names import DEFAULT_LANE
from glassq.model.watermarks import Watermark

if TYPE_CHECKING:
    # Every type checker knows it: no package needs to be there. The default lets `Receipt` stand alone.
    from typing_extensions import TypeVar

    R_co = TypeVar("R_co", covariant=True, default=Any)
else:
    from typing import TypeVar

    R_co = TypeVar("R_co", covariant=True)

V = TypeVar("V")


class Priority(IntEnum):
    """Six levels; a higher level of a lane is served first, order holds within one."""

    VERY_LOW = 1
    LOW = 2
    NORMAL = 3
    HIGH = 4
    VERY_HIGH = 5
    CRITICAL = 6


class JobState(StrEnum):
    """Where a job is; see `LEGAL_TRANSITIONS`."""

    SCHEDULED = "scheduled"
    DEFERRED = "deferred"
    READY = "ready"
    LEASED = "leased"
    SUCCEEDED = "succeeded"
    BURIED = "buried"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


_S = JobState
LEGAL_TRANSITIONS: dict[JobState, frozenset[JobState]] = {
    _S.SCHEDULED: frozenset({_S.READY, _S.CANCELLED}),
    _S.DEFERRED: frozenset({_S.READY, _S.CANCELLED}),
    _S.READY: frozenset({_S.LEASED, _S.CANCELLED, _S.EXPIRED}),
    # Back to ready: a retry, a release, a reclaimed lease. Always at the same place in the lane.
    _S.LEASED: frozenset({_S.READY, _S.SUCCEEDED, _S.BURIED, _S.CANCELLED, _S.EXPIRED}),
    _S.SUCCEEDED: frozenset(),
    _S.BURIED: frozenset({_S.READY}),  # by a replay
    _S.CANCELLED: frozenset(),
    _S.EXPIRED: frozenset(),
}


class Disposition(StrEnum):
    """What an append did with a job."""

    CREATED = "created"
    DUPLICATE = "duplicate"


class Dedup(msgspec.Struct, frozen=True):
    """What makes a job a duplicate: `id`, for `window` seconds from acceptance, or with None until the job is
    settled."""

    id: str
    window: float | None = None


class NewJob(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A job on its way into a store: the store sees where it goes, never what is in `body`.

    `due` is when it joins the tail of its lane, by the store's clock: None is now, a number of seconds
    from acceptance, or with `due_is_time` the seconds since the epoch. `ttl` is seconds from then.

    With `after` it is deferred: it joins the tail when all these parents have ended, and is not `due` at any
    time. `flow` is the id of the workflow that it belongs to.
    """

    body: bytes
    lane: str = DEFAULT_LANE
    level: int = int(Priority.NORMAL)
    due: float | None = None
    due_is_time: bool = False
    ttl: float | None = None
    dedup: Dedup | None = None
    after: tuple[After, ...] = ()
    flow: str | None = None


class Appended(msgspec.Struct, frozen=True, gc=False):
    """A store's answer for one appended job. A duplicate carries the id and seq of the job known already;
    `seq` is None while a job is scheduled, and for every deferred one."""

    id: str
    seq: int | None
    disposition: Disposition = Disposition.CREATED
    found: Watermark | None = None
    """Where the queue stood before this append; the same for all its jobs. None: the store does not say."""


class StoredJob(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One unsettled job as a store hands it out. Times are seconds by the store's clock."""

    id: str
    seq: int
    level: int
    body: bytes
    eligible_at: float
    expires_at: float | None = None
    replayed: bool = False


class JobRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One job wherever it is in a store. Settled jobs are known only while they are dead letters.

    `state` is scheduled, deferred, ready, leased or buried; `attempts` are executions so far; `due_at` is set
    while scheduled, `reason` when buried or when its lane is halted. Times are epoch seconds by the store's
    clock.
    """

    id: str
    lane: str
    state: JobState
    level: int
    body: bytes
    seq: int | None
    attempts: int = 0
    eligible_at: float | None = None
    due_at: float | None = None
    expires_at: float | None = None
    reason: str = ""
    replayed: bool = False


class Cancellation(StrEnum):
    """What `cancel` achieved."""

    REMOVED = "removed"
    """It will not run."""
    ASKED = "asked"
    """It is running: `current_job().check()` raises, and only if the task heeds that it ends as cancelled."""


class Progress(msgspec.Struct, frozen=True):
    """How far a job said it is: the share that is done (0 to 1), a text, and which attempt said so."""

    done: float | None = None
    note: str = ""
    attempt: int = 0


class Receipt(msgspec.Struct, Generic[R_co], frozen=True, gc=False):
    """What the producer gets back: the job's id, its place (`seq`; None until a delayed job is due, or a
    deferred one released) and whether it is new (`created`) or known already (`duplicate`). To a type checker
    its result is of the type that the task returns."""

    id: str
    queue: str
    key: str | None
    seq: int | None
    disposition: Disposition = Disposition.CREATED

    def result(self, timeout: float | None = None) -> R_co:  # noqa: ARG002 - of those that can wait
        """What the job returned, waited for; restored by the annotation of its task, as arguments are.

        Waits `timeout` seconds at most (None: for as long as it takes) and costs a round trip for each look:
        the second after 10 ms, later ones every half second. Raises `JobFailed` with the remote type, message
        and traceback, `JobCancelled`, `JobExpired`, `ResultTimeout`, and `ResultNotKept` for a job that keeps
        no result, whose result's time is over, or that returned something else than its task declares. A job
        that waits to be tried again, or for a human, has not ended.
        """
        raise self._not_kept()

    async def aresult(self, timeout: float | None = None) -> R_co:  # noqa: ARG002, ASYNC109 - as `result`
        """As `result`, awaited; no thread waits for it."""
        raise self._not_kept()

    def status(self) -> JobView:
        """Where the job is, as `app.job(id)` shows it."""
        raise self._not_kept()

    def _not_kept(self) -> ResultNotKept:
        return ResultNotKept(
            f"{self.id} keeps no result: declare its task with result_ttl=, the seconds for which results "
            "are kept, or call it by task.options(result_ttl=...). app.job(id) shows where any job is"
        )


ReceiptOf = Callable[[str, str, str | None, int | None, Disposition], Receipt]
"""Makes a receipt, from its fields in their order."""


class PeekedJob(msgspec.Struct, frozen=True, kw_only=True):
    """One waiting or running job, as `queue.peek()` shows it. Arguments are never part of it."""

    id: str
    queue: str
    key: str | None
    seq: int
    task: str
    priority: int
    enqueued_at: float
    size: int


class HistoryEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that happened to a job. `at` is when, or when it was over, in epoch seconds by the store's
    clock; None when nobody knows."""

    event: str
    """`enqueued`; `attempt`; `lost`: an attempt nobody told the end of, its worker died or lost the lane;
    `settled`: it was ended without an attempt; `halted`: its lane waits for a human."""
    at: float | None = None
    attempt: int = 0
    began_at: float | None = None
    outcome: str = ""
    worker: str = ""
    error: str = ""
    """The type of the error, without its message."""


class Answers(Protocol):
    """Who knows what became of jobs."""

    def job(self, job_id: str) -> JobView:
        """See `Glassq.job`."""

    def history(self, job_id: str) -> list[HistoryEntry]:
        """See `JobView.history`."""

    def result(self, job_id: str, timeout: float | None) -> Any:
        """See `Receipt.result`."""

    async def aresult(self, job_id: str, timeout: float | None) -> Any:  # noqa: ASYNC109 - as `result`
        """See `Receipt.aresult`."""


class JobView(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """One job as `app.job(id)` shows it. Times are epoch seconds; `due_at` is set while it is scheduled,
    `ended_at` when it has ended.

    A plain value, but for whoever answers what is asked of it further, which is not shown, compared, stored
    or sent anywhere with it.
    """

    id: str
    queue: str
    key: str | None
    state: JobState
    seq: int | None
    task: str
    priority: int
    attempts: int
    enqueued_at: float | None
    due_at: float | None
    expires_at: float | None
    reason: str
    ended_at: float | None = None
    has_result: bool = False
    """Whether what it returned is kept now."""
    progress: Progress | None = None
    """How far it said it is, the last time it did."""

    def result(self, timeout: float | None = None) -> Any:
        """What the job returned, waited for: as `Receipt.result`. Plain JSON values in a process that does
        not know its task."""
        return answers_of(self).result(self.id, timeout)

    async def aresult(self, timeout: float | None = None) -> Any:  # noqa: ASYNC109 - as `result`
        """As `result`, awaited; no thread waits for it."""
        return await answers_of(self).aresult(self.id, timeout)

    def history(self) -> list[HistoryEntry]:
        """What happened to a job whose result is kept, in order: its attempts (the last 100) and its end.

        One round trip. Kept for `result_ttl` from the last of it on. Raises `ResultNotKept`.
        """
        return answers_of(self).history(self.id)


def bound(value: V, answers: Answers) -> V:
    """The same value, with whoever answers what is asked of it."""
    value.__dict__["answers"] = answers
    return value


def answers_of(value: Any) -> Answers:
    """Who answers; `ResultNotKept` for a value that was copied or came from another process."""
    answers: Answers | None = value.__dict__.get("answers")
    if answers is None:
        raise ResultNotKept(f"this was copied, or came from another process: ask app.job({value.id!r})")
    return answers


class ReplayedJob(msgspec.Struct, frozen=True, kw_only=True):
    """A dead letter that was, or in a dry run would be, brought back (`seq` None: a dry run to the tail)."""

    id: str
    key: str | None
    task: str
    was_seq: int
    seq: int | None


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """One buried job: where it was, why it was given up, and since when (epoch seconds)."""

    id: str
    queue: str
    key: str | None
    seq: int
    task: str
    reason: str
    attempts: int
    error: str
    enqueued_at: float
    buried_at: float


class HaltedLane(msgspec.Struct, frozen=True, kw_only=True):
    """A lane that waits for a human: its head, the head's last error, and since when (epoch seconds)."""

    queue: str
    key: str | None
    head: str
    task: str
    reason: str
    attempts: int
    error: str
    since: float
    waiting: int


class CallbackJob(msgspec.Struct, frozen=True):
    """The `job` that `on_success` and `on_error` receive (pyfiq's shape)."""

    id: str
    fqn: str
    args: list[Any]
    kwargs: dict[str, Any]
    attempt: int


class CallbackBinding(msgspec.Struct, frozen=True):
    """The `binding` that `on_success` and `on_error` receive (pyfiq's shape)."""

    fqn: str
    func: Any
    queue: str
    max_retries: int
    retry_wait: Any
    on_success: Any
    on_error: Any
