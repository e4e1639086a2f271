"""The event bus and the two planes of extension: observers are told, Arounds wrap.

An `Observer` is told after the fact and cannot change it. An `Around` is a synchronous context manager
around an enqueue, a submit or an attempt (trace context, database sessions). There is no third plane.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Protocol

import msgspec

from glassq.context import JobContext
from glassq.model.events import AttemptStarted, Event, ObserverDetached
from glassq.model.leases import Lease
from glassq.model.runs import Run
from glassq.shielding import Log, passes

log = Log("glassq.telemetry")

Observer = Callable[[Any], None]
"""Receives events of the types it subscribed to, in the thread that caused them; must not block."""
Together = Callable[[Run[Any]], None]
"""Receives several of them at a time, oldest first: all of one type, and of one lane, of one lane each in one
queue, or of one store's verb."""


class Begun(Protocol):
    """An attempt that has begun."""

    def event(self) -> AttemptStarted:
        """What is told of it."""
        ...


class Outgoing(msgspec.Struct):
    """One call on its way into the store. An Around may add to `headers`; they travel with the job.
    `job_id` and `seq` are set once the store has answered. `delay` (seconds) or `eta` (epoch seconds) is set
    for a call that is put off."""

    task: str
    key: str | None
    headers: dict[str, str]
    payload_bytes: int
    job_id: str | None = None
    seq: int | None = None
    delay: float | None = None
    eta: float | None = None
    flow: str | None = None
    """The workflow it belongs to."""


class Sending(msgspec.Struct, frozen=True):
    """What an Around wraps on the producer's side: one append of one or more calls."""

    queue: str
    jobs: Sequence[Outgoing]


class Submitting(msgspec.Struct, frozen=True):
    """What an Around wraps when a workflow is submitted: the appends of its jobs, each of which is wrapped by
    itself, too. `queue` is that of its first step."""

    flow: str
    name: str
    queue: str
    steps: int


class AttemptLinks(Protocol):
    """How headers go from job to job."""

    trail: dict[str, str]
    """For those behind it: an Around may add to it."""

    def trails(self) -> Sequence[dict[str, str]]:
        """What those before it left. A round trip at its first use; never raises."""


class Attempting(msgspec.Struct, frozen=True):
    """What an Around wraps on the worker's side: one attempt, user code only."""

    job: JobContext
    task: str
    headers: dict[str, str]
    time_in_queue: float | None
    links: AttemptLinks | None = None
    """What an Around may know of the jobs before it, and leave to those behind; None where there are none."""


Subject = Sending | Submitting | Attempting
Around = Callable[[Subject], AbstractContextManager[Any]]
Idle = Callable[[], bool]
"""Tells whether an Around has nothing to do for attempts of jobs without headers."""


class _Here(threading.local):
    """What differs between threads."""

    hand_on: Observer | None = None


class Bus:
    """Hands events to whoever subscribed. Nobody listening costs one dictionary look-up."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._observers: dict[type[Event], tuple[Observer, ...]] = {}
        self._prompt: dict[type[Event], tuple[Observer, ...]] = {}
        self.prompt_kinds: frozenset[type[Event]] = frozenset()
        """Of which somebody is to be told promptly."""
        self._patient: dict[type[Event], tuple[tuple[Observer, Together], ...]] = {}
        self._arounds: tuple[Around, ...] = ()
        self._idles: tuple[Idle, ...] = ()
        self.is_idle: Idle = _always
        """Whether no Around has anything to do for attempts of jobs without headers."""
        self.leaves_plain = True
        """Whether plain jobs may stay so inside all that is around them."""
        self._strict: tuple[Around, ...] = ()
        self._here = _Here()
        self.begun: dict[Lease, Begun] = {}
        """The attempts that began last in their lanes and of which the patient are told once they are over,
        for whoever asks what runs. Kept by those who let them begin."""

    def subscribe(self, observer: Observer, *events: type[Event], together: Together | None = None) -> None:
        """Tell `observer` about these event types. One that raises is detached and reported once.

        One that also takes several `together` is patient: of quick jobs, which are many, it may be told a
        few milliseconds late, or once the next longer job has ended.
        """
        with self._lock:
            for kind in events:
                self._observers[kind] = (*self._observers.get(kind, ()), observer)
                if together is None:
                    self._prompt[kind] = (*self._prompt.get(kind, ()), observer)
                else:
                    self._patient[kind] = (*self._patient.get(kind, ()), (observer, together))
            self._note_prompt()

    def unsubscribe(self, observer: Observer) -> None:
        """Stop telling `observer` anything. Unknown observers are ignored."""
        self._remove(observer)

    def wrap(self, around: Around, *, idle: Idle | None = None, leaves_plain: bool = False) -> None:
        """Put `around` inside those that are there already. While all are `idle`, plain jobs cost less.

        One that `leaves_plain` what is plain does not mind that observers are told of it with others."""
        with self._lock:
            self._arounds = (*self._arounds, around)
            if not leaves_plain:
                self._strict = (*self._strict, around)
            self._ask((*self._idles, idle or _never))

    def unwrap(self, around: Around) -> None:
        """Put `around` nowhere any more. Unknown ones are ignored."""
        with self._lock:
            left = [each for each in zip(self._arounds, self._idles, strict=True) if each[0] != around]
            self._arounds, idles = tuple(zip(*left, strict=True)) or ((), ())
            self._strict = tuple(each for each in self._strict if each != around)
            self._ask(idles)

    def _ask(self, idles: tuple[Idle, ...]) -> None:
        # Asked before each plain job, and nearly always of one.
        self._idles = idles
        self.leaves_plain = not self._strict
        self.is_idle = idles[0] if len(idles) == 1 else lambda: all(idle() for idle in idles)

    def emit(self, event: Event) -> None:
        """Tell the observers. Never raises: what an observer raises detaches it."""
        observers = self._observers.get(type(event))
        if observers:
            self._tell(observers, event)

    def is_heard(self, kind: type[Event]) -> bool:
        """Whether anybody is told of such events: for whoever would have to look for what to tell."""
        return bool(self._observers.get(kind))

    def emit_promptly(self, event: Event) -> None:
        """Tell those alone who are not patient. The others are told of it by `emit_late`."""
        self._tell(self._prompt.get(type(event), ()), event)

    def emit_late(self, run: Run[Any]) -> None:
        """Tell those who are patient, together, of what the others were told promptly."""
        if self._here.hand_on is not None:
            return  # it was handed on then, and is emitted to all elsewhere
        for observer, together in self._patient.get(run.kind, ()):
            try:
                together(run)
            except BaseException as error:  # licensed: around observers
                if passes(error):
                    raise
                self._detach(observer, error)

    def emit_together(self, run: Run[Any]) -> None:
        """Tell of all of these, which are alike (see `Together`): those who are patient of all at once, which
        costs a fraction of as many `emit`."""
        if run.kind in self.prompt_kinds or self._here.hand_on is not None:
            for event in run:
                self.emit_promptly(event)
        self.emit_late(run)

    def _tell(self, observers: Sequence[Observer], event: Event) -> None:
        hand_on = self._here.hand_on
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
        for a thread that must not wait for any of them, and attempts no jobs. What it hands on is emitted
        again elsewhere."""
        self._here.hand_on = hand_on
        try:
            yield
        finally:
            del self._here.hand_on

    def around(self, subject: Subject) -> AbstractContextManager[None]:
        """Enter every Around. One that raises while entering or leaving is logged and left out:
        telemetry never decides about a job."""
        arounds = self._arounds
        if len(arounds) != 1:
            return _Wrapped(arounds, subject) if arounds else NOTHING_AROUND
        # As nearly always, and nearly always it has nothing to do: known before anything is made for it.
        try:
            inner = arounds[0](subject)
        except BaseException as error:  # licensed: around observers
            if passes(error):
                raise
            _report_around(error)
            return NOTHING_AROUND
        return inner if inner is NOTHING_AROUND else _Shielded(inner)

    def _remove(self, observer: Observer) -> bool:
        """True when it was subscribed until now."""
        with self._lock:
            found = any(observer in listeners for listeners in self._observers.values())
            for each in (self._observers, self._prompt):
                for kind, listeners in each.items():
                    each[kind] = tuple(one for one in listeners if one != observer)
            for kind, patient in self._patient.items():
                self._patient[kind] = tuple(one for one in patient if one[0] != observer)
            self._note_prompt()
        return found

    def _note_prompt(self) -> None:
        self.prompt_kinds = frozenset(kind for kind, observers in self._prompt.items() if observers)

    def _detach(self, observer: Observer, error: BaseException) -> None:
        if not self._remove(observer):
            return  # it raised in two threads at once, and the other one has reported it
        name = getattr(observer, "__qualname__", type(observer).__qualname__)
        log.error("observer %s raised and is detached", name, exc_info=error)
        self.emit(ObserverDetached(observer=name, error_type=type(error).__name__))


def _never() -> bool:
    return False


def _always() -> bool:
    return True


NOTHING_AROUND: AbstractContextManager[None] = nullcontext()
"""What an Around returns that has nothing to do for its subject: entering this one costs nothing."""


class _Shielded(AbstractContextManager[None]):
    """What one Around made: it sees the body's exception, and can neither swallow nor replace it."""

    __slots__ = ("_entered", "_inner")

    def __init__(self, inner: AbstractContextManager[Any]) -> None:
        self._inner = inner
        self._entered = False

    def __enter__(self) -> None:
        try:
            self._inner.__enter__()
            self._entered = True
        except BaseException as error:  # licensed: around observers
            if passes(error):
                raise
            _report_around(error)

    def __exit__(self, *failure: Any) -> None:
        if not self._entered:
            return
        try:
            self._inner.__exit__(*failure)
        except BaseException as error:  # licensed: around observers
            if error is failure[1]:  # a context manager may pass the body's own exception on
                return
            if passes(error):
                raise
            _report_around(error)


class _Wrapped(AbstractContextManager[None]):
    """Arounds, entered in their order. They see the body's exception, and can neither swallow nor replace
    it."""

    __slots__ = ("_arounds", "_entered", "_subject")

    def __init__(self, arounds: Sequence[Around], subject: Subject) -> None:
        self._arounds = arounds
        self._subject = subject
        self._entered: list[AbstractContextManager[Any]] = []

    def __enter__(self) -> None:
        for around in self._arounds:
            try:
                inner = around(self._subject)
                if inner is NOTHING_AROUND:
                    continue
                inner.__enter__()
            except BaseException as error:  # licensed: around observers
                if passes(error):
                    self.__exit__(type(error), error, error.__traceback__)
                    raise
                _report_around(error)
            else:
                self._entered.append(inner)

    def __exit__(self, *failure: Any) -> None:
        if not self._entered:
            return
        passing: BaseException | None = None
        for inner in reversed(self._entered):
            try:
                inner.__exit__(*failure)
            except BaseException as error:  # licensed: around observers
                if error is failure[1]:  # a context manager may pass the body's own exception on
                    continue
                if passes(error):
                    passing, failure = error, (type(error), error, error.__traceback__)
                else:
                    _report_around(error)
        if passing is not None:
            raise passing


def _report_around(error: BaseException) -> None:
    log.error("an Around raised and was left out of this job", exc_info=error)
