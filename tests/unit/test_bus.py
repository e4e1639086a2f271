"""Observers are told and Arounds wrap; neither can hurt a job."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest

from glassq.model.events import Event, LaneLeft, ObserverDetached, QueueDeclared, TaskDeclared
from glassq.model.leases import Lease
from glassq.telemetry import Bus, Outgoing, Sending

DECLARED = QueueDeclared(queue="payments")
SENDING = Sending("payments", [Outgoing("m.f", None, {}, 7)])


class Recorder:
    """Keeps what it hears."""

    def __init__(self) -> None:
        self.heard: list[Event] = []

    def __call__(self, event: Event) -> None:
        """Hear."""
        self.heard.append(event)


class Faulty(Recorder):
    """Keeps what it hears, then raises."""

    def __call__(self, event: Event) -> None:
        """Hear, and break."""
        super().__call__(event)
        message = "observer broke"
        raise ValueError(message)


# -- observers -----------------------------------------------------------------------------------------


def test_observers_hear_what_they_subscribed_to() -> None:
    """Exactly the subscribed types, in the order they were emitted, in the emitting thread."""
    bus, recorder = Bus(), Recorder()
    threads: list[int] = []
    bus.subscribe(recorder, QueueDeclared, TaskDeclared)
    bus.subscribe(lambda _: threads.append(threading.get_ident()), QueueDeclared)
    events: list[Event] = [DECLARED, TaskDeclared(queue="payments", task="m.f"), DECLARED]
    for event in [*events, LaneLeft(lease=Lease("payments", "", 1))]:
        bus.emit(event)
    assert recorder.heard == events
    assert threads == [threading.get_ident()] * 2


def test_unsubscribed_observers_hear_nothing() -> None:
    """Leaving works for every type at once, and twice."""
    bus, recorder, other = Bus(), Recorder(), Recorder()
    bus.subscribe(recorder, QueueDeclared, TaskDeclared)
    bus.subscribe(other, QueueDeclared)
    bus.unsubscribe(recorder)
    bus.unsubscribe(recorder)
    bus.emit(DECLARED)
    bus.emit(TaskDeclared(queue="payments", task="m.f"))
    assert recorder.heard == []
    assert other.heard == [DECLARED]


def test_an_observer_that_raises_is_detached_once(caplog: pytest.LogCaptureFixture) -> None:
    """It hears nothing more of any type, the others hear all, and it is reported one time."""
    bus, before, faulty, after, reports = Bus(), Recorder(), Faulty(), Recorder(), Recorder()
    bus.subscribe(before, QueueDeclared)
    bus.subscribe(faulty, QueueDeclared, TaskDeclared)
    bus.subscribe(after, QueueDeclared)
    bus.subscribe(reports, ObserverDetached)
    with caplog.at_level(logging.ERROR, "glassq.telemetry"):
        for _ in range(3):
            bus.emit(DECLARED)
        bus.emit(TaskDeclared(queue="payments", task="m.f"))
    assert faulty.heard == [DECLARED]
    assert before.heard == after.heard == [DECLARED] * 3
    assert reports.heard == [ObserverDetached(observer="Faulty", error_type="ValueError")]
    assert [record.getMessage() for record in caplog.records] == ["observer Faulty raised and is detached"]


def test_an_observer_that_raises_in_two_threads_is_reported_once() -> None:
    """Both threads were already inside it: still one report."""
    bus, reports = Bus(), Recorder()
    both = threading.Barrier(2)

    def faulty(_: Event) -> None:
        both.wait(timeout=10)
        message = "together"
        raise ValueError(message)

    bus.subscribe(faulty, QueueDeclared)
    bus.subscribe(reports, ObserverDetached)
    threads = [threading.Thread(target=bus.emit, args=(DECLARED,)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(reports.heard) == 1


def test_an_observer_of_detachments_may_fail_too() -> None:
    """No endless report about the one who takes the reports."""
    bus, faulty, reporter, healthy = Bus(), Faulty(), Faulty(), Recorder()
    bus.subscribe(faulty, QueueDeclared)
    bus.subscribe(reporter, ObserverDetached)
    bus.subscribe(healthy, ObserverDetached)
    bus.emit(DECLARED)
    assert len(reporter.heard) == 1
    assert len(healthy.heard) == 2


def test_observers_without_a_name_are_reported_too() -> None:
    """A partial has no `__qualname__`; its type stands in."""
    bus, reports = Bus(), Recorder()
    bus.subscribe(partial(Faulty().__call__), QueueDeclared)
    bus.subscribe(reports, ObserverDetached)
    bus.emit(DECLARED)
    assert reports.heard == [ObserverDetached(observer="partial", error_type="ValueError")]


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt, GeneratorExit])
def test_outside_the_main_thread_no_observer_ends_a_thread(error: type[BaseException]) -> None:
    """No signal handler runs there, so even a `SystemExit` is the observer's own: it is detached, the thread
    and the job it works on go on. So it is with an Around."""
    bus, reports, steps = Bus(), Recorder(), list[str]()

    def exits(_: Any) -> Any:
        raise error

    def run() -> None:
        bus.emit(DECLARED)
        with bus.around(SENDING):
            steps.append("body")

    bus.subscribe(exits, QueueDeclared)
    bus.subscribe(reports, ObserverDetached)
    bus.wrap(exits)
    thread = threading.Thread(target=run)
    thread.start()
    thread.join(10)
    assert steps == ["body"]
    assert [type(report) for report in reports.heard] == [ObserverDetached]


def test_what_is_handed_on_is_told_by_others() -> None:
    """A thread that must not wait hands its events on; observers hear of them when they are emitted again."""
    bus, heard, handed = Bus(), Recorder(), list[Event]()
    bus.subscribe(heard, QueueDeclared)
    with bus.handing_on(handed.append):
        bus.emit(DECLARED)
    assert (heard.heard, handed) == ([], [DECLARED])
    bus.emit(DECLARED)
    assert heard.heard == [DECLARED]


def test_interrupts_are_not_swallowed() -> None:
    """Ctrl-C while an observer runs ends the program, not the observer."""
    bus = Bus()

    def interrupted(_: Event) -> None:
        raise KeyboardInterrupt

    bus.subscribe(interrupted, QueueDeclared)
    with pytest.raises(KeyboardInterrupt):
        bus.emit(DECLARED)


# -- Arounds -------------------------------------------------------------------------------------------


class Wrapper:
    """An Around that writes down what it sees, and fails where it is told to."""

    def __init__(self, name: str, diary: list[Any], *, fails: str = "", swallows: bool = False) -> None:
        self.name = name
        self.diary = diary
        self.fails = fails
        self.swallows = swallows

    def __call__(self, subject: Any) -> Wrapper:
        """Wrap this subject."""
        self.diary.append((self.name, "called", subject))
        return self._go("call")

    def __enter__(self) -> None:
        self._go("enter")
        self.diary.append((self.name, "enter"))

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> bool:
        self.diary.append((self.name, "exit", error))
        self._go("exit")
        return self.swallows

    def _go(self, where: str) -> Wrapper:
        if self.fails == where:
            message = f"broke at {where}"
            raise OSError(message)
        return self


def steps(diary: list[Any]) -> list[str]:
    """The diary without subjects and errors."""
    return [f"{entry[0]} {entry[1]}" if isinstance(entry, tuple) else entry for entry in diary]


def test_arounds_nest_in_the_order_they_came() -> None:
    """The first is outermost; each is given the subject."""
    bus, diary = Bus(), list[Any]()
    bus.wrap(Wrapper("a", diary))
    bus.wrap(Wrapper("b", diary))
    with bus.around(SENDING):
        diary.append("body")
    assert steps(diary) == ["a called", "a enter", "b called", "b enter", "body", "b exit", "a exit"]
    assert diary[0] == ("a", "called", SENDING)


def test_an_around_can_be_taken_away() -> None:
    """The others stay as they were; one that is not there is ignored."""
    bus, diary = Bus(), list[Any]()
    first, second = Wrapper("a", diary), Wrapper("b", diary)
    bus.wrap(first)
    bus.wrap(second)
    for _ in range(2):
        bus.unwrap(first)
    with bus.around(SENDING):
        diary.append("body")
    assert steps(diary) == ["b called", "b enter", "body", "b exit"]


@pytest.mark.parametrize("where", ["call", "enter", "exit"])
@pytest.mark.parametrize("body_fails", [False, True])
def test_a_failing_around_never_touches_the_body(
    where: str, body_fails: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """Wherever it raises: the body runs once, ends as it would have, and the other Arounds see it all."""
    bus, diary = Bus(), list[Any]()
    bus.wrap(Wrapper("a", diary))
    bus.wrap(Wrapper("bad", diary, fails=where))
    bus.wrap(Wrapper("c", diary))
    error = RuntimeError("of the body") if body_fails else None
    caught: BaseException | None = None
    try:
        with bus.around(SENDING):
            diary.append("body")
            if error:
                raise error
    except RuntimeError as raised:
        caught = raised
    assert caught is error
    others = [step for step in steps(diary) if not step.startswith("bad")]
    assert others == ["a called", "a enter", "c called", "c enter", "body", "c exit", "a exit"]
    assert ("a", "exit", error) in diary
    assert ("c", "exit", error) in diary
    assert [record.getMessage() for record in caplog.records] == [
        "an Around raised and was left out of this job"
    ]


@pytest.mark.parametrize("error", [ValueError("x"), StopIteration(), KeyboardInterrupt(), GeneratorExit()])
def test_the_bodys_exception_passes_through(error: BaseException, caplog: pytest.LogCaptureFixture) -> None:
    """The very object, though an Around swallows, one re-raises it, and one is a generator."""
    bus, diary = Bus(), list[Any]()

    @contextmanager
    def generator(_: Any) -> Iterator[None]:
        try:
            yield
        except BaseException as seen:
            diary.append(seen)
            raise

    bus.wrap(Wrapper("outer", diary))
    bus.wrap(generator)
    bus.wrap(Wrapper("swallower", diary, swallows=True))
    with pytest.raises(type(error)) as caught, bus.around(SENDING):
        raise error
    assert caught.value is error
    assert diary.count(error) == 1
    assert ("outer", "exit", error) in diary
    assert not caplog.records


def test_passing_the_bodys_exception_on_is_no_fault(caplog: pytest.LogCaptureFixture) -> None:
    """An Around that ends with `raise` of what it was shown is not reported as broken."""

    class PassesOn(Wrapper):
        def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> bool:
            super().__exit__(kind, error, trace)
            if error is not None:
                raise error
            return self.swallows

    bus, diary, error = Bus(), list[Any](), ValueError("of the body")
    bus.wrap(PassesOn("a", diary))
    with pytest.raises(ValueError, match="of the body") as caught, bus.around(SENDING):
        raise error
    assert caught.value is error
    assert diary[-1] == ("a", "exit", error)
    assert not caplog.records


def test_an_around_that_is_no_context_manager_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    """Anything may be handed to `wrap`; a job does not suffer from it."""
    bus, ran = Bus(), list[int]()
    bus.wrap(lambda _: None)  # type: ignore[arg-type, return-value]
    with bus.around(SENDING):
        ran.append(1)
    assert ran == [1]
    assert len(caplog.records) == 1


def test_without_arounds_the_body_just_runs() -> None:
    """The body's exception passes here too."""
    error = KeyError()
    with pytest.raises(KeyError) as caught, Bus().around(SENDING):
        raise error
    assert caught.value is error
