"""The event bus and the two planes of extension: observers are told, Arounds wrap.

An `Observer` is told after the fact and cannot change it. An `Around` is a synchronous context manager
around an enqueue or an attempt (trace context, database sessions). There is no third plane.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any

import msgspec

from glassq.context import JobContext
from glassq.model.events import Event, ObserverDetached
from glassq.shielding import Log, passes

log = Log("glassq.telemetry")

Observer = Callable[[Any], None]
"""Receives events of the types it subscribed to, in the thread that caused them; must not block."""


class Outgoing(msgspec.Struct):
    """One call on its way into the store. An Around may add to `headers`; they travel with the job.
    `job_id` and `seq` are set once the store has answered."""

    task: str
    key: str | None
    headers: dict[str, str]
    payload_bytes: int
    job_id: str | None = None
    seq: int | None = None


class Sending(msgspec.Struct, frozen=True):
    """What an Around wraps on the producer's side: one append of one or more calls."""

    queue: str
    jobs: Sequence[Outgoing]


class Attempting(msgspec.Struct, frozen=True):
    """What an Around wraps on the worker's side: one attempt, user code only."""

    job: JobContext
    task: str
    headers: dict[str, str]
    time_in_queue: float | None


Around = Callable[[Sending | Attempting], AbstractContextManager[Any]]


class Bus:
    """Hands events to whoever subscribed. Nobody listening costs one dictionary look-up."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._observers: dict[type[Event], tuple[Observer, ...]] = {}
        self._arounds: tuple[Around, ...] = ()
        self._here = threading.local()

    def subscribe(self, observer: Observer, *events: type[Event]) -> None:
        """Tell `observer` about these event types. One that raises is detached and reported once."""
        with self._lock:
            for kind in events:
                self._observers[kind] = (*self._observers.get(kind, ()), observer)

    def unsubscribe(self, observer: Observer) -> None:
        """Stop telling `observer` anything. Unknown observers are ignored."""
        self._remove(observer)

    def wrap(self, around: Around) -> None:
        """Put `around` inside those that are there already."""
        with self._lock:
            self._arounds = (*self._arounds, around)

    def emit(self, event: Event) -> None:
        """Tell the observers. Never raises: what an observer raises detaches it."""
        observers = self._observers.get(type(event), ())
        if not observers:
            return
        hand_on: Observer | None = getattr(self._here, "hand_on", None)
        if hand_on is not None:
            hand_on(event)
            return
        for observer in observers:
            try:
                observer(event)
            except BaseException as error:  # licensed: around observers
                if passes(error):
                    raise
                self._detach(observer, error)

    @contextmanager
    def handing_on(self, hand_on: Observer) -> Iterator[None]:
        """While this lasts, what the calling thread has to tell goes to `hand_on` instead of the observers:
        for a thread that must not wait for any of them. What it hands on is emitted again elsewhere."""
        self._here.hand_on = hand_on
        try:
            yield
        finally:
            del self._here.hand_on

    @contextmanager
    def around(self, subject: Sending | Attempting) -> Iterator[None]:
        """Enter every Around. One that raises while entering or leaving is logged and left out:
        telemetry never decides about a job."""
        if not self._arounds:
            yield
            return
        with ExitStack() as stack:
            for around in self._arounds:
                try:
                    stack.enter_context(_Guarded(around(subject), self._report_around))
                except BaseException as error:  # licensed: around observers
                    if passes(error):
                        raise
                    self._report_around(error)
            yield

    def _remove(self, observer: Observer) -> bool:
        """True when it was subscribed until now."""
        found = False
        with self._lock:
            for kind, listeners in self._observers.items():
                found = found or observer in listeners
                self._observers[kind] = tuple(each for each in listeners if each != observer)
        return found

    def _detach(self, observer: Observer, error: BaseException) -> None:
        if not self._remove(observer):
            return  # it raised in two threads at once, and the other one has reported it
        name = getattr(observer, "__qualname__", type(observer).__qualname__)
        log.error("observer %s raised and is detached", name, exc_info=error)
        self.emit(ObserverDetached(observer=name, error_type=type(error).__name__))

    @staticmethod
    def _report_around(error: BaseException) -> None:
        log.error("an Around raised and was left out of this job", exc_info=error)


class _Guarded(AbstractContextManager[None]):
    """An Around that sees the body's exception but can neither swallow nor replace it."""

    def __init__(self, inner: AbstractContextManager[Any], report: Callable[[BaseException], None]) -> None:
        self._inner = inner
        self._report = report

    def __enter__(self) -> None:
        self._inner.__enter__()

    def __exit__(self, *failure: Any) -> None:
        try:
            self._inner.__exit__(*failure)
        except BaseException as error:  # licensed: around observers
            if error is failure[1]:  # a context manager may pass the body's own exception on
                return
            if passes(error):
                raise
            self._report(error)
