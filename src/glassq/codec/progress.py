"""How far a running job says it is, as it is stored."""

from __future__ import annotations

from typing import Final

import msgspec

from glassq.codec.serializers import UNREADABLE
from glassq.errors import CorruptRecord
from glassq.model.jobs import Progress

LASTS: Final = 3600.0
"""Seconds for which the progress of a job is kept whose result is not."""
_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder(Progress)


def progress_name(job_id: str) -> str:
    """The name of the value it is kept as, in the job's own shard."""
    return f"progress/{job_id}"


def progress_bytes(progress: Progress) -> bytes:
    """Progress as it is stored."""
    return _ENCODER.encode(progress)


def read_progress(data: bytes) -> Progress:
    """What `progress_bytes` was given; `CorruptRecord` for any other bytes."""
    try:
        return _DECODER.decode(data)
    except UNREADABLE as error:
        raise CorruptRecord(f"a job's progress cannot be read: {error}") from error
