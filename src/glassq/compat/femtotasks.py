"""How a task of FemtoQueue is kept as a job: raw bytes in an envelope with its checksum, a lane for each."""

from __future__ import annotations

import os
import secrets
import time
from pathlib import Path
from typing import Final
from urllib.parse import quote

import msgspec

from glassq.codec import Envelope, failure_bytes, open_envelope, seal
from glassq.errors import BadOption, PayloadTooLarge
from glassq.model.jobs import Dedup, NewJob, StoredJob
from glassq.model.verdicts import Failure
from glassq.storage import MAX_APPEND_BYTES

QUEUE: Final = "femtoqueue"
DATABASE: Final = "glassq.db"
"""The file in a queue's directory."""

FAILED: Final = ("exception", failure_bytes(Failure("failed", "its program called fail()")))
"""The reason and the error that a failed task's dead letter has."""

_MICRO = 1_000_000
_FARTHEST_US = 2**62
_SERIALIZER = "bytes"
_GIVEN_UP = {"state": "failed"}


class Task(msgspec.Struct, frozen=True):
    """What a job says. `failed`: it was given up before it came here, and is not run unless brought back."""

    data: bytes
    failed: bool


def url_of(directory: str | os.PathLike[str]) -> str:
    """The store of a queue's directory, for the command line."""
    return f"sqlite:///{quote(os.fspath(Path(os.path.abspath(directory), DATABASE)))}"  # noqa: PTH100 - as the store does


def job_of(
    data: bytes, *, due_us: int | None = None, once: str | None = None, failed: bool = False
) -> NewJob:
    """A task as a job. `due_us`: microseconds since the epoch; `once`: what no other unsettled job may share.

    `PayloadTooLarge` when it does not fit into one append, `BadOption` for a time that is none.
    """
    body = seal(Envelope(QUEUE, _SERIALIZER, _GIVEN_UP if failed else {}, data))
    if len(body) > MAX_APPEND_BYTES:
        raise PayloadTooLarge("a task", len(data), MAX_APPEND_BYTES - (len(body) - len(data)))
    return NewJob(
        body=body,
        # Of its own, so that several tasks may be out at once. It begins with the time, so that the rows of
        # those that come and go together lie together.
        lane=f"{time.time_ns():x}-{secrets.token_hex(4)}",
        due=None if due_us is None else _check_time(due_us) / _MICRO,
        due_is_time=True,
        dedup=None if once is None else Dedup(once),
    )


def task_in(job: StoredJob) -> Task:
    """The task a job is; `CorruptRecord` or `FormatMismatch` as `open_envelope`."""
    envelope = open_envelope(job.body)
    return Task(envelope.payload, envelope.headers == _GIVEN_UP and not job.replayed)


def _check_time(time_us: object) -> int:
    if not isinstance(time_us, int) or not -_FARTHEST_US < time_us < _FARTHEST_US:
        raise BadOption("time_us", f"is a whole number of microseconds since the epoch, got {time_us!r}")
    return time_us
