"""The Serializer protocol and its default, JSON."""

from __future__ import annotations

import json
from typing import Any, Protocol

import msgspec

from glassq.codec.likeness import same
from glassq.errors import CorruptRecord

MAX_NESTING = 64
"""How deep lists and objects may lie inside each other. A call takes two of these levels for itself."""

UNREADABLE = (msgspec.MsgspecError, ValueError, RecursionError)
"""What decoding any bytes as JSON may raise."""


class Serializer(Protocol):
    """Turns a value into bytes and back. What it raises is reported as the caller's or the store's fault."""

    @property
    def name(self) -> str:
        """Written into every job, so that it is read by the serializer that wrote it."""
        ...

    def dumps(self, value: Any) -> bytes:
        """The bytes of a value; anything raised means that it cannot be serialized."""
        ...

    def loads(self, data: bytes) -> Any:
        """The value of these bytes; anything raised means that they are damaged."""
        ...


class JsonSerializer:
    """JSON, with dates, decimals, UUIDs and bytes (base64) as text, sets and tuples as arrays,
    dataclasses and Structs as objects, enums as their values.

    Refuses what JSON would change without a word: NaN, infinity, and more than `MAX_NESTING` levels.
    """

    name = "json"

    def dumps(self, value: Any) -> bytes:
        """The JSON of a value; `TypeError` or `ValueError` when it has none."""
        try:
            data = _ENCODER.encode(value)
        except RecursionError:
            raise ValueError(_TOO_DEEP) from None
        # Counting is far cheaper than measuring, and nearly every value passes by it.
        if data.count(b"[") + data.count(b"{") > MAX_NESTING and _nesting(data) > MAX_NESTING:
            raise ValueError(_TOO_DEEP)
        if b"null" in data and not same(value, _DECODER.decode(data)):
            _refuse_non_finite(value)
        return data

    def loads(self, data: bytes) -> Any:
        """Plain JSON values; `CorruptRecord` when the bytes are not JSON."""
        try:
            return _DECODER.decode(data)
        except UNREADABLE as error:
            raise CorruptRecord(f"{len(data)} bytes that should be JSON are not: {error}") from error


_TOO_DEEP = f"it contains itself, or is nested deeper than {MAX_NESTING} levels"
_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder()
_STRICT_ENCODER = json.JSONEncoder(allow_nan=False, check_circular=False)

_TO_BRACKETS = bytes.maketrans(b"{}", b"[]")
_NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))


def _nesting(data: bytes) -> int:
    """The depth of valid JSON, at most one more than `MAX_NESTING`.

    Works on whole buffers, because a walk in Python would take milliseconds for a large payload: with
    the texts gone and only brackets left, taking out all empty pairs takes away the innermost level.
    """
    # Every second part lies inside quotes once escaped quotes (and escaped backslashes) are out of the way.
    parts = data.replace(b"\\\\", b"").replace(b'\\"', b"").split(b'"')
    brackets = b"".join(parts[::2]).translate(_TO_BRACKETS, _NOT_BRACKETS)
    depth = 0
    while brackets and depth <= MAX_NESTING:
        brackets = brackets.replace(b"[]", b"")
        depth += 1
    return depth


def _refuse_non_finite(value: Any) -> None:
    """`ValueError` when some `null` stands for a NaN or an infinity, as msgspec writes them."""
    try:
        _STRICT_ENCODER.encode(msgspec.to_builtins(value, str_keys=True))
    except ValueError:
        raise ValueError("NaN and infinity have no form in JSON") from None
