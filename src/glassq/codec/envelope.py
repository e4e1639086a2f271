"""The body of a job: one line of JSON that says how to read it, then the serialized arguments.

Neither store notices when a bit of what it keeps has flipped, and most flipped arguments are valid arguments:
wrong ones. So the line carries a checksum of everything else, and a body that does not match it is never run.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import repeat
from operator import add, eq
from zlib import crc32

import msgspec

from glassq.codec.serializers import UNREADABLE
from glassq.errors import CorruptRecord, FormatMismatch, SerializationFailed

ENVELOPE_VERSION = 1


class Gift(msgspec.Struct, frozen=True, array_like=True, omit_defaults=True):
    """What an argument is given by a step, once that has ended."""

    step: str
    many: bool = False
    """Whether it is a list in any case, and not only where several steps have this name."""


class Place(msgspec.Struct, frozen=True, omit_defaults=True):
    """The place of a call among others that wait for one another."""

    flow: str = msgspec.field(default="", name="f")
    """The workflow it belongs to; empty: none, it only comes after some jobs."""
    step: str = msgspec.field(default="", name="n")
    """What those behind it know it by."""
    behind: bool = msgspec.field(default=False, name="b")
    """Whether it comes after others, which may have left something for it."""
    given: dict[str, Gift] = msgspec.field(default_factory=dict, name="g")
    """Arguments that are not in the payload."""


class Envelope(msgspec.Struct, frozen=True):
    """A call as it is stored. `headers` travel with the job (trace context), `payload` is opaque here.
    `keep`: seconds for which its result and its history are kept, 0 not at all."""

    task: str
    serializer: str
    headers: dict[str, str]
    payload: bytes
    place: Place | None = None
    keep: float = 0.0


class _Header(msgspec.Struct, frozen=True, kw_only=True):
    """The first line. Short names, because every job carries them."""

    v: int
    t: str
    s: str
    h: dict[str, str]
    w: Place | msgspec.UnsetType = msgspec.UNSET
    k: float | msgspec.UnsetType = msgspec.UNSET
    c: int


class _AnyHeader(msgspec.Struct, frozen=True):
    """What every version of the first line has."""

    v: int


_ENCODER = msgspec.json.Encoder()
_HEADER = msgspec.json.Decoder(_Header)
_ANY_HEADER = msgspec.json.Decoder(_AnyHeader)
_decode_headers = msgspec.json.Decoder(dict[str, str]).decode
_THEN_HEADERS = b',"h":'
_THEN_CHECKSUM = b',"c":'
_MOST_CHECKSUM = 2**32 - 1
_PLAIN = b"%b%d}"
_WITH_HEADERS = b'%b%b,"c":%d}'


def seal(envelope: Envelope) -> bytes:
    """The wire form. `SerializationFailed` when a name or header is not valid text."""
    if not envelope.headers and envelope.place is None and not envelope.keep:
        line, checksum = _beginning(envelope.task, envelope.serializer)
        return b"%b%d}\n%b" % (line, crc32(envelope.payload, checksum), envelope.payload)
    return _line(envelope) + b"\n" + envelope.payload


@lru_cache(maxsize=1024)  # as many as there are tasks
def _beginning(task: str, serializer: str) -> tuple[bytes, int]:
    """The first line of calls without headers up to the checksum, and the checksum so far."""
    empty = Envelope(task, serializer, {}, b"")
    return _line(empty).rpartition(b":")[0] + b":", _checksum(empty)


def _line(envelope: Envelope) -> bytes:
    try:
        return _ENCODER.encode(
            _Header(
                v=ENVELOPE_VERSION,
                t=envelope.task,
                s=envelope.serializer,
                h=envelope.headers,
                w=msgspec.UNSET if envelope.place is None else envelope.place,
                k=envelope.keep or msgspec.UNSET,
                c=_checksum(envelope),
            )
        )
    except (TypeError, ValueError) as error:
        raise SerializationFailed(f"{envelope.task!r}: a header of this job is not text: {error}") from error


def open_envelope(body: bytes) -> Envelope:
    """What `seal` was given.

    `FormatMismatch` when a newer glassq wrote it, `CorruptRecord` for any other bytes; the message never
    shows them, because they may be somebody's arguments.
    """
    beginning = plain_beginning(body)
    read = None if beginning is None else beginning.read(body)
    if beginning is not None and read is not None:
        return Envelope(beginning.task, beginning.serializer, *read)
    end = body.find(b"\n")
    if end < 0:
        raise CorruptRecord(f"a job's body of {len(body)} bytes has no header line")
    return _open_any(body, end)


class Beginning(msgspec.Struct, frozen=True):
    """How all calls of a task begin that say nothing but that they are, and may have headers: `line` is the
    first line up to these, which are at `headers`, and `plain` up to the checksum of one that has none, which
    has `plain_length` bytes at most. The checksums are those of what is said up to there."""

    task: str
    serializer: str
    line: bytes
    headers: int
    checksum: int
    plain: bytes
    plain_length: int
    plain_checksum: int

    def read(self, body: bytes) -> tuple[dict[str, str], bytes] | None:
        """The headers and the payload of a body that begins so. None for any other bytes."""
        line, _, payload = body.partition(b"\n")
        if len(line) <= self.plain_length and line == _PLAIN % (
            self.plain,
            crc32(payload, self.plain_checksum),
        ):
            return {}, payload
        # As it is in the line, and not decoded and encoded again: what else is in there is not what it says.
        headers = line[self.headers : line.rfind(_THEN_CHECKSUM)]
        said = crc32(payload, crc32(headers + b"]", self.checksum))
        if line != _WITH_HEADERS % (self.line, headers, said):
            return None
        try:
            return _decode_headers(headers), payload
        except UNREADABLE:
            return None

    def read_all(self, bodies: Sequence[bytes]) -> tuple[Sequence[dict[str, str]], Sequence[bytes]] | None:
        """The headers and the payloads of several bodies, each read as by itself. None if any of them is not
        one that begins so."""
        lines, _, payloads = zip(*map(bytes.partition, bodies, repeat(b"\n")), strict=True)
        if lines[0].startswith(self.plain):
            said = map(crc32, payloads, repeat(self.plain_checksum))
            if all(map(eq, lines, map(_PLAIN.__mod__, zip(repeat(self.plain), said)))):
                return [{} for _ in lines], payloads
        rests = map(bytes.removeprefix, lines, repeat(self.line))
        headers, _, _ = zip(*map(bytes.rpartition, rests, repeat(_THEN_CHECKSUM)), strict=True)
        said = map(crc32, payloads, map(crc32, map(add, headers, repeat(b"]")), repeat(self.checksum)))
        if not all(map(eq, lines, map(_WITH_HEADERS.__mod__, zip(repeat(self.line), headers, said)))):
            return None
        try:
            return [*map(_decode_headers, headers)], payloads
        except UNREADABLE:
            return None


def plain_beginning(body: bytes) -> Beginning | None:
    """How this body begins, if it may be that of a call that says nothing else, as nearly all are. None for
    any other bytes: `open_envelope` knows what they are."""
    at = body.find(_THEN_HEADERS, 0, body.find(b"\n"))
    return None if at < 0 else _read_beginning(body[: at + len(_THEN_HEADERS)])


def _open_any(body: bytes, end: int) -> Envelope:
    """The envelope behind a line that ends here, whatever is in it."""
    line = body[:end]
    try:
        header = _HEADER.decode(line)
    except UNREADABLE as error:
        _refuse_newer(line)
        raise CorruptRecord(f"the header line of a job's body cannot be read: {error}") from error
    if header.v != ENVELOPE_VERSION:
        _refuse_newer(line)
        raise CorruptRecord(f"a job's body claims format version {header.v}, which never existed")
    place = None if header.w is msgspec.UNSET else header.w
    keep = 0.0 if header.k is msgspec.UNSET else header.k
    envelope = Envelope(header.t, header.s, header.h, body[end + 1 :], place, keep)
    if _checksum(envelope) != header.c:
        raise CorruptRecord(f"a job's body of {len(body)} bytes was damaged: its checksum does not match")
    return envelope


@lru_cache(maxsize=1024)  # as many as there are tasks
def _read_beginning(line: bytes) -> Beginning | None:
    """What `_beginning` made; None for anything else."""
    try:
        header = _HEADER.decode(b'%b{},"c":0}' % line)
    except UNREADABLE:
        return None
    if header.v != ENVELOPE_VERSION or header.k is not msgspec.UNSET:
        return None
    plain = line + b"{}" + _THEN_CHECKSUM
    return Beginning(
        task=header.t,
        serializer=header.s,
        line=line,
        headers=len(line),
        checksum=crc32(_ENCODER.encode((header.t, header.s))[:-1] + b","),
        plain=plain,
        plain_length=len(_PLAIN % (plain, _MOST_CHECKSUM)),
        plain_checksum=_checksum(Envelope(header.t, header.s, {}, b"")),
    )


def _checksum(envelope: Envelope) -> int:
    """CRC-32 of all that is said: finds every error of up to 32 bits in a row."""
    said: tuple[object, ...] = (envelope.task, envelope.serializer, envelope.headers)
    if envelope.place is not None:
        said = (*said, envelope.place)
    if envelope.keep:
        said = (*said, float(envelope.keep))
    rest = _ENCODER.encode(said)
    return crc32(envelope.payload, crc32(rest))


def _refuse_newer(line: bytes) -> None:
    """`FormatMismatch` when the line is a header of a later version, whatever else that has in it."""
    try:
        version = _ANY_HEADER.decode(line).v
    except UNREADABLE:
        return
    if version > ENVELOPE_VERSION:
        raise FormatMismatch("a job's body", version, ENVELOPE_VERSION)
