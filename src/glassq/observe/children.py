"""The bound children of queues and tasks: looked up once, when a queue or task is declared."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import methodcaller
from typing import TypeVar

from glassq.model.clock import Clock
from glassq.observe import catalogue
from glassq.observe.batches import Batch
from glassq.observe.exemplars import AttemptRef, Ration, may_be_traced
from glassq.observe.families import Families
from glassq.observe.series import Histogram

_NO_HEADERS: Mapping[str, str] = {}

C = TypeVar("C")
_Starts = tuple[Mapping[str, float], int]


class _TracedHistogram:
    """A histogram's child whose observations carry an exemplar now and then."""

    __slots__ = ("is_due", "observe", "observe_all", "take")

    def __init__(self, child: Histogram, clock: Clock) -> None:
        self.observe = child.observe
        """Count one measurement."""
        self.observe_all = child.observe_all
        """Count measurements without exemplars."""
        ration = Ration(clock)
        self.is_due = ration.is_due
        """Whether it wants an exemplar."""
        self.take = ration.take
        """The exemplar for it, see `Ration.take`."""


class TaskChildren:
    """The bound children of one task on one queue."""

    def __init__(self, families: Families, of: QueueChildren, task: str, clock: Clock) -> None:
        queue = of.queue
        self._queue = of
        self._enqueued = families.counter(catalogue.JOBS_ENQUEUED, queue, task)
        self.processed = families.counters(catalogue.JOBS_PROCESSED, queue, task)
        self.attempts = families.counters(catalogue.JOB_ATTEMPTS, queue, task)
        self.failures = families.counters(catalogue.JOB_FAILURES, queue, task)
        self.buried = families.counters(catalogue.JOBS_BURIED, queue, task)
        self.retries = families.counter(catalogue.JOB_RETRIES, queue, task)
        self.duration = _TracedHistogram(
            families.histogram(catalogue.PROCESSING_DURATION, queue, task), clock
        )
        self._rations = {kind: Ration(clock) for kind in catalogue.FAILURE_KINDS}
        self.enqueues: Batch[tuple[float, int]] = families.batch(
            self._count_enqueues, "enqueues", queue, task
        )
        """Of calls that were stored: how long that took, and the bytes of their arguments."""
        self.successes: Batch[float] = families.batch(self._count_successes, "successes", queue, task)
        """Run times of jobs that succeeded and are not to be exemplars."""

    def _count_enqueues(self, enqueues: Sequence[tuple[float, int]]) -> None:
        self._enqueued.inc(len(enqueues))
        seconds, sizes = zip(*enqueues, strict=True)
        self._queue.enqueue_seconds.observe_all(seconds)
        self._queue.payload_bytes.observe_all(sizes)

    def _count_successes(self, seconds: Sequence[float]) -> None:
        self.attempts["succeeded"].inc(len(seconds))
        self.processed["succeeded"].inc(len(seconds))
        self.duration.observe_all(seconds)

    def failed(self, kind: str, of: AttemptRef, headers: Mapping[str, str] = _NO_HEADERS) -> None:
        """Count one failure, with its trace when it has one."""
        ration = self._rations.get(kind) if may_be_traced(headers) else None
        self.failures[kind].inc(exemplar=ration.take(of, headers) if ration else None)


class QueueChildren:
    """The bound children of one queue, and of its tasks."""

    def __init__(self, families: Families, queue: str, clock: Clock) -> None:
        self._families = families
        self.queue = queue
        self._clock = clock
        self.enqueue_failures = families.counters(catalogue.ENQUEUE_FAILURES, queue)
        self.deduplicated = families.counter(catalogue.JOBS_DEDUPLICATED, queue)
        self.slots = families.counters(catalogue.SCHEDULE_SLOTS, queue)
        self.enqueue_seconds = families.histogram(catalogue.ENQUEUE_DURATION, queue)
        self.payload_bytes = families.histogram(catalogue.PAYLOAD_BYTES, queue)
        self.reclaimed = families.counters(catalogue.JOBS_RECLAIMED, queue)
        self.waits = families.counters(catalogue.JOB_WAIT, queue)
        self.time_in_queue = _TracedHistogram(families.histogram(catalogue.TIME_IN_QUEUE, queue), clock)
        self.end_to_end = _TracedHistogram(families.histogram(catalogue.END_TO_END_DURATION, queue), clock)
        self.violations = families.counters(catalogue.ORDER_VIOLATIONS, queue)
        self.acquisitions = families.counters(catalogue.LEASE_ACQUISITIONS, queue)
        self.losses = families.counters(catalogue.LEASE_LOSSES, queue)
        self.stolen = families.counter(catalogue.LANES_STOLEN, queue)
        self.fenced = families.counters(catalogue.FENCED_WRITES, queue)
        self.trace_contexts = families.counters(catalogue.TRACE_CONTEXTS, queue)
        self.data_losses = families.counter(catalogue.DATA_LOSSES, queue)
        self.waited: Batch[float] = families.batch(self.time_in_queue.observe_all, "waited", queue)
        """Times in queue, where they count, of attempts that are not to be exemplars."""
        self.starts: Batch[_Starts] = families.batch(self._count_starts, "starts", queue)
        """What these were spent on, and how many attempts had no headers: of one attempt, or of several
        together."""
        self.ends: Batch[float] = families.batch(self.end_to_end.observe_all, "ends", queue)
        """Times from eligible to settled of jobs that succeeded and are not to be exemplars."""
        self.contexts_read: Batch[str] = families.batch(self._count_contexts, "contexts", queue)
        """What was found in the headers of jobs that had some."""
        self.tasks = Children(self._unknown)
        """The children of its tasks: those of `_unknown` for a task that is not declared."""
        self.declare(catalogue.UNKNOWN_TASK)

    def declare(self, task: str) -> None:
        """Make the children of a task, when it is new."""
        if task not in self.tasks:
            self.tasks[task] = TaskChildren(self._families, self, task, self._clock)

    def _count_contexts(self, results: Sequence[str]) -> None:
        for result, count in Counter(results).items():
            self.trace_contexts[result].inc(count)

    def _count_starts(self, starts: Sequence[_Starts]) -> None:
        waits, missing = zip(*starts, strict=True)
        self.trace_contexts["missing"].inc(sum(missing))
        causes: set[str] = set().union(*waits)
        self.count_waits((cause, sum(map(methodcaller("get", cause, 0.0), waits))) for cause in causes)

    def count_waits(self, waits: Iterable[tuple[str, float]]) -> None:
        """Count what time in queue was spent on, holding the lock."""
        for cause, seconds in waits:
            self.waits[cause].inc(seconds)

    def _unknown(self, _: str) -> TaskChildren:
        return self.tasks[catalogue.UNKNOWN_TASK]


class Children(dict[str, C]):
    """Children by the name of a queue or task, and whose to take for a name that is not known."""

    def __init__(self, missing: Callable[[str], C]) -> None:
        super().__init__()
        self._missing = missing

    def __missing__(self, name: str) -> C:
        return self._missing(name)
