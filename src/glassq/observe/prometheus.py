"""Counts the events of one application into a prometheus registry.

Children are bound when a queue or task is declared: `labels()` costs several times what `inc()` does, and
a counter that is born at 1 never shows as an increase.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from prometheus_client import CollectorRegistry

from glassq.model.clock import Clock
from glassq.model.events import (
    AttemptAbandoned,
    AttemptSettled,
    AttemptStarted,
    DataLossDetected,
    EnqueueFailed,
    JobDeduplicated,
    JobEnqueued,
    LaneClaimed,
    LaneLost,
    LoopBlocked,
    LoopFreed,
    ObserverDetached,
    OrderViolated,
    QueueDeclared,
    SlotsPassed,
    StorageCalled,
    StorageReconnected,
    TaskDeclared,
    TelemetryDropped,
    TraceContextRead,
    WorkerBeat,
    WorkerChanged,
    WorkflowEnded,
    WriteFenced,
)
from glassq.model.leases import ClaimCause
from glassq.model.names import whole
from glassq.model.runs import Run
from glassq.model.verdicts import Action, Outcome, Verdict
from glassq.observe import catalogue
from glassq.observe.activity import Activity
from glassq.observe.batches import Batch
from glassq.observe.children import Children, QueueChildren, TaskChildren
from glassq.observe.exemplars import any_may_be_traced, may_be_traced
from glassq.observe.families import ByValue, Families, families_of
from glassq.observe.running import Running, running_on
from glassq.observe.series import Histogram
from glassq.systemclock import SystemClock
from glassq.telemetry import Bus

_NO_HEADERS: Mapping[str, str] = {}
_NOTHING: Mapping[str, float] = {}
_ACK, _SUCCEEDED = Action.ACK, Outcome.SUCCEEDED
_NEVER_RAN = (Outcome.UNDECODABLE, Outcome.UNKNOWN_TASK, Outcome.CRASHED)
"""Outcomes that are decided without running user code: not executions, so not counted as attempts."""


def observe_metrics(
    bus: Bus, registry: CollectorRegistry, *, store: Callable[[], str], clock: Clock | None = None
) -> None:
    """Count what happens on `bus` into `registry`; `store` tells the kind of store behind it.

    Several applications may share a registry: they add to the same series.
    """
    _Counting(families_of(registry), store, clock or SystemClock(), running_on(bus)).attach(bus)


class _Counting:
    """The observer of one application. A forked child counts from 0 into the same children."""

    def __init__(self, families: Families, store: Callable[[], str], clock: Clock, running: Running) -> None:
        self._families = families
        self._clock = clock
        self._queues = Children(self._new_queue)
        self._storage_seconds: dict[tuple[str, str], Batch[float]] = {}
        self._storage_errors: dict[str, ByValue] = {}
        self._activity = Activity(clock, running)
        self._observer_failures = families.counter(catalogue.OBSERVER_FAILURES)
        self._loop_blocks = families.counter(catalogue.LOOP_BLOCKS)
        self._dropped_of = {
            signal: families.counters(catalogue.TELEMETRY_DROPPED, signal)
            for signal in catalogue.TELEMETRY_DROPPED.values["signal"]
        }
        families.counter(catalogue.STORAGE_RECONNECTS, store())
        self._errors_of(store())
        families.add_activity(self._activity, store)

    def attach(self, bus: Bus) -> None:
        """Subscribe, each event to what it feeds: one that fails detaches that part alone."""
        for observer, *events in (
            (self._declared, QueueDeclared),
            (self._task_declared, TaskDeclared),
            (self._enqueued, JobEnqueued),
            (self._deduplicated, JobDeduplicated),
            (self._not_enqueued, EnqueueFailed),
            (self._slots_passed, SlotsPassed),
            (self._lost, LaneLost),
            (self._fenced, WriteFenced),
            (self._violated, OrderViolated),
            (self._activity.worker_changed, WorkerChanged),
            (self._activity.worker_beat, WorkerBeat),
            (self._activity.loop_changed, LoopBlocked, LoopFreed),
            (self._loop_blocked, LoopBlocked),
            (self._abandoned, AttemptAbandoned),
            (self._workflow_ended, WorkflowEnded),
            (self._context_read, TraceContextRead),
            (self._data_lost, DataLossDetected),
            (self._reconnected, StorageReconnected),
            (self._dropped, TelemetryDropped),
            (self._detached, ObserverDetached),
        ):
            bus.subscribe(observer, *events)
        bus.subscribe(self._claimed, LaneClaimed, together=self._claimed_together)
        bus.subscribe(self._started, AttemptStarted, together=self._started_together)
        bus.subscribe(self._settled, AttemptSettled, together=self._settled_together)
        bus.subscribe(self._stored, StorageCalled, together=self._stored_together)

    def _new_queue(self, name: str) -> QueueChildren:
        """The children of a queue that is seen for the first time, every one at 0; of a shard those of its
        queue."""
        if whole(name) != name:
            self._queues[name] = children = self._queues[whole(name)]
            self._activity.declare(name, self._families.queues.label(name))
            return children
        label = self._families.queues.label(name)
        # Two threads may be first: both must end up with the children that know the declared tasks.
        children = self._queues.setdefault(name, QueueChildren(self._families, label, self._clock))
        self._activity.declare(name, label)
        return children

    def _declared(self, event: QueueDeclared) -> None:
        self._queues[event.queue]

    def _task_declared(self, event: TaskDeclared) -> None:
        self._queues[event.queue].declare(event.task)

    # -- producing -----------------------------------------------------------------------------------

    def _enqueued(self, event: JobEnqueued) -> None:
        queue = self._queues[event.queue]
        queue.tasks[event.task].enqueues.note((event.seconds, event.payload_bytes))

    def _deduplicated(self, event: JobDeduplicated) -> None:
        with self._families.lock:
            self._queues[event.queue].deduplicated.inc()

    def _not_enqueued(self, event: EnqueueFailed) -> None:
        with self._families.lock:
            self._queues[event.queue].enqueue_failures[event.reason].inc()

    def _slots_passed(self, event: SlotsPassed) -> None:
        with self._families.lock:
            slots = self._queues[event.queue].slots
            slots["enqueued"].inc(event.enqueued)
            slots["missed"].inc(event.missed)

    # -- lanes ---------------------------------------------------------------------------------------

    def _claimed(self, event: LaneClaimed) -> None:
        queue = self._queues[event.lease.queue]
        with self._families.lock:
            queue.acquisitions[event.cause].inc()
            if event.cause is not ClaimCause.READY:
                queue.reclaimed[event.cause].inc()
            if event.stolen:
                queue.stolen.inc()

    def _claimed_together(self, run: Run[LaneClaimed]) -> None:
        causes = run.column("cause")
        if causes.count(ClaimCause.READY) < len(causes) or any(run.column("stolen")):
            for event in run:
                self._claimed(event)
            return
        with self._families.lock:
            self._queues[run.first("lease").queue].acquisitions[ClaimCause.READY].inc(len(causes))

    def _lost(self, event: LaneLost) -> None:
        with self._families.lock:
            self._queues[event.lease.queue].losses[event.reason].inc()

    def _fenced(self, event: WriteFenced) -> None:
        with self._families.lock:
            self._queues[event.queue].fenced[event.operation].inc()

    def _violated(self, event: OrderViolated) -> None:
        with self._families.lock:
            self._queues[event.queue].violations[event.kind].inc()

    # -- attempts ------------------------------------------------------------------------------------

    def _started(self, event: AttemptStarted) -> None:
        queue, waited, headers = self._queues[event.lease.queue], event.time_in_queue, event.headers
        exemplar = None
        if waited is not None and may_be_traced(headers):
            exemplar = queue.time_in_queue.take(event, headers)
        if waited is None or exemplar is None:
            if waited is not None:
                queue.waited.note(waited)
            queue.starts.note((event.waits or _NOTHING, not headers))
            return
        with self._families.lock:
            if not headers:
                queue.trace_contexts["missing"].inc()
            queue.time_in_queue.observe(waited, exemplar)
            queue.count_waits((event.waits or _NOTHING).items())

    def _settled(self, event: AttemptSettled) -> None:
        queue = self._queues[event.lease.queue]
        task, lasted = queue.tasks[event.task], event.end_to_end
        traced = may_be_traced(event.headers) and _any_due(queue, task)
        if event.outcome is _SUCCEEDED and event.verdict.action is _ACK and lasted is not None and not traced:
            task.successes.note(event.seconds)
            queue.ends.note(lasted)
            return
        with self._families.lock:
            self._count_attempt(task, event, traced=traced)
            self._count_verdict(task, event.verdict)
            if lasted is not None:
                exemplar = queue.end_to_end.take(event, event.headers) if traced else None
                queue.end_to_end.observe(lasted, exemplar)

    def _started_together(self, run: Run[AttemptStarted]) -> None:
        queue, traced = self._queues[run.first("lease").queue], any_may_be_traced(run)
        if traced and queue.time_in_queue.is_due():
            for event in run:
                self._started(event)
        else:
            waited = run.column("time_in_queue")
            missing = run.column("headers").count(_NO_HEADERS) if traced else len(run)
            queue.waited.note_all([each for each in waited if each is not None] if None in waited else waited)
            queue.starts.note((run.total("waits"), missing))

    def _settled_together(self, run: Run[AttemptSettled]) -> None:
        ends, verdict, name = run.column("end_to_end"), run.common("verdict"), run.common("task")
        # As nearly always: all that is told of them is how long they took.
        if (
            run.common("outcome") is _SUCCEEDED
            and verdict is not None
            and verdict.action is _ACK
            and name is not None
            and None not in ends
        ):
            queue = self._queues[run.first("lease").queue]
            task = queue.tasks[name]
            if not (any_may_be_traced(run) and _any_due(queue, task)):
                task.successes.note_all(run.column("seconds"))
                queue.ends.note_all(ends)
                return
        for event in run:
            self._settled(event)

    @staticmethod
    def _count_attempt(task: TaskChildren, event: AttemptSettled, *, traced: bool) -> None:
        headers, succeeded = event.headers, event.outcome is _SUCCEEDED
        if event.ran:
            task.attempts["succeeded" if succeeded else "failed"].inc()
            exemplar = task.duration.take(event, headers) if traced else None
            task.duration.observe(event.seconds, exemplar)
        if not succeeded and event.outcome is not Outcome.EXPIRED:
            task.failed(event.outcome, event, headers)

    @staticmethod
    def _count_verdict(task: TaskChildren, verdict: Verdict) -> None:
        match verdict.action:
            case Action.ACK:
                task.processed["succeeded"].inc()
            case Action.BURY:
                task.processed["buried"].inc()
                task.buried[verdict.reason].inc()
            case Action.EXPIRE:
                task.processed["expired"].inc()
            case Action.CANCEL:
                task.processed["cancelled"].inc()
            case Action.RETRY:
                task.retries.inc()
            case Action.HALT | Action.DROP:
                pass  # not settled: the job is still the head of its lane

    def _abandoned(self, event: AttemptAbandoned) -> None:
        # Whatever its code did, the job runs again: for the job this attempt failed.
        task = self._queues[event.lease.queue].tasks[event.task]
        with self._families.lock:
            if event.outcome not in _NEVER_RAN:
                task.attempts["failed"].inc()
            task.failed(Outcome.LEASE_LOST, event)

    def _workflow_ended(self, event: WorkflowEnded) -> None:
        label = self._families.workflows.label(event.name)
        durations = {
            status: self._families.histogram(catalogue.WORKFLOW_DURATION, label, status)
            for status in catalogue.WORKFLOW_DURATION.values["status"]  # each at 0 once the name is known
        }
        with self._families.lock:
            durations[event.status].observe(event.seconds)

    def _context_read(self, event: TraceContextRead) -> None:
        self._queues[event.queue].contexts_read.note(event.result)

    # -- the process ---------------------------------------------------------------------------------

    def _data_lost(self, event: DataLossDetected) -> None:
        with self._families.lock:
            self._queues[event.queue].data_losses.inc()

    def _stored(self, event: StorageCalled) -> None:
        seconds = self._storage_seconds.get((event.store, event.operation))
        if seconds is None:
            seconds = self._seconds_of(event.store, event.operation)
        seconds.note(event.seconds)
        if event.error is not None:
            with self._families.lock:
                self._errors_of(event.store)[event.error].inc()

    def _stored_together(self, run: Run[StorageCalled]) -> None:
        seconds = self._storage_seconds.get((run.first("store"), run.first("operation")))
        if seconds is None or any(run.column("error")):
            for event in run:
                self._stored(event)
        else:
            seconds.note_all(run.column("seconds"))

    def _seconds_of(self, store: str, operation: str) -> Batch[float]:
        # On first use, not at 0: a process calls few of the operations, and no alert counts these.
        known = operation in catalogue.STORAGE_DURATION.values["operation"]
        label = operation if known else catalogue.OTHER
        histogram: Histogram = self._families.histogram(catalogue.STORAGE_DURATION, store, label)
        seconds: Batch[float] = self._families.batch(histogram.observe_all, "stored", store, label)
        return self._storage_seconds.setdefault((store, operation), seconds)

    def _errors_of(self, store: str) -> ByValue:
        errors = self._storage_errors.get(store)
        if errors is None:
            errors = self._storage_errors[store] = self._families.counters(catalogue.STORAGE_ERRORS, store)
        return errors

    def _reconnected(self, event: StorageReconnected) -> None:
        with self._families.lock:
            self._families.counter(catalogue.STORAGE_RECONNECTS, event.store).inc()

    def _dropped(self, event: TelemetryDropped) -> None:
        with self._families.lock:
            self._dropped_of[event.signal][event.reason].inc(event.count)

    def _loop_blocked(self, event: LoopBlocked) -> None:  # noqa: ARG002 - who blocks it is in the log
        with self._families.lock:
            self._loop_blocks.inc()

    def _detached(self, event: ObserverDetached) -> None:  # noqa: ARG002 - what raised is in the log
        with self._families.lock:
            self._observer_failures.inc()


def _any_due(queue: QueueChildren, task: TaskChildren) -> bool:
    """Whether an attempt that has ended is to be an exemplar of anything, if it has a trace."""
    return queue.end_to_end.is_due() or task.duration.is_due()
