"""What a store keeps for a time beside the jobs themselves: what became of one, and values by name."""

from __future__ import annotations

from typing import Final

import msgspec

from glassq.model.jobs import JobState
from glassq.model.verdicts import Action

MAX_NOTES: Final = 100
"""Notes of one job that are kept: of more, the last ones."""

_OUTCOMES = {
    Action.ACK: JobState.SUCCEEDED,
    Action.BURY: JobState.BURIED,
    Action.EXPIRE: JobState.EXPIRED,
    Action.CANCEL: JobState.CANCELLED,
}


class Note(msgspec.Struct, frozen=True, kw_only=True):
    """One settlement of a job that was to be kept, as stored. Times are epoch seconds by the store's clock;
    `said` is what the worker, or whoever took the job out, wrote beside it: opaque to the store."""

    action: Action
    at: float
    until: float
    """When it is forgotten, with all notes of its job."""
    reason: str = ""
    said: bytes = b""
    result: bytes | None = None
    """What the job returned; None when it did not succeed, or returned nothing that is kept."""
    error: bytes = b""
    """Of a job that ended without success: as `DeadRecord.error`."""

    @property
    def outcome(self) -> JobState | None:
        """The state the job ended in; None when it went on (retry, halt)."""
        return _OUTCOMES.get(self.action)


class Value(msgspec.Struct, frozen=True):
    """A value that was put into a queue under a name. `until` is when it is forgotten, in epoch seconds by
    the store's clock; None: when it is dropped."""

    name: str
    body: bytes
    until: float | None = None
