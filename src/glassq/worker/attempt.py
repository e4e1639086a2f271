"""One attempt in five steps: decode, run, outcome, decide, settle."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Protocol, Self

import msgspec

from glassq.codec import Envelope, Place, describe_failure, failure_bytes, open_envelope
from glassq.codec.accounts import Account, account_bytes
from glassq.codec.results import seal_result
from glassq.context import JobContext, nobody_listens, slot_in
from glassq.errors import (
    CorruptRecord,
    FormatMismatch,
    JobCancelled,
    JobFailed,
    LeaseLost,
    UnknownTask,
)
from glassq.model.clock import Clock
from glassq.model.events import AttemptStarted
from glassq.model.jobs import StoredJob
from glassq.model.leases import Lease, Leaving, Settlement
from glassq.model.verdicts import Action, Failure, Outcome, Verdict
from glassq.model.waits import NO_WAITS, Waited, Waits
from glassq.policy.decide import Rules, decide, end
from glassq.registry import Registry, TaskDefinition
from glassq.storage import Storage
from glassq.telemetry import Attempting, Bus
from glassq.worker.executors import LoopExecutor, Ran, ThreadExecutor
from glassq.worker.fence import check, look_again
from glassq.worker.holdings import HeldLane
from glassq.worker.links import Links
from glassq.worker.loops import LoopHome, OwnLoop
from glassq.worker.plaintasks import PlainTasks
from glassq.worker.watching import LoopWatch


class Standing(msgspec.Struct, frozen=True):
    """What is known of a head's past: executions, failures that count, deaths of its worker, and whether
    somebody asked to cancel it meanwhile."""

    attempts: int = 0
    failures: int = 0
    crashes: int = 0
    cancelled: bool = False


class Decoded(msgspec.Struct, frozen=True):
    """A stored job ready to run."""

    task: TaskDefinition
    headers: dict[str, str]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    place: Place | None = None
    """Its place among jobs that wait for one another."""
    keep: float = 0.0
    """Seconds for which what becomes of it is kept."""


class Refused(msgspec.Struct, frozen=True):
    """A stored job that cannot be run, and why."""

    outcome: Outcome
    error: Exception
    task_name: str
    headers: dict[str, str]
    crashed: Decoded | None = None
    """A job that crashed its workers could be run: its task's way to end and `on_error` apply."""
    keep: float = 0.0
    """As of one that can be run."""


class Ended(msgspec.Struct, frozen=True):
    """An attempt that is over and decided, but not settled yet."""

    job: StoredJob
    attempt: int
    task_name: str
    headers: dict[str, str]
    decoded: Decoded | None
    ran: Ran
    verdict: Verdict
    did_run: bool
    failure: Failure | None = None
    """The attempt's error as text."""
    result: bytes | None = None
    """What the job returned, if that is to be kept, or left to those behind it."""
    keep: float = 0.0
    """Seconds for which what came of it is kept."""
    account: bytes = b""
    """What is said of it then."""

    @property
    def task(self) -> TaskDefinition:
        """See `Success.task`."""
        assert self.decoded is not None  # noqa: S101 - it succeeded
        return self.decoded.task

    @property
    def seconds(self) -> float:
        """See `Success.seconds`."""
        return self.ran.seconds

    def ended(self) -> Self:
        """See `Success.ended`."""
        return self

    @property
    def callback(self) -> Callable[..., Any] | None:
        """The callback that is due once the verdict is committed."""
        if self.decoded is None:
            return None
        if self.verdict.action is Action.ACK:
            return self.decoded.task.on_success
        return self.decoded.task.on_error if self.verdict.final else None


class Success(Protocol):
    """An attempt that succeeded, of which no more is told than that."""

    @property
    def job(self) -> StoredJob:
        """What was attempted."""
        ...

    @property
    def task(self) -> TaskDefinition:
        """What was called."""
        ...

    @property
    def headers(self) -> dict[str, str]:
        """What the job brought along."""
        ...

    @property
    def seconds(self) -> float:
        """Its run time."""
        ...

    def ended(self) -> Ended:
        """All there is to know of it."""
        ...


class Attempts:
    """Performs attempts for one worker. What it is made of is there for `PlainAttempts`, too."""

    def __init__(
        self,
        registry: Registry,
        bus: Bus,
        clock: Clock,
        *,
        serializer: str,
        max_crashes: int,
        random: Callable[[], float],
        loop: LoopHome | None = None,
        storage: Storage | None = None,
        worker: str = "",
        tell: Callable[[JobContext, float | None, str], None] = nobody_listens,
    ) -> None:
        self.registry = registry
        self._worker = worker
        self.tell = tell
        self.bus = bus
        self.clock = clock
        self._storage = storage
        self.serializer = serializer
        self.plain = PlainTasks(registry, serializer)
        self._max_crashes = max_crashes
        self._random = random
        self.executor = ThreadExecutor(bus, clock)
        self.run_bare = self.executor.run_bare
        self._on_loop = LoopExecutor(bus, clock, loop or OwnLoop(LoopWatch(bus, clock)))

    def perform(
        self, lane: HeldLane, job: StoredJob, past: Standing, store_now: float, waits: Waits = NO_WAITS
    ) -> Ended:
        """Decode, run and decide. Settling is the lane's business: it knows what comes next, and what its
        jobs waited for."""
        number = past.attempts + 1
        refused = None
        if past.cancelled or job.expires_at is not None:
            refused = self._refuse(job, past, store_now)
        decoded = refused or self._decode(job, past)
        if isinstance(decoded, Refused):
            ran = Ran(decoded.outcome, None, decoded.error, 0.0)
            known = decoded.crashed
            verdict = self._decide(lane, known, ran, past)
            ended = Ended(
                job=job,
                attempt=number,
                task_name=decoded.task_name,
                headers=decoded.headers,
                decoded=known,
                ran=ran,
                verdict=verdict,
                did_run=False,
                failure=describe_failure(decoded.error),
            )
            return self._accounted_for(lane, ended, decoded.keep) if decoded.keep else ended
        waited = waits.split(job.eligible_at, store_now) if number == 1 else None
        links = self._links(lane, job, decoded)
        ran = self._run(lane, job, number, decoded, waited, links)
        self.plain.took(lane.lease.queue, ran.seconds)
        return self.conclude(lane, job, past, decoded, ran, links)

    def conclude(
        self,
        lane: HeldLane,
        job: StoredJob,
        past: Standing,
        decoded: Decoded,
        ran: Ran,
        links: Links | None = None,
    ) -> Ended:
        """What becomes of a job whose code ran."""
        failure: Failure | None = None
        if ran.error is not None:
            failure = describe_failure(ran.error)
            ran = _heeding(lane, job, ran)
        # As nearly every attempt succeeds, nobody's rules are read before they are needed.
        verdict = end(ran.outcome, holds_lease=not lane.lost) or self._decide(lane, decoded, ran, past)
        name, headers = decoded.task.name, decoded.headers
        result = None
        if verdict.action is Action.ACK and (decoded.keep or (links is not None and links.flow)):
            # One that cannot be kept is replaced by the reason: what the job did is done, and it does not
            # run again for that.
            trail = {} if links is None else links.trail
            result = seal_result(name, decoded.task.codec.serializer, ran.value, trail)
        ended = Ended(
            job=job,
            attempt=past.attempts + 1,
            task_name=name,
            headers=headers,
            decoded=decoded,
            ran=ran,
            verdict=verdict,
            did_run=True,
            failure=failure,
            result=result,
        )
        return self._accounted_for(lane, ended, decoded.keep) if decoded.keep else ended

    def _accounted_for(self, lane: HeldLane, ended: Ended, keep: float) -> Ended:
        """With what is kept of it."""
        account = Account(
            task=ended.task_name,
            key=lane.key,
            seq=ended.job.seq,
            level=ended.job.level,
            enqueued_at=ended.job.eligible_at,
            attempt=ended.attempt if ended.did_run else ended.attempt - 1,
            ran=ended.did_run,
            seconds=ended.ran.seconds,
            outcome=ended.ran.outcome,
            worker=self._worker,
            error="" if ended.failure is None else ended.failure.type,
        )
        return msgspec.structs.replace(ended, keep=keep, account=account_bytes(account))

    # -- may it run at all ---------------------------------------------------------------------------------

    @staticmethod
    def _refuse(job: StoredJob, past: Standing, store_now: float) -> Refused | None:
        """A job whose time is over, or that nobody wants any more, ends without being run."""
        if past.cancelled:
            outcome, error = Outcome.CANCELLED, JobCancelled(f"{job.id} was cancelled while it was running")
        elif job.expires_at is not None and job.expires_at <= store_now:
            outcome, error = Outcome.EXPIRED, JobCancelled(f"{job.id} was past its expiry when its turn came")
        else:
            return None
        try:
            envelope = open_envelope(job.body)
        except (CorruptRecord, FormatMismatch):
            return Refused(outcome, error, "", {})
        return Refused(outcome, error, envelope.task, envelope.headers, keep=envelope.keep)

    # -- decode ----------------------------------------------------------------------------------------

    def _decode(self, job: StoredJob, past: Standing) -> Decoded | Refused:
        try:
            envelope = open_envelope(job.body)
        except (CorruptRecord, FormatMismatch) as error:
            return Refused(Outcome.UNDECODABLE, error, "", {})
        task = self.registry.find(envelope.task)
        if task is None:
            unknown = UnknownTask(envelope.task)
            return Refused(Outcome.UNKNOWN_TASK, unknown, envelope.task, envelope.headers, keep=envelope.keep)
        decoded = self._arguments(task, envelope)
        if isinstance(decoded, Decoded) and past.crashes >= self._max_crashes:
            died = JobFailed("WorkerDied", f"its worker died {past.crashes} times while running it")
            return Refused(
                Outcome.CRASHED, died, envelope.task, envelope.headers, decoded, keep=envelope.keep
            )
        return decoded

    def _arguments(self, task: TaskDefinition, envelope: Envelope) -> Decoded | Refused:
        try:
            if envelope.serializer != self.serializer:
                problem = (
                    f"was serialized with {envelope.serializer!r}, this worker reads {self.serializer!r}"
                )
                raise CorruptRecord(f"a job of {task.name} {problem}")
            place = envelope.place
            args, kwargs = task.codec.decode(envelope.payload, () if place is None else place.given)
        except CorruptRecord as error:
            return Refused(Outcome.UNDECODABLE, error, task.name, envelope.headers, keep=envelope.keep)
        return Decoded(task, envelope.headers, args, kwargs, place, envelope.keep)

    # -- run -------------------------------------------------------------------------------------------

    def _links(self, lane: HeldLane, job: StoredJob, decoded: Decoded) -> Links | None:
        if decoded.place is None or self._storage is None:
            return None
        return Links(decoded.task, decoded.place, job.id, self._storage, lane.catch_up)

    def _run(
        self,
        lane: HeldLane,
        job: StoredJob,
        number: int,
        decoded: Decoded,
        waited: Waited | None,
        links: Links | None = None,
    ) -> Ran:
        task, lease = decoded.task, lane.lease
        in_queue, causes = waited or (None, None)
        started = self.clock.monotonic()
        context = JobContext(
            id=job.id,
            queue=lane.queue,
            task=task.name,
            key=lane.key,
            seq=job.seq,
            attempt=number,
            token=lease.token,
            enqueued_at=job.eligible_at,
            slot=slot_in(decoded.headers) if decoded.headers else None,
            _check=partial(check, lane, self.clock, started, task.timeout),
            _links=links,
            _tell=self.tell,
            _keep=decoded.keep,
        )
        self.bus.emit(
            AttemptStarted(
                lease=lease,
                task=task.name,
                job_id=job.id,
                seq=job.seq,
                attempt=number,
                started=started,
                timeout=task.timeout,
                time_in_queue=in_queue,
                waits=causes,
                headers=decoded.headers,
                level=job.level,
                replayed=job.replayed,
            )
        )
        subject = Attempting(context, task.name, decoded.headers, in_queue, links)

        given = _nothing if links is None else links.given(at_once=task.is_async)

        def call() -> Any:
            arguments = given()
            look_again(lane, context)
            return task.func(*decoded.args, **decoded.kwargs, **arguments)

        executor = self._on_loop if task.is_async else self.executor
        return executor.run(subject, call, task.timeout)

    # -- decide ----------------------------------------------------------------------------------------

    def _decide(self, lane: HeldLane, known: Decoded | None, ran: Ran, past: Standing) -> Verdict:
        options = self.registry.options(lane.queue)
        rules = known.task.rules(options) if known else Rules(on_unknown=options.on_unknown)
        return decide(
            ran.outcome, rules, failures=past.failures, holds_lease=not lane.lost, random=self._random()
        )


def _nothing() -> dict[str, Any]:
    """Of a job that has all of its arguments."""
    return {}


def _heeding(lane: HeldLane, job: StoredJob, ran: Ran) -> Ran:
    """An attempt that ended because its job was to be cancelled, or its lane was lost, is no failure."""
    if isinstance(ran.error, JobCancelled) and job.id in lane.cancelled:
        return Ran(Outcome.CANCELLED, None, ran.error, ran.seconds)
    if isinstance(ran.error, LeaseLost) and not lane.ours():
        return Ran(Outcome.LEASE_LOST, None, ran.error, ran.seconds)
    return ran


def says_only_that(what: Settlement) -> bool:
    """Whether a settlement says of its job that it succeeded, what is next in its lane, and nothing else."""
    return what == Settlement(
        lease=what.lease,
        job_id=what.job_id,
        action=Action.ACK,
        next_id=what.next_id,
        change=what.change,
        window=what.window,
        ahead=what.ahead,
        begun=True,
    )


def settlement(
    lane: HeldLane,
    ended: Ended,
    *,
    leaving: Leaving,
    next_id: str | None,
    change: int,
    window: int,
    ahead: int = 0,
    begun: bool = False,
    begins: Lease | None = None,
) -> Settlement:
    """What to tell the store about an attempt that is over."""
    told = Settlement(
        lease=lane.lease,
        job_id=ended.job.id,
        action=ended.verdict.action,
        reason=ended.verdict.reason,
        wait=ended.verdict.wait,
        error=b"" if ended.failure is None else failure_bytes(ended.failure),
        ran=ended.did_run,
        leaving=leaving,
        next_id=next_id,
        change=change,
        window=window,
        ahead=ahead,
        begun=begun,
        begins=begins,
    )
    if ended.result is None and not ended.keep:  # three more arguments for all would take twice as long
        return told
    return msgspec.structs.replace(told, result=ended.result, keep=ended.keep, note=ended.account)
