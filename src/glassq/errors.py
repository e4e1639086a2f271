"""Every error glassq raises, on one screen. Each says when, and its message says what to do next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

_LINES = 100
"""Mistakes of a configuration that a message has; what has more is no configuration."""


class GlassqError(Exception):
    """Root of everything glassq raises on purpose."""


# -- the program is set up wrongly: fix the code or the configuration ---------------------------


class ConfigurationError(GlassqError):
    """When the application cannot work as it was declared."""


class UnknownTask(ConfigurationError):
    """When a task name is looked up that no decorator registered."""

    def __init__(self, name: str, nearest: str | None = None) -> None:
        hint = f"; did you mean {nearest!r}?" if nearest else "; import the module that defines it"
        super().__init__(f"no task is registered as {name!r}{hint}")
        self.name = name
        self.nearest = nearest


class DuplicateTask(ConfigurationError):
    """When two functions would answer to one task name."""

    def __init__(self, name: str, first: str, second: str) -> None:
        super().__init__(f"two functions are named {name!r}: {first} and {second}; give one of them name=...")
        self.name = name


class BadOption(ConfigurationError):
    """When an option is unknown or its value cannot be used."""

    def __init__(self, option: str, problem: str, nearest: str | None = None) -> None:
        super().__init__(f"{option}: {problem}" + (f"; did you mean {nearest!r}?" if nearest else ""))
        self.option = option
        self.problem = problem
        self.nearest = nearest


class BadSetting(BadOption):
    """When a setting of a configuration is unknown or cannot be used. `option` is its whole path; `file` and
    `line`, or `variable` of the environment, say where it stands, as far as it stands anywhere."""

    def __init__(
        self,
        option: str,
        problem: str,
        nearest: str | None = None,
        *,
        file: str | None = None,
        line: int | None = None,
        variable: str | None = None,
    ) -> None:
        super().__init__(option, problem, nearest)
        where = f"${variable}" if variable else file if line is None else f"{file}:{line}"
        if where:
            self.args = (f"{where}: {self.args[0]}",)
        self.file = file
        self.line = line
        self.variable = variable


class BadConfiguration(ConfigurationError):
    """When a configuration has mistakes. `problems` has all that could be found, each a `BadSetting`; the
    message has the first of them."""

    def __init__(self, problems: Sequence[BadSetting]) -> None:
        lines = [str(problem) for problem in problems[:_LINES]]
        if len(problems) > _LINES:
            lines.append(f"and {len(problems) - _LINES:,} more")
        super().__init__("\n".join(lines))
        self.problems = tuple(problems)


class ShardsInUse(ConfigurationError):
    """When the number of a queue's shards is to be changed and something is in it, or somebody serves it."""

    def __init__(self, queue: str, found: int, wanted: int, what: str) -> None:
        super().__init__(
            f"queue {queue} has {found} shard(s) and cannot be cut into {wanted}: {what}. A key would change "
            f"its shard, and its jobs their order. Keep shards={found}; or let the queue run empty, its dead "
            "letters too, stop its workers (one that was killed counts for another minute), and start the "
            f"programs with shards={wanted}"
        )
        self.queue = queue
        self.found = found
        self.wanted = wanted


class ScheduleNotFound(ConfigurationError):
    """When no schedule of this name is stored."""

    def __init__(self, name: str, nearest: str | None = None) -> None:
        hint = f"did you mean {nearest!r}?" if nearest else "see glassq schedule list"
        super().__init__(f"no schedule is stored as {name!r}; {hint}")
        self.name = name
        self.nearest = nearest


class MissingExtra(ConfigurationError):
    """When a feature needs an optional dependency that is not installed."""

    def __init__(self, feature: str, extra: str) -> None:
        super().__init__(f"{feature} needs an optional package: pip install 'glassq[{extra}]'")
        self.extra = extra


# -- the store -----------------------------------------------------------------------------------


class StorageError(GlassqError):
    """When the store did not do what it was asked."""


class StorageUnavailable(StorageError):
    """When the store cannot be reached or written now. `reason` is one of the closed set of
    `storage_errors_total`: connection, timeout, readonly, oom, auth, cluster, io, enospc, other. Or it is
    `closed`, when the application has been closed."""

    def __init__(self, message: str, reason: str = "other") -> None:
        super().__init__(message)
        self.reason = reason


class QueueClosed(StorageError):
    """When a part of a queue takes nothing any more, because the queue was cut into other shards. `mark`
    names the change."""

    def __init__(self, queue: str, mark: str = "") -> None:
        super().__init__(f"{queue} is closed: its queue was cut into other shards; try again")
        self.queue = queue
        self.mark = mark


class CorruptRecord(StorageError):
    """When stored bytes are not what glassq wrote."""


class FormatMismatch(StorageError):
    """When stored data has a format version this glassq does not read."""

    def __init__(self, what: str, found: int | str, known: int | str, *, older: bool = False) -> None:
        way_out = "upgrade glassq on this machine"
        if older:
            way_out = "empty it with the glassq that wrote it, or begin with a new one"
        super().__init__(f"{what} has format version {found}, this glassq reads {known}; {way_out}")
        self.found = found
        self.known = known


# -- enqueuing: the caller's job was not (or not surely) accepted ------------------------------------


class EnqueueError(GlassqError):
    """When a call could not be enqueued. Of a batch it tells which calls are in: `accepted`, their receipts
    by their places in it, from 0; and which may be, or may not: `uncertain`. No other call is in."""

    accepted: Mapping[int, Any] = MappingProxyType({})
    uncertain: frozenset[int] = frozenset()

    @property
    def receipts(self) -> tuple[Any, ...]:
        """Of the calls that are in, in their order."""
        return tuple(self.accepted[place] for place in sorted(self.accepted))


class QueueFull(EnqueueError):
    """When a queue is at its `max_length`, and stayed there for `full_wait` seconds."""

    def __init__(self, depth: int, limit: int) -> None:
        super().__init__(
            f"the queue holds {depth} of at most {limit} unsettled jobs; what was to be added was not. "
            "Slow down, add workers, or raise max_length (full_wait= waits for room)"
        )
        self.depth = depth
        self.limit = limit


class PayloadTooLarge(EnqueueError):
    """When the serialized arguments exceed the queue's `max_payload`, or a shared value its bound."""

    def __init__(self, what: str, size: int, limit: int) -> None:
        super().__init__(
            f"{what} takes {size} bytes, the limit is {limit}; store the data elsewhere and pass its key"
        )
        self.size = size
        self.limit = limit


class SerializationFailed(EnqueueError):
    """When arguments cannot be serialized, or would not come back as their type hints say."""


class EnqueueUncertain(EnqueueError):
    """When the store may or may not hold the job: the acknowledgement did not arrive. As the cause of a
    `CancelledError`: the caller was cancelled after the job was sent, and its message says where it is."""

    def __init__(self, message: str, job_id: str) -> None:
        super().__init__(message)
        self.job_id = job_id


# -- workflows -------------------------------------------------------------------------------------


class WorkflowError(GlassqError):
    """When a workflow cannot be submitted, or what is asked of it cannot be answered."""


class WorkflowCycle(WorkflowError):
    """When steps of a workflow would wait for one another for ever. `steps` names them in the order they
    would run, the first one not repeated."""

    def __init__(self, steps: Sequence[str]) -> None:
        way = " >> ".join([*steps, steps[0]])
        super().__init__(
            f"these steps wait for each other: {way}. Nothing was submitted. One signature object is one "
            "step: to run a task once more, make another one by .s(...)"
        )
        self.steps = tuple(steps)


class WorkflowNotFound(WorkflowError):
    """When no workflow of this id is known: there never was one, or it ended longer ago than it is kept."""


class SubmitFailed(WorkflowError):
    """When a workflow could not be submitted whole. Nothing of it runs; `left` are ids of jobs that could not
    be cancelled either, and wait for ever until they are."""

    def __init__(self, problem: str, left: Sequence[str] = ()) -> None:
        rest = "what was stored of it is cancelled"
        if left:
            rest = (
                f"{len(left)} of its jobs could not be cancelled ({left[0]}, ...); app.cancel takes them out"
            )
        super().__init__(f"the workflow was not submitted, nothing of it runs: {problem}; {rest}")
        self.left = tuple(left)


# -- one job ---------------------------------------------------------------------------------------


class JobError(GlassqError):
    """When one job cannot give what was asked of it."""


class NoCurrentJob(JobError):
    """When `current_job()` is called outside of a job, and no default is given."""

    def __init__(self) -> None:
        super().__init__(
            "no job runs here: no worker called this, or it runs in a thread that began without the job's "
            "context; current_job(None) is None here instead"
        )


class JobNotFound(JobError):
    """When no unsettled job, lane or dead letter has this id or key; or a call comes after what never was."""


class JobFailed(JobError):
    """When a job ended without success: its remote error, as type, message and traceback text."""

    def __init__(self, remote_type: str, message: str, traceback: str = "") -> None:
        super().__init__(f"{remote_type}: {message}" if message else remote_type)
        self.remote_type = remote_type
        self.message = message
        self.traceback = traceback


class JobCancelled(JobError):
    """When the job asked for was cancelled; raised by `current_job().check()` in one that is to be."""


class UpstreamMissing(JobError):
    """When an argument of a step is the result of one before it, which left none: its attempt fails."""

    def __init__(self, argument: str, step: str, why: str) -> None:
        super().__init__(
            f"{argument!r} is what step {step!r} left, and that {why}; give the parameter a default to run "
            "without it"
        )
        self.argument = argument
        self.step = step


class JobExpired(JobCancelled):
    """When the job asked for was past its `ttl` when its turn came, and was not run."""


class ResultNotKept(JobError):
    """When what a job returned was not, or is no longer, kept; or could not be, or is not what its task
    declares. What it did is done."""


class ReplayRefused(JobError):
    """When a replay to the front would leave a lower dead job of its lane behind, inverting their order."""

    def __init__(self, job_id: str, left_behind: str, seq: int) -> None:
        super().__init__(
            f"replaying {job_id} to the front would put it before {left_behind} (seq {seq}) of its lane, "
            "which is dead too; replay that one as well, use to='tail', or force=True"
        )
        self.job_id = job_id
        self.left_behind = left_behind
        self.seq = seq


class ResultTimeout(JobError):
    """When no result arrived in the time given; the job goes on."""


class AttemptTimeout(JobError):
    """Raised by `current_job().check()` when the attempt is past the task's `timeout`."""


class LeaseLost(JobError):
    """Raised by `current_job().check()` when this worker no longer owns the lane, and by
    `FemtoQueue.done` and `fail` for a task that is not in progress under that node."""
