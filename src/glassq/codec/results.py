"""What a job leaves to those behind it: its result, and the headers that lead back to its attempt."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from glassq.codec.envelope import Envelope, open_envelope, seal
from glassq.codec.hints import Hint
from glassq.codec.serializers import JsonSerializer, Serializer
from glassq.errors import SerializationFailed

MAX_RESULT = 1 << 20
"""Bytes of a serialized result."""

_NONE = ""
"""Stands for the serializer where there is a reason instead of a result."""


def seal_result(task: str, serializer: Serializer, value: Any, headers: dict[str, str]) -> bytes:
    """The bytes of a result. Never raises: what was done is done, so one that cannot be serialized, or is too
    large, is replaced by the reason, which whoever wants it is told."""
    try:
        payload = serializer.dumps(value)
        if len(payload) <= MAX_RESULT:
            return seal(Envelope(task, serializer.name, headers, payload))
        problem = f"it takes {len(payload)} bytes, of at most {MAX_RESULT}; return the key of a larger thing"
    except Exception as error:  # licensed: around user code (a custom serializer, odd values)
        problem = f"{type(value).__qualname__}: {type(error).__qualname__}: {error}"
    return seal(Envelope(task, _NONE, headers, problem.encode(errors="replace")))


def result_headers(data: bytes) -> dict[str, str]:
    """The headers that were sealed with a result."""
    return open_envelope(data).headers


def result_payload(data: bytes, serializer: str) -> bytes:
    """The result, serialized. `CorruptRecord` for damaged bytes, `SerializationFailed` where there is a
    reason instead, or what another serializer wrote."""
    sealed = open_envelope(data)
    if sealed.serializer == serializer:
        return sealed.payload
    if sealed.serializer == _NONE:
        problem = sealed.payload.decode(errors="replace")
        raise SerializationFailed(f"the result of {sealed.task} could not be kept: {problem}")
    raise SerializationFailed(
        f"the result of {sealed.task} was serialized with {sealed.serializer!r}, not with {serializer!r}"
    )


def result_loader(data: bytes, serializer: Serializer) -> Callable[[], Any]:
    """What makes the result; raises as `result_payload`."""
    return lambda: serializer.loads(result_payload(data, serializer.name))


def result_task(data: bytes) -> str:
    """The name of the task that returned it."""
    return open_envelope(data).task


def restore_result(data: bytes, serializer: Serializer, hint: Hint) -> Any:
    """The result: of JSON what its task's hint says it is, else what the serializer makes of it. Raises as
    `result_payload`, and `SerializationFailed` for what is not as declared."""
    payload = result_payload(data, serializer.name)
    if not isinstance(serializer, JsonSerializer):
        return serializer.loads(payload)
    try:
        return hint.decoder.decode(payload)
    except Exception as error:  # licensed: around user code (a class that looks at what it is made of)
        serializer.loads(payload)  # raises for damaged bytes, which are no fault of the hint's
        raise SerializationFailed(
            f"the result of {result_task(data)} {hint.declared}, and what it returned is not that: {error}; "
            "let its annotation say what it returns"
        ) from error


def holds_result(data: bytes) -> bool:
    """Whether these are a result, and not the reason why there is none."""
    return open_envelope(data).serializer != _NONE
