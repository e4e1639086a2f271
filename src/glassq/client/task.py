"""What a decorated function becomes: call it to enqueue (await the call of an `async def`), `.call` it to run
it here."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Coroutine, Iterable, Sequence
from enum import Enum
from typing import Any, Generic, ParamSpec, TypeVar, Unpack
from uuid import UUID

from glassq.client.awaited import AwaitedProducer
from glassq.client.options import CallOption, CallOptions
from glassq.client.packing import Call
from glassq.client.pending import PendingReceipt
from glassq.errors import BadOption
from glassq.model.compositions import Step
from glassq.model.jobs import Receipt
from glassq.model.names import UNORDERED, Key, check_key, check_name, nearest
from glassq.registry import KeyOf, TaskDefinition

P = ParamSpec("P")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)

_NO_OPTIONS = CallOptions()


class Signature(Step, Generic[R_co]):
    """A call that is not enqueued yet. `app.enqueue_many` takes a list of them; put together by `>>`, `<<`
    and `|`, they are a workflow, which `app.submit` takes. One object is one step of it."""

    def __init__(self, call: Call, name: str | None = None) -> None:
        self.enclosed = call
        self.name = name or call.task.func.__name__
        """Of the step: what those behind it know it by."""

    def named(self, name: str) -> Signature[R_co]:
        """The same call as a step of this name, which else is the function's. It is another step than this
        one. Raises `BadOption`."""
        return Signature(self.enclosed, check_name("named", name))

    def __repr__(self) -> str:
        # Arguments are left out on purpose: they may be secrets, and reprs end up in logs.
        return f"<signature of {self.enclosed.task.name}>"


def calls_of(signatures: Iterable[Signature[Any]]) -> Iterable[Call]:
    """Their calls: of a list a list, of anything else one by one. `BadOption` for what is no signature."""
    calls = (_enclosed(signature, at) for at, signature in enumerate(signatures))
    return list(calls) if isinstance(signatures, Sequence) else calls


def _enclosed(signature: object, at: int) -> Call:
    if isinstance(signature, Signature):
        return signature.enclosed
    what = type(signature).__name__
    raise BadOption("signatures", f"number {at} is a {what}, no call to enqueue; make one by task.s(...)")


class _Bound(Generic[P, R]):
    """A task together with options for the calls made through it."""

    def __init__(
        self, definition: TaskDefinition, producer: AwaitedProducer, options: CallOptions = _NO_OPTIONS
    ) -> None:
        self.definition = definition
        self._producer = producer
        self._options = options
        self._key_of = key_reader(definition) if options.key is None else None

    def enqueue(self, *args: P.args, **kwargs: P.kwargs) -> Receipt[R]:
        """Enqueue this call and return its receipt once the store has acknowledged it. One round trip.

        Raises `TypeError` for arguments the function does not take, `SerializationFailed`,
        `PayloadTooLarge`, `StorageError`; nothing is stored then. Blocks: on an event loop, `aenqueue`.
        """
        return self._producer.enqueue(self._bind(args, kwargs))

    async def aenqueue(self, *args: P.args, **kwargs: P.kwargs) -> Receipt[R]:
        """As `enqueue`, awaited. One round trip, which calls that are awaited at the same time share.

        When it is cancelled before the call is on its way, nothing is stored; afterwards the cancellation
        waits for the store, and its cause (`EnqueueUncertain`) names the job that is stored.
        """
        return await self._producer.aenqueue(self._bind(args, kwargs))

    def s(self, *args: P.args, **kwargs: P.kwargs) -> Signature[R]:
        """This call as a signature: checked when it is enqueued, not now."""
        return Signature(self._bind(args, kwargs))

    def _bind(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call:
        key = self._options.key if self._key_of is None else self._key_of(args, kwargs)
        return Call(self.definition, args, kwargs, key, self._options)


class BoundTask(_Bound[P, R]):
    """A task that is a plain function, together with options for the calls made through it."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Receipt[R]:
        """See `enqueue`."""
        return self._producer.enqueue(self._bind(args, kwargs))

    def options(self, **options: Unpack[CallOption]) -> BoundTask[P, R]:
        """The same task for calls with other options, added to those given so far.

        `key`: the ordering key itself, or `glassq.UNORDERED`, which makes a lane of each job. `delay`
        (seconds or timedelta) or `eta` (aware datetime or epoch seconds): joins the tail of its lane then, by
        the store's clock. `ttl` (seconds from when it may run): past it the job is not begun and ends as
        expired. `dedup_id`: a second call with it within `dedup_window` (300 s) of the first is not stored,
        its receipt says `duplicate`. `unique=True`: the same until the first is settled, by `dedup_id` or
        else by the same arguments and key. `priority`: a `Priority`. `result_ttl` (seconds): keeps the result
        and the history so long after the job has ended. `depends_on`: receipts or ids of jobs, in a list or
        under names: it runs once all of them succeeded; `on_failure` says what becomes of it when one did
        not: "cancel" (default), "run" or "wait". Raises `BadOption`.
        """
        return BoundTask(self.definition, self._producer, self._options.with_(options))


class BoundAsyncTask(_Bound[P, R]):
    """A task that is an `async def`, together with options for the calls made through it."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, Receipt[R]]:
        """This call, to be awaited: `receipt = await charge(...)`. Until then nothing is enqueued, as a
        coroutine does nothing until then; see `aenqueue`."""
        # Declared as what it is to callers: type checkers complain of a coroutine that is not awaited.
        call = self._bind(args, kwargs)
        return PendingReceipt(self._producer, call, sys._getframe(1))  # noqa: SLF001 - as warnings do

    def options(self, **options: Unpack[CallOption]) -> BoundAsyncTask[P, R]:
        """See `BoundTask.options`."""
        return BoundAsyncTask(self.definition, self._producer, self._options.with_(options))


class Task(BoundTask[P, R]):
    """A registered function. Calling it enqueues; `call` runs it."""

    def __init__(self, definition: TaskDefinition, producer: AwaitedProducer) -> None:
        super().__init__(definition, producer)
        functools.update_wrapper(self, definition.func)

    def call(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run the function now, here, in this thread; nothing is enqueued or counted."""
        result: R = self.definition.func(*args, **kwargs)
        return result

    def __repr__(self) -> str:
        return f"<task {self.definition.name} on {self.definition.queue}>"


class AsyncTask(BoundAsyncTask[P, R]):
    """A registered `async def`. Awaiting a call of it enqueues; `call` runs it."""

    def __init__(self, definition: TaskDefinition, producer: AwaitedProducer) -> None:
        super().__init__(definition, producer)
        functools.update_wrapper(self, definition.func)

    def call(self, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, R]:
        """Run it now, on this event loop, when this is awaited; nothing is enqueued or counted."""
        coroutine: Coroutine[Any, Any, R] = self.definition.func(*args, **kwargs)
        return coroutine

    def __repr__(self) -> str:
        return f"<async task {self.definition.name} on {self.definition.queue}>"


def signature_of(task: TaskDefinition, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Signature[Any]:
    """A call of a registered task, for those who have only its name. Raises `TypeError` for arguments it does
    not take."""
    task.codec.check_call(args, kwargs)
    read = key_reader(task)
    return Signature(Call(task, args, kwargs, None if read is None else read(args, kwargs), _NO_OPTIONS))


KeyReader = Callable[[tuple[Any, ...], dict[str, Any]], Key]
"""Tells the ordering key of a call. `TypeError` for arguments the task does not take."""


def key_reader(task: TaskDefinition) -> KeyReader | None:
    """How to find the ordering key by what the decorator said: an argument's value or a callable's answer.
    None: its calls have no key.

    Text is the key itself; whole numbers, UUIDs and Enum values are taken by their text. None means no key,
    `UNORDERED` one that nothing else has.
    """
    if task.key is None:
        return None
    if task.key is UNORDERED:
        return lambda _args, _kwargs: UNORDERED
    value_of = task.key if callable(task.key) else _argument(task.signature, task.key)
    check = task.codec.check_call

    def read(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Key:
        check(args, kwargs)
        value = value_of(*args, **kwargs)
        return check_key(value) if type(value) is str else _as_text(value)

    return read


def _argument(signature: inspect.Signature, name: str) -> Callable[..., Any]:
    """Reads one argument of a call that the function takes."""
    parameter = signature.parameters[name]
    place = None if parameter.kind is parameter.KEYWORD_ONLY else list(signature.parameters).index(name)
    # By this name a function may take something else, into its `**kwargs`.
    by_name = parameter.kind is not parameter.POSITIONAL_ONLY

    def value_of(*args: Any, **kwargs: Any) -> Any:
        if place is not None and place < len(args):
            return args[place]
        return kwargs.get(name, parameter.default) if by_name else parameter.default

    return value_of


def _as_text(value: Any) -> Key:
    if value is None or value is UNORDERED:
        key: Key = value
        return key
    if isinstance(value, Enum):
        return _as_text(value.value)
    if isinstance(value, int | UUID) and not isinstance(value, bool):
        value = str(value)
    return check_key(value)


def check_key_of(key: KeyOf, signature: inspect.Signature, func: Callable[..., Any]) -> None:
    """`BadOption` unless the decorator's `key` is a callable, names one argument of the function, or is
    `UNORDERED`."""
    if key is None or key is UNORDERED or callable(key):
        return
    if not isinstance(key, str):
        raise BadOption(
            "key", f"names an argument, is a callable or glassq.UNORDERED, got {type(key).__name__}"
        )
    single = [
        name
        for name, parameter in signature.parameters.items()
        if parameter.kind not in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    ]
    if key not in single:
        raise BadOption(
            "key", f"{func.__qualname__} has no argument {key!r} to take it from", nearest(key, single)
        )
