"""How calls, jobs' bodies and errors become bytes, and come back."""

from __future__ import annotations

from glassq.codec.arguments import DEFAULT_MAX_PAYLOAD, ArgumentCodec
from glassq.codec.envelope import (
    ENVELOPE_VERSION,
    Beginning,
    Envelope,
    Gift,
    Place,
    open_envelope,
    plain_beginning,
    seal,
)
from glassq.codec.failures import describe_failure, failure_bytes, read_failure
from glassq.codec.restoring import Call, Reader
from glassq.codec.serializers import MAX_NESTING, UNREADABLE, JsonSerializer, Serializer

__all__ = [
    "DEFAULT_MAX_PAYLOAD",
    "ENVELOPE_VERSION",
    "MAX_NESTING",
    "UNREADABLE",
    "ArgumentCodec",
    "Beginning",
    "Call",
    "Envelope",
    "Gift",
    "JsonSerializer",
    "Place",
    "Reader",
    "Serializer",
    "describe_failure",
    "failure_bytes",
    "open_envelope",
    "plain_beginning",
    "read_failure",
    "seal",
]
