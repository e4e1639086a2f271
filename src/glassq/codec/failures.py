"""Errors as text: what is kept with a retried, halted or buried job."""

from __future__ import annotations

import traceback
from types import TracebackType

import msgspec

from glassq.codec.serializers import UNREADABLE
from glassq.model.verdicts import Failure

MAX_MESSAGE_BYTES = 4096
MAX_TRACEBACK_BYTES = 16384

_CUT = "[... cut ...]"
_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder(Failure)


def describe_failure(exc: BaseException) -> Failure:
    """An exception as text. Works for any exception, also one whose `__str__` raises.

    The traceback has no frame locals, and begins at the first frame that is not glassq's own.
    """
    try:
        message = str(exc)
    except BaseException as error:  # licensed: around user code; a `sys.exit` in `__str__` is its text's end
        message = f"<its __str__ raised {type(error).__name__}>"
    return Failure(type(exc).__qualname__, _head(message), _tail(_traceback_text(exc)))


def failure_bytes(failure: Failure) -> bytes:
    """JSON with the message cut to 4 KiB and the traceback to its last 16 KiB."""
    return _ENCODER.encode(
        Failure(_head(failure.type), _head(failure.message), _tail(failure.traceback)),
    )


def read_failure(data: bytes) -> Failure:
    """What `failure_bytes` was given. Never raises: this text explains a failure, it must not add one."""
    if not data:
        return Failure("unrecorded", "no error was kept with this job")
    try:
        return _DECODER.decode(data)
    except UNREADABLE as error:
        return Failure("unreadable", f"the error kept with this job cannot be read: {error}")


def _traceback_text(exc: BaseException) -> str:
    try:
        lines = traceback.format_exception(type(exc), exc, _outside(exc.__traceback__))
    except BaseException as error:  # licensed: around user code, which may hang anything onto an exception
        return f"<the traceback could not be formatted: {type(error).__name__}>"
    return "".join(lines)


def _outside(frames: TracebackType | None) -> TracebackType | None:
    """The traceback without the leading frames of glassq; all of it when there are no others."""
    first = frames
    while first is not None:
        if not str(first.tb_frame.f_globals.get("__name__", "")).startswith("glassq."):
            return first
        first = first.tb_next
    return frames


def _head(text: str) -> str:
    data = _utf8(text[:MAX_MESSAGE_BYTES])
    if len(data) <= MAX_MESSAGE_BYTES and len(text) <= MAX_MESSAGE_BYTES:
        return data.decode()
    return data[: MAX_MESSAGE_BYTES - len(_CUT)].decode(errors="ignore") + _CUT


def _tail(text: str) -> str:
    data = _utf8(text[-MAX_TRACEBACK_BYTES:])
    if len(data) <= MAX_TRACEBACK_BYTES and len(text) <= MAX_TRACEBACK_BYTES:
        return data.decode()
    return _CUT + data[len(_CUT) - MAX_TRACEBACK_BYTES :].decode(errors="ignore")


def _utf8(text: str) -> bytes:
    """Lone surrogates (file names from the system, broken input) become escapes: they have no UTF-8."""
    return text.encode("utf-8", "backslashreplace")
