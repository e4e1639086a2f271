"""The arguments of one task's calls, to bytes and back: checked by the producer, restored by the worker."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Sequence
from functools import cached_property
from typing import Any

from glassq.codec.hints import Hint, returned_hint
from glassq.codec.likeness import difference, same
from glassq.codec.restoring import Call, NotAsDeclared, Reader, Restorer
from glassq.codec.serializers import UNREADABLE, JsonSerializer, Serializer
from glassq.errors import CorruptRecord, PayloadTooLarge, SerializationFailed

DEFAULT_MAX_PAYLOAD = 262_144
"""Bytes."""

_MAX_SHAPES = 256
"""Shapes of valid calls remembered per task: with `**kwargs` there are endlessly many."""

_ADVICE = "; the task's type hints decide how it arrives, so let them say what is given"


class ArgumentCodec:
    """Encodes and decodes the calls of one task.

    With JSON, what the task will receive is what the caller passed, or `encode` raises: arguments are
    decoded again by the task's hints and compared, unless all are of kinds to which nothing can happen.
    Other serializers are trusted to be faithful.
    """

    def __init__(
        self, signature: inspect.Signature, func: Callable[..., Any], serializer: Serializer, task: str
    ) -> None:
        self._signature = signature
        self._func = func
        self._serializer = serializer
        self._task = task
        self._restores = isinstance(serializer, JsonSerializer)
        self._known_shapes: set[tuple[object, ...]] = set()
        self._sure_kinds: set[tuple[object, ...]] = set()
        """The kinds of arguments of calls that the task takes, and to which nothing happens on their way."""
        self._whole: set[int] = set()  # so many positional arguments are a valid call by themselves

    def encode(
        self,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        limit: int = DEFAULT_MAX_PAYLOAD,
        later: Collection[str] = (),
    ) -> bytes:
        """The bytes of a call, its positional arguments still positional. Arguments that are given `later`
        count as given.

        `TypeError` when the task does not take these arguments; `SerializationFailed`, naming the
        argument, when one cannot be serialized or would arrive changed; `PayloadTooLarge` over `limit` bytes.
        """
        # By what they are, and not by the types themselves: those of a caller may not be hashable.
        kinds = (*map(id, map(type, args)), *kwargs, *map(id, map(type, kwargs.values())))
        is_sure = kinds in self._sure_kinds and not later
        if not is_sure:
            self._check_whole(args, kwargs, later)
        payload = self._dump(args, kwargs)
        if len(payload) > limit:
            raise PayloadTooLarge(f"a call of {self._task}", len(payload), limit)
        if self._restores and not is_sure:
            self._check_arrival(payload, args, kwargs)
            if not later and self._restorer.keeps(args, kwargs) and len(self._sure_kinds) < _MAX_SHAPES:
                self._sure_kinds.add(kinds)
        return payload

    def decode(self, payload: bytes, later: Collection[str] = ()) -> Call:
        """Positional and keyword arguments; `CorruptRecord` when the task cannot be called with them and
        those that are given `later`."""
        try:
            args, kwargs = call = self._restorer.restore(payload) if self._restores else self._load(payload)
        except (NotAsDeclared, *UNREADABLE) as error:
            raise self._unreadable(error) from error
        if not (kwargs or later) and len(args) in self._whole:
            return call
        try:
            self._check_whole(args, kwargs, later)
        except TypeError as error:
            raise CorruptRecord(
                f"{self._task}: this job was enqueued for another signature: {error}"
            ) from error
        if not (kwargs or later):
            self._whole.add(len(args))
        return call

    def reader(self, call: Call) -> Reader:
        """What decodes calls like this one, which was decoded here, in less time than `decode`. Where it
        raises one of `UNREADABLE`, `decode` knows what is in the bytes."""
        args, kwargs = call
        quick = None if kwargs or not self._restores else self._restorer.reader(len(args))
        return quick or self.decode

    def may_read_ahead(self, reader: Reader) -> bool:
        """Whether calls may be decoded by this before their turn: it runs no code of the program's own."""
        return reader != self.decode and self._restorer.runs_nothing

    @property
    def serializer(self) -> Serializer:
        """What makes bytes of values."""
        return self._serializer

    def restore_given(self, argument: str, values: Sequence[bytes], *, several: bool) -> Any:
        """One argument of a call, serialized by itself, or as a list of `several`: what it is by the task's
        hint. `CorruptRecord` when it cannot be that."""
        try:
            if self._restores:
                value = b"[" + b",".join(values) + b"]" if several else values[0]
                return self._restorer.keyword(argument).decoder.decode(value)
            loaded = [self._serializer.loads(each) for each in values]
            return loaded if several else loaded[0]
        except Exception as error:  # licensed: around user code (a custom serializer)
            raise CorruptRecord(
                f"{self._task}: what was left for its argument {argument!r} cannot be that: "
                f"{type(error).__qualname__}: {error}"
            ) from error

    @cached_property
    def returned(self) -> Hint:
        """What the task's hint says of its results."""
        return returned_hint(self._signature, self._func)

    @cached_property
    def _restorer(self) -> Restorer:
        return Restorer(self._signature, self._func)

    def _check_whole(self, args: Sequence[Any], kwargs: dict[str, Any], later: Collection[str]) -> None:
        self.check_call(args, {**kwargs, **dict.fromkeys(later)} if later else kwargs)

    def check_call(self, args: Sequence[Any], kwargs: dict[str, Any]) -> None:
        """`TypeError` as the call itself would raise it."""
        # `bind` costs more than all the rest of encoding; whether it succeeds depends on nothing but this.
        shape = (len(args), *kwargs)
        if shape in self._known_shapes:
            return
        try:
            self._signature.bind(*args, **kwargs)
        except TypeError as error:
            name = getattr(self._func, "__qualname__", self._task)
            raise TypeError(f"{name}() {error}") from None
        if len(self._known_shapes) < _MAX_SHAPES:
            self._known_shapes.add(shape)

    def _dump(self, given: Sequence[Any], kwargs: dict[str, Any]) -> bytes:
        try:
            payload = self._serializer.dumps([[*given], kwargs])
        except Exception as error:  # licensed: around user code (a custom serializer, odd arguments)
            raise self._unserializable(given, kwargs, error) from error
        if not isinstance(payload, bytes):
            raise SerializationFailed(
                f"{self._task}: the serializer {self._serializer.name!r} returned "
                f"{type(payload).__qualname__} instead of bytes"
            )
        return payload

    def _unserializable(
        self, given: Sequence[Any], kwargs: dict[str, Any], error: Exception
    ) -> SerializationFailed:
        """The error for the first argument that fails alone; for the call when each one passes."""
        for name, declared, value in self._named(given, kwargs):
            try:
                self._serializer.dumps(value)
            except Exception as fault:  # licensed: around user code
                return self._failed(name, declared, value, f"{type(fault).__qualname__}: {fault}")
        return SerializationFailed(
            f"{self._task}: its arguments cannot be serialized: {type(error).__qualname__}: {error}"
        )

    def _check_arrival(self, payload: bytes, given: Sequence[Any], kwargs: dict[str, Any]) -> None:
        """`SerializationFailed` unless the task will receive what was given."""
        try:
            args_back, kwargs_back = self._restorer.restore(payload)
        except NotAsDeclared as mismatch:
            values = {name: value for name, _, value in self._named(given, kwargs)}
            raise self._failed(
                mismatch.argument, mismatch.hint.declared, values.get(mismatch.argument), mismatch.detail
            ) from mismatch.__cause__
        except UNREADABLE as error:
            raise SerializationFailed(f"{self._task}: its arguments do not come back: {error}") from error
        if same((given, kwargs), (args_back, kwargs_back)):
            return
        arrived = [*args_back, *kwargs_back.values()]
        for (name, declared, value), back in zip(self._named(given, kwargs), arrived, strict=True):
            if lost := difference(value, back, name):
                raise self._failed(name, declared, value, lost + _ADVICE)

    def _named(self, given: Sequence[Any], kwargs: dict[str, Any]) -> list[tuple[str, str, Any]]:
        """Each argument with its name and what its parameter declares, in the order of the call."""
        if not self._restores:
            names = [*self._signature.parameters]
            positions = [names[i] if i < len(names) else str(i) for i in range(len(given))]
            return [(name, "", value) for name, value in zip(positions, given, strict=True)] + [
                (name, "", value) for name, value in kwargs.items()
            ]
        named = []
        for index, value in enumerate(given):
            name, hint = self._restorer.positional(index)
            named.append((name, hint.declared, value))
        return named + [
            (name, self._restorer.keyword(name).declared, value) for name, value in kwargs.items()
        ]

    def _failed(self, argument: str, declared: str, value: Any, detail: str) -> SerializationFailed:
        middle = f"{declared} and was" if declared else "was"
        return SerializationFailed(
            f"{self._task}: argument {argument!r} {middle} given {type(value).__qualname__}: {detail}"
        )

    def _unreadable(self, error: Exception) -> CorruptRecord:
        if isinstance(error, NotAsDeclared):
            return CorruptRecord(
                f"{self._task}: the stored argument {error.argument!r} {error.hint.declared}, "
                "and cannot be restored as that"
            )
        return CorruptRecord(f"{self._task}: the stored arguments cannot be read: {error}")

    def _load(self, payload: bytes) -> Call:
        try:
            call = self._serializer.loads(payload)
        except Exception as error:  # licensed: around user code (a custom serializer)
            raise CorruptRecord(
                f"{self._task}: the serializer {self._serializer.name!r} cannot read the stored "
                f"arguments: {type(error).__qualname__}: {error}"
            ) from error
        match call:
            case [list() | tuple() as args, dict() as kwargs] if all(
                isinstance(name, str) for name in kwargs
            ):
                return (*args,), kwargs
        raise CorruptRecord(
            f"{self._task}: the serializer {self._serializer.name!r} did not return the arguments of a call"
        )
