"""The running job as its own code sees it: `current_job()`."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar


class JobContext:
    """The job this code runs for. Read-only; hand `token` to outside systems that can fence by it."""

    __slots__ = ("_check", "attempt", "enqueued_at", "id", "key", "queue", "seq", "task", "token")

    def __init__(
        self,
        *,
        id: str,  # noqa: A002 - the public name
        queue: str,
        task: str,
        key: str | None,
        seq: int,
        attempt: int,
        token: int,
        enqueued_at: float,
        check: Callable[[JobContext], None],
    ) -> None:
        self.id = id
        self.queue = queue
        self.task = task
        self.key = key
        self.seq = seq
        self.attempt = attempt
        self.token = token
        self.enqueued_at = enqueued_at
        self._check = check

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
