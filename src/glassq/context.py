"""The running job as its own code sees it: `current_job()`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextvars import ContextVar
from datetime import datetime
from enum import Enum, auto
from typing import Any, Final, Protocol, TypeVar, overload

import msgspec

from glassq.errors import BadOption, NoCurrentJob, WorkflowError
from glassq.model.names import check_id
from glassq.model.upstreams import Upstreams

D = TypeVar("D")

SLOT_HEADER: Final = "glassq-slot"
"""The header by which a schedule's job carries its slot: an ISO time in UTC."""
MAX_NOTE_LENGTH = 500
"""Characters of a note beside a job's progress."""


def nobody_listens(job: JobContext, done: float | None, note: str) -> None:
    """Takes progress that no worker passes on."""


class Links(Protocol):
    """A job's ties to others, as its context sees them."""

    @property
    def flow(self) -> str | None:
        """The workflow that it belongs to."""

    def upstream(self) -> Upstreams:
        """What the jobs before it left."""

    def push(self, name: str, value: Any, ttl: float) -> None:
        """Share a value with the other jobs of the workflow."""

    def pull(self, name: str, default: Any) -> Any:
        """What one of them has shared."""


_NO_UPSTREAM = Upstreams(())


class JobContext(msgspec.Struct, frozen=True, kw_only=True):
    """The job this code runs for. Read-only; hand `token` to outside systems that can fence by it."""

    id: str
    queue: str
    task: str
    key: str | None
    seq: int
    attempt: int
    token: int
    enqueued_at: float
    slot: datetime | None = None
    """Of a job that a schedule made: the slot it is for, however late it runs; in UTC."""
    _check: Callable[[JobContext], None]
    """Who answers `check`."""
    _links: Links | None = None
    """Who answers what is about other jobs; None for a job that has to do with none."""
    _tell: Callable[[JobContext, float | None, str], None] = nobody_listens
    """Who hears of `progress`."""
    _keep: float = 0.0
    """Seconds for which what becomes of the job is kept."""

    @property
    def workflow(self) -> str | None:
        """The id of the workflow it belongs to."""
        return None if self._links is None else self._links.flow

    @property
    def upstream(self) -> Upstreams:
        """What the jobs that it came directly after left, by the names of their steps. A round trip at its
        first use; raises `StorageError`."""
        return _NO_UPSTREAM if self._links is None else self._links.upstream()

    def xcom_push(self, name: str, value: Any, ttl: float = 3600.0) -> None:
        """Share a value with the other jobs of the workflow, under a name, for `ttl` seconds; replaces what
        had this name. One round trip. Up to 256 KiB. Raises `WorkflowError` in a job of no workflow,
        `BadOption`, `SerializationFailed`, `PayloadTooLarge`, `StorageError`."""
        self._of_workflow().push(name, value, ttl)

    def xcom_pull(self, name: str, default: Any = None) -> Any:
        """What a job of the workflow has shared under this name, or the default. One round trip."""
        return self._of_workflow().pull(name, default)

    def _of_workflow(self) -> Links:
        if self._links is None or self._links.flow is None:
            raise WorkflowError(f"{self!r} belongs to no workflow, and shares no values; see app.submit")
        return self._links

    def check(self) -> None:
        """Raise `AttemptTimeout` past the task's timeout, `LeaseLost` when the lane is no longer ours.

        Long tasks call it between steps; it reads memory only (no round trip).
        """
        self._check(self)

    def progress(self, done: float | None = None, note: str = "") -> None:
        """Say how far this attempt is: a share from 0 to 1, a short text, or both, as `app.job(id).progress`
        and `receipt.status().progress` show it.

        Costs no round trip here: another thread writes the last one said, at most once a second for each job.
        Raises `BadOption` for what is neither.
        """
        share: object = done
        if share is not None and not (isinstance(share, int | float) and 0 <= share <= 1):
            raise BadOption("done", f"is a share from 0 to 1, or None, got {share!r}")
        self._tell(self, None if done is None else float(done), check_text(note))

    @property
    def keep(self) -> float:
        """Seconds for which the job's result and history are kept (`result_ttl`), 0 when they are not."""
        return self._keep

    def __repr__(self) -> str:
        return f"<job {self.id} of {self.task} on {self.queue}, attempt {self.attempt}>"


def slot_in(headers: Mapping[str, str]) -> datetime | None:
    """The slot of a job that a schedule made, in UTC."""
    text = headers.get(SLOT_HEADER)
    try:
        return None if text is None else datetime.fromisoformat(text)
    except ValueError:  # somebody else's header of this name
        return None


def check_text(note: object) -> str:
    """A text that may stand beside a job's progress; `BadOption` for anything else."""
    if not isinstance(note, str) or len(note) > MAX_NOTE_LENGTH:
        raise BadOption("note", f"is text of at most {MAX_NOTE_LENGTH} characters")
    return check_id("note", "a note", note)


class Unasked(Protocol):
    """A job whose code may never ask which one it is."""

    def context(self) -> JobContext:
        """What it is told when it does."""
        ...


_current: ContextVar[JobContext | Unasked | None] = ContextVar("glassq_job", default=None)


class _Raise(Enum):
    """Stands for a default that was not given."""

    IT = auto()


@overload
def current_job() -> JobContext: ...


@overload
def current_job(default: D) -> JobContext | D: ...


def current_job(default: D | _Raise = _Raise.IT) -> JobContext | D:
    """The job this code runs for. Outside of a job the `default`, and without one `NoCurrentJob` is raised:
    code that runs in both asks `current_job(None)`."""
    job = shown(_current.get())
    if job is not None:
        return job
    if default is _Raise.IT:
        raise NoCurrentJob
    return default


def shown(job: JobContext | Unasked | None) -> JobContext | None:
    """What `running_job` says, as code sees it."""
    return job if job is None or isinstance(job, JobContext) else job.context()


running_job = _current
"""The variable behind `current_job`, for the worker that sets it."""
