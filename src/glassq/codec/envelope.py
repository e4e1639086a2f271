"""The body of a job: one line of JSON that says how to read it, then the serialized arguments."""

from __future__ import annotations

import msgspec

from glassq.errors import CorruptRecord, FormatMismatch, SerializationFailed

ENVELOPE_VERSION = 1


class Envelope(msgspec.Struct, frozen=True):
    """A call as it is stored. `headers` travel with the job (trace context), `payload` is opaque here."""

    task: str
    serializer: str
    headers: dict[str, str]
    payload: bytes


class _Header(msgspec.Struct, frozen=True, kw_only=True):
    """The first line. Short names, because every job carries them."""

    v: int
    t: str
    s: str
    h: dict[str, str]


class _AnyHeader(msgspec.Struct, frozen=True):
    """What every version of the first line has."""

    v: int


_ENCODER = msgspec.json.Encoder()
_HEADER = msgspec.json.Decoder(_Header)
_ANY_HEADER = msgspec.json.Decoder(_AnyHeader)
_UNREADABLE = (msgspec.MsgspecError, ValueError, RecursionError)


def seal(envelope: Envelope) -> bytes:
    """The wire form. `SerializationFailed` when a name or header is not valid text."""
    header = _Header(v=ENVELOPE_VERSION, t=envelope.task, s=envelope.serializer, h=envelope.headers)
    try:
        line = _ENCODER.encode(header)
    except (TypeError, ValueError) as error:
        raise SerializationFailed(f"{envelope.task!r}: a header of this job is not text: {error}") from error
    return line + b"\n" + envelope.payload


def open_envelope(body: bytes) -> Envelope:
    """What `seal` was given.

    `FormatMismatch` when a newer glassq wrote it, `CorruptRecord` for any other bytes; the message never
    shows them, because they may be somebody's arguments.
    """
    end = body.find(b"\n")
    if end < 0:
        raise CorruptRecord(f"a job's body of {len(body)} bytes has no header line")
    line = body[:end]
    try:
        header = _HEADER.decode(line)
    except _UNREADABLE as error:
        _refuse_newer(line)
        raise CorruptRecord(f"the header line of a job's body cannot be read: {error}") from error
    if header.v != ENVELOPE_VERSION:
        _refuse_newer(line)
        raise CorruptRecord(f"a job's body claims format version {header.v}, which never existed")
    return Envelope(header.t, header.s, header.h, body[end + 1 :])


def _refuse_newer(line: bytes) -> None:
    """`FormatMismatch` when the line is a header of a later version, whatever else that has in it."""
    try:
        version = _ANY_HEADER.decode(line).v
    except _UNREADABLE:
        return
    if version > ENVELOPE_VERSION:
        raise FormatMismatch("a job's body", version, ENVELOPE_VERSION)
