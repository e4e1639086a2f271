"""What a test may look at, and what it may expect."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from glassq.errors import BadOption, ConfigurationError
from glassq.testing.seen import Events, FailedAttempt, Metrics, Seen
from glassq.testing.sent import EnqueuedJob, SentJobs, Wanted, named_subset, task_of, wanted

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan  # of the extra otel


class Expecting:
    """The part of a `Kit` that says what happened since its block began. But for `metrics`, it stays
    after the block."""

    _sent: SentJobs
    _listener: Seen | None = None
    _spans: list[ReadableSpan] | None = None

    @property
    def _seen(self) -> Seen:
        if self._listener is None:
            raise ConfigurationError("a kit sees what happens in its block: with testing(app) as kit: ...")
        return self._listener

    @property
    def jobs(self) -> list[EnqueuedJob]:
        """All calls that were stored, in the order of the store."""
        return self._sent.all()

    @property
    def events(self) -> Events:
        """All that the application told; `kit.events.of(JobEnqueued)` for those of a class."""
        return self._seen.events

    @property
    def failures(self) -> list[FailedAttempt]:
        """The attempts that failed, with the errors they raised."""
        return self._seen.failures

    @property
    def metrics(self) -> Metrics:
        """The samples of all metrics now, counted from the beginning of the block."""
        return self._seen.metrics()

    @property
    def spans(self) -> list[ReadableSpan]:
        """The OpenTelemetry spans that have ended, with `testing(app, spans=True)`."""
        if self._spans is None:
            raise ConfigurationError("spans are kept with testing(app, spans=True)")
        return self._spans

    def assert_enqueued(self, task: object, /, **arguments: Any) -> EnqueuedJob:
        """A call of this task with these arguments among others was stored; returns the last such job.

        `AssertionError` names what was. `TypeError` for an argument the task does not have.
        """
        __tracebackhide__ = True
        expected = named_subset(task_of(task), arguments)
        found = self._find(expected)
        if not found:
            raise AssertionError(f"{expected} was not enqueued; {_listed('these were', self.jobs)}")
        return found[-1]

    def assert_not_enqueued(self, task: object, /, **arguments: Any) -> None:
        """No call of this task with these arguments among others was stored."""
        __tracebackhide__ = True
        found = self._find(named_subset(task_of(task), arguments))
        if found:
            raise AssertionError(_listed("nothing like this was to be enqueued", found))

    def assert_order(self, key: str | None, expected: Sequence[object], *, queue: str | None = None) -> None:
        """The jobs of this key (None: those without one) that have begun, began in exactly this order.

        Each is given as its task, as a call of it (`charge.s("o-1", 500)`, with these arguments and no
        others), or as its receipt; they say which queue is meant, as order is within one. `queue` says it
        where nothing is expected. A job that is tried again counts once.
        """
        __tracebackhide__ = True
        want = [wanted(each) for each in expected]
        queues = {each.queue for each in want} | ({queue} if queue is not None else set())
        if len(queues) > 1:
            raise BadOption(
                "expected", f"names jobs of {', '.join(sorted(queues))}; order is within one queue"
            )
        begun = self._seen.begun(key, next(iter(queues), None))
        jobs = [self._sent.find(event.job_id) for event in begun]
        fits = [job is not None and each.fits(job) for job, each in zip(jobs, want, strict=False)]
        if len(want) != len(jobs) or not all(fits):
            of = "without a key" if key is None else f"of key {key}"
            ran = [job or event.job_id for job, event in zip(jobs, begun, strict=True)]
            raise AssertionError(
                _listed(f"the jobs {of} were to begin in this order", want)
                + "\n"
                + _listed("and began so", ran)
            )

    def _find(self, expected: Wanted) -> list[EnqueuedJob]:
        return [job for job in self.jobs if expected.fits(job)]


def _listed(title: str, things: Sequence[object]) -> str:
    """What a message names, a line each."""
    if not things:
        return f"{title}: none"
    return f"{title}:" + "".join(f"\n  {each}" for each in things)
