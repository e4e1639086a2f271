"""The running job as its own code sees it: `current_job()`."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar

import msgspec


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

    def check(self) -> None:
        """Raise `AttemptTimeout` past the task's timeout, `LeaseLost` when the lane is no longer ours.

        Long tasks call it between steps; it reads memory only (no round trip).
        """
        self._check(self)

    def __repr__(self) -> str:
        return f"<job {self.id} of {self.task} on {self.queue}, attempt {self.attempt}>"


_current: ContextVar[JobContext | None] = ContextVar("glassq_job", default=None)


def current_job() -> JobContext | None:
    """The job this code runs for; None outside a job."""
    return _current.get()


running_job = _current
"""The variable behind `current_job`, for the worker that sets it."""
