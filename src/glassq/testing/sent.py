"""What was enqueued during a test, as the store was given it and as the task will receive it."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Sequence
from typing import Any

import msgspec

from glassq.client.task import Signature
from glassq.codec import Envelope, open_envelope
from glassq.errors import BadOption
from glassq.model.jobs import Appended, Disposition, NewJob, Priority, Receipt
from glassq.model.names import DEFAULT_LANE, whole
from glassq.registry import Registry, TaskDefinition
from glassq.storage import Storage
from glassq.stores.instrumented import InstrumentedStorage
from glassq.telemetry import Bus


class EnqueuedJob(msgspec.Struct, frozen=True, kw_only=True):
    """One call that the store accepted. `arguments` are those the task is called with, by their names,
    defaults among them. `delay` (seconds) or `eta` (epoch seconds) is set for one that was put off."""

    id: str
    task: str
    queue: str
    key: str | None
    arguments: dict[str, Any]
    priority: Priority
    delay: float | None = None
    eta: float | None = None

    def __str__(self) -> str:
        given = ", ".join(f"{name}={value!r}" for name, value in self.arguments.items())
        return f"{self.task}({given})" + (f" of key {self.key}" if self.key else "")


class SentJobs:
    """All of them, in the order in which the store accepted them. Thread-safe."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._lock = threading.Lock()
        self._jobs: dict[str, EnqueuedJob] = {}

    def note(self, queue: str, jobs: Sequence[NewJob], answers: Sequence[Appended]) -> None:
        """An append was acknowledged. Calls that were duplicates have stored nothing."""
        for job, answer in zip(jobs, answers, strict=True):
            envelope = open_envelope(job.body)
            task = self._registry.find(envelope.task)
            if task is not None and answer.disposition is Disposition.CREATED:
                made = _read(whole(queue), task, envelope, job, answer.id)
                with self._lock:
                    self._jobs[made.id] = made

    def all(self) -> list[EnqueuedJob]:
        """A snapshot."""
        with self._lock:
            return list(self._jobs.values())

    def find(self, job_id: str) -> EnqueuedJob | None:
        """The job of this id, if it was enqueued during the test."""
        return self._jobs.get(job_id)


class SeenStorage(InstrumentedStorage):
    """A `Storage` that notes what it is given. It may be in memory, where replicas are not to be had: that
    part of a queue's durability is left out."""

    def __init__(self, inner: Storage, bus: Bus, sent: SentJobs) -> None:
        super().__init__(inner, bus)
        self._sent = sent

    def append(
        self,
        queue: str,
        jobs: Sequence[NewJob],
        *,
        max_length: int | None = None,
        replicas: int = 0,  # noqa: ARG002 - see the class
    ) -> list[Appended]:
        """See `Storage.append`."""
        answers = super().append(queue, jobs, max_length=max_length)
        self._sent.note(queue, jobs, answers)
        return answers


class Wanted(msgspec.Struct, frozen=True):
    """What a test expects a job to be: of this task, with these arguments (among others, or exactly these);
    or this very one."""

    task: str | None
    arguments: dict[str, Any]
    queue: str
    job_id: str | None = None
    exactly: bool = False

    def fits(self, job: EnqueuedJob) -> bool:
        """Whether a job is what was expected."""
        if self.job_id is not None:
            return job.id == self.job_id
        missing = object()
        return (
            job.task == self.task
            and all(job.arguments.get(name, missing) == value for name, value in self.arguments.items())
            and not (self.exactly and len(job.arguments) > len(self.arguments))
        )

    def __str__(self) -> str:
        if self.job_id is not None:
            return f"the job {self.job_id}"
        given = [f"{name}={value!r}" for name, value in self.arguments.items()]
        return f"{self.task}({', '.join(given if self.exactly else [*given, '...'])})"


def wanted(what: object) -> Wanted:
    """What a test names: a task, a call of one (`task.s(...)`), or a receipt. `BadOption` for all else."""
    if isinstance(what, Receipt):
        return Wanted(None, {}, whole(what.queue), job_id=what.id)
    if isinstance(what, Signature):
        call = what.enclosed
        named = _named(call.task.signature, call.args, call.kwargs)
        return Wanted(call.task.name, named, call.task.queue, exactly=True)
    return named_subset(task_of(what), {})


def task_of(task: object) -> TaskDefinition:
    """The definition behind a task; `BadOption` for what is none."""
    definition = getattr(task, "definition", None)
    if isinstance(definition, TaskDefinition):
        return definition
    raise BadOption("task", f"is a task, a call of one (task.s(...)) or a receipt, got {task!r}")


def named_subset(task: TaskDefinition, arguments: dict[str, Any]) -> Wanted:
    """A job of this task with these arguments among others; `TypeError` for one the task has not."""
    parameters = task.signature.parameters
    catches_all = any(each.kind is each.VAR_KEYWORD for each in parameters.values())
    for name in arguments:
        if name not in parameters and not catches_all:
            raise TypeError(f"{task.name} has no argument {name!r}; it has {', '.join(parameters) or 'none'}")
    return Wanted(task.name, arguments, task.queue)


def _read(queue: str, task: TaskDefinition, envelope: Envelope, job: NewJob, job_id: str) -> EnqueuedJob:
    args, kwargs = task.codec.decode(envelope.payload)
    return EnqueuedJob(
        id=job_id,
        task=task.name,
        queue=queue,
        key=None if job.lane == DEFAULT_LANE else job.lane,
        arguments=_named(task.signature, args, kwargs),
        priority=Priority(job.level),
        delay=None if job.due_is_time else job.due,
        eta=job.due if job.due_is_time else None,
    )


def _named(signature: inspect.Signature, args: Sequence[Any], kwargs: dict[str, Any]) -> dict[str, Any]:
    """Arguments by name, with defaults; what a `**` parameter takes stands among the others."""
    bound = signature.bind(*args, **kwargs)
    bound.apply_defaults()
    named: dict[str, Any] = {}
    for name, value in bound.arguments.items():
        if signature.parameters[name].kind is inspect.Parameter.VAR_KEYWORD:
            named.update(value)
        else:
            named[name] = value
    return named
