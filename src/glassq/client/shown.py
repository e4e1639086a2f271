"""Stored bytes as people see them; arguments are never part of it."""

from __future__ import annotations

from glassq.codec import open_envelope, read_failure
from glassq.errors import CorruptRecord, FormatMismatch
from glassq.model.names import DEFAULT_LANE, check_key

UNREADABLE = "(undecodable)"
"""Shown as the task of a job whose envelope cannot be read."""


def key_shown(lane: str) -> str | None:
    """The ordering key of a lane, None for the default lane."""
    return None if lane == DEFAULT_LANE else lane


def lane_of(key: str | None) -> str:
    """The lane a key names, the default one for None; `BadOption` for what no job can have as its key."""
    return DEFAULT_LANE if key is None else check_key(key)


def task_named_in(body: bytes) -> str:
    """The task a stored job names; a fixed text when its envelope cannot be read."""
    try:
        return open_envelope(body).task
    except (CorruptRecord, FormatMismatch):
        return UNREADABLE


def headers_in(body: bytes) -> dict[str, str]:
    """What travels with a stored job; nothing when its envelope cannot be read."""
    try:
        return open_envelope(body).headers
    except (CorruptRecord, FormatMismatch):
        return {}


def keep_in(body: bytes) -> float:
    """Seconds for which what becomes of a stored job is kept; 0 when its envelope cannot be read."""
    try:
        return open_envelope(body).keep
    except (CorruptRecord, FormatMismatch):
        return 0.0


def error_shown(data: bytes) -> str:
    """A stored error as one line, empty when there was none."""
    return str(read_failure(data)) if data else ""
