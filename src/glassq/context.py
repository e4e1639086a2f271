"""The running job as its own code sees it: `current_job()`."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar

import msgspec

from glassq.errors import BadOption
from glassq.model.names import check_id

MAX_NOTE_LENGTH = 500
"""Characters of a note beside a job's progress."""


def nobody_listens(job: JobContext, done: float | None, note: str) -> None:
    """Takes progress that no worker passes on."""


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
    _check: Callable[[JobContext], None]
    """Who answers `check`."""
    _tell: Callable[[JobContext, float | None, str], None] = nobody_listens
    """Who hears of `progress`."""
    _keep: float = 0.0
    """Seconds for which what becomes of the job is kept."""

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


def check_text(note: object) -> str:
    """A text that may stand beside a job's progress; `BadOption` for anything else."""
    if not isinstance(note, str) or len(note) > MAX_NOTE_LENGTH:
        raise BadOption("note", f"is text of at most {MAX_NOTE_LENGTH} characters")
    return check_id("note", "a note", note)


_current: ContextVar[JobContext | None] = ContextVar("glassq_job", default=None)


def current_job() -> JobContext | None:
    """The job this code runs for; None outside a job."""
    return _current.get()


running_job = _current
"""The variable behind `current_job`, for the worker that sets it."""
