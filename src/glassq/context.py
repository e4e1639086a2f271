"""The running job as its own code sees it: `current_job()`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextvars import ContextVar
from datetime import datetime
from typing import Final

import msgspec

SLOT_HEADER: Final = "glassq-slot"
"""The header by which a schedule's job carries its slot: an ISO time in UTC."""


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

    def check(self) -> None:
        """Raise `AttemptTimeout` past the task's timeout, `LeaseLost` when the lane is no longer ours.

        Long tasks call it between steps; it reads memory only (no round trip).
        """
        self._check(self)

    def __repr__(self) -> str:
        return f"<job {self.id} of {self.task} on {self.queue}, attempt {self.attempt}>"


def slot_in(headers: Mapping[str, str]) -> datetime | None:
    """The slot of a job that a schedule made, in UTC."""
    text = headers.get(SLOT_HEADER)
    try:
        return None if text is None else datetime.fromisoformat(text)
    except ValueError:  # somebody else's header of this name
        return None


_current: ContextVar[JobContext | None] = ContextVar("glassq_job", default=None)


def current_job() -> JobContext | None:
    """The job this code runs for; None outside a job."""
    return _current.get()


running_job = _current
"""The variable behind `current_job`, for the worker that sets it."""
