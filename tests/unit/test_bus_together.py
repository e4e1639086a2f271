"""Observers that take several events together hear the same as those that are told one by one."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest

from glassq.model.events import (
    AttemptSettled,
    AttemptStarted,
    Event,
    LaneClaimed,
    LaneLeft,
    ObserverDetached,
    QueueDeclared,
    StorageCalled,
    TaskDeclared,
)
from glassq.model.leases import ClaimCause, Grant, Lease
from glassq.model.runs import Listed
from glassq.model.verdicts import Action, Outcome
from glassq.observe.health import Health
from glassq.observe.prometheus import observe_metrics
from glassq.observe.running import running_on
from glassq.telemetry import Bus, Subject
from glassq.worker.comings import Comings, Leavings
from tests.unit.observing import SAMPLED, MovedClock, settled, started

EVENTS: list[Event] = [started("orders/p:1"), started("orders/p:2"), started("orders/p:3")]


class Ear:
    """Hears events one by one, or several."""

    def __init__(self, bus: Bus, *, patient: bool) -> None:
        self.heard: list[Any] = []
        bus.subscribe(self.one, AttemptStarted, together=self.several if patient else None)

    def one(self, event: Event) -> None:
        """One."""
        self.heard.append(event)

    def several(self, events: Sequence[Event]) -> None:
        """Several."""
        self.heard.append(list(events))


def test_one_event_is_told_to_all_alike() -> None:
    """As if nobody was patient."""
    bus = Bus()
    ears = Ear(bus, patient=False), Ear(bus, patient=True)
    bus.emit(EVENTS[0])
    assert [ear.heard for ear in ears] == [[EVENTS[0]], [EVENTS[0]]]


def test_several_events_are_told_together_to_those_who_are_patient() -> None:
    """And one by one, in their order, to the others."""
    bus = Bus()
    prompt, patient = Ear(bus, patient=False), Ear(bus, patient=True)
    bus.emit_together(Listed(EVENTS))
    assert (prompt.heard, patient.heard) == (EVENTS, [EVENTS])


def test_what_is_told_promptly_is_told_to_the_patient_later() -> None:
    """Each of them hears of it once."""
    bus = Bus()
    prompt, patient = Ear(bus, patient=False), Ear(bus, patient=True)
    for event in EVENTS:
        bus.emit_promptly(event)
    assert (prompt.heard, patient.heard) == (EVENTS, [])
    bus.emit_late(Listed(EVENTS))
    assert (prompt.heard, patient.heard) == (EVENTS, [EVENTS])


def test_what_is_handed_on_is_handed_on_once() -> None:
    """Whoever emits it again tells all."""
    bus, handed = Bus(), list[Event]()
    ears = Ear(bus, patient=False), Ear(bus, patient=True)
    with bus.handing_on(handed.append):
        bus.emit_promptly(EVENTS[0])
        bus.emit_late(Listed(EVENTS[:1]))
        bus.emit_together(Listed(EVENTS[1:]))
    assert handed == EVENTS
    assert [ear.heard for ear in ears] == [[], []]


def test_one_that_raises_is_detached_from_both_ways() -> None:
    """And reported once, under its own name."""
    bus, reports = Bus(), list[Event]()

    def observer(event: Event) -> None:
        raise AssertionError(event)

    def broken(_: Sequence[Event]) -> None:
        raise ValueError

    bus.subscribe(observer, AttemptStarted, together=broken)
    bus.subscribe(reports.append, ObserverDetached)
    bus.emit_together(Listed(EVENTS))
    bus.emit_together(Listed(EVENTS))
    bus.emit(EVENTS[0])
    assert [type(report) for report in reports] == [ObserverDetached]


def test_one_that_left_hears_nothing() -> None:
    """In neither way."""
    bus = Bus()
    patient = Ear(bus, patient=True)
    assert bus.is_heard(type(EVENTS[0]))
    bus.unsubscribe(patient.one)
    assert not bus.is_heard(type(EVENTS[0]))
    bus.emit(EVENTS[0])
    bus.emit_together(Listed(EVENTS))
    assert patient.heard == []


def test_a_bus_is_idle_while_all_around_say_so() -> None:
    """One that says nothing may have something to do with any attempt."""

    def around(_: Subject) -> AbstractContextManager[None]:
        return nullcontext()

    def another(_: Subject) -> AbstractContextManager[None]:
        return nullcontext()

    bus, says = Bus(), [True]
    assert bus.is_idle()
    bus.wrap(around, idle=lambda: says[0])
    assert bus.is_idle()
    says[0] = False
    assert not bus.is_idle()
    says[0] = True
    bus.wrap(another)
    assert not bus.is_idle()
    bus.unwrap(another)
    assert bus.is_idle()
    bus.unwrap(around)
    assert bus.is_idle()


# -- who takes several --------------------------------------------------------------------------------------


def shown(runs: Sequence[Sequence[Event]], *, together: bool) -> str:
    """What a registry shows that was told of these, one by one or each run together."""
    bus, registry, clock = Bus(), CollectorRegistry(), MovedClock()
    observe_metrics(bus, registry, store=lambda: "redis", clock=clock)
    bus.emit(QueueDeclared(queue="orders"))
    for task in ("charge", "refund"):
        bus.emit(TaskDeclared(queue="orders", task=task))
    for run in runs:
        if together:
            bus.emit_together(Listed(run))
        else:
            for event in run:
                bus.emit(event)
    return generate_latest(registry).decode()


def test_metrics_are_the_same_whether_told_together_or_not() -> None:
    """Whatever is in a run: other tasks, failures, jobs with a trace, answers that were errors."""

    def begun(job: str, **more: Any) -> AttemptStarted:
        return started(job, waited=0.25, **more)

    def ended(job: str, **more: Any) -> AttemptSettled:
        return settled(job_id=job, end_to_end=0.5, seconds=0.003, **more)

    def called(seconds: float, error: str | None = None) -> StorageCalled:
        return StorageCalled(store="redis", operation="settle", seconds=seconds, error=error)

    def claimed(token: int, cause: ClaimCause = ClaimCause.READY, **more: Any) -> LaneClaimed:
        return LaneClaimed(worker="w", lease=Lease("orders", "k", token), cause=cause, **more)

    runs: list[list[Event]] = [
        [claimed(1), claimed(2)],
        [claimed(3), claimed(4, ClaimCause.OWNER_DIED)],
        [claimed(5), claimed(6, stolen=True)],
        [begun("a"), begun("b"), started("c")],
        [begun("a"), begun("b", headers=SAMPLED)],
        [ended("a"), ended("b"), ended("c")],
        [ended("a"), ended("b", task="refund")],
        [ended("a"), ended("b", headers=SAMPLED)],
        [ended("a"), settled(Outcome.EXCEPTION, Action.RETRY, job_id="b")],
        [called(0.001), called(0.2)],
        [called(0.001), called(0.2, "timeout"), called(0.003)],
    ]
    assert shown(runs, together=True) == shown(runs, together=False)


def test_lanes_that_come_and_go_are_told_as_their_events_say() -> None:
    """Whatever is asked of all of them, or of the first: it is what their events say."""
    leases = [Lease("orders", lane, token) for token, lane in enumerate("ab", 1)]
    grants = [Grant(lease=lease, jobs=(), stolen=lease.lane == "b") for lease in leases]
    comings, leavings = Comings("w", grants), Leavings(leases)
    assert [*leavings] == [LaneLeft(lease=lease) for lease in leases]
    for field in ("worker", "lease", "cause", "stolen"):
        said = [getattr(event, field) for event in comings]
        assert (comings.column(field), comings.first(field)) == (said, said[0])
    assert [event.stolen for event in comings] == [False, True]


def test_running_attempts_are_those_that_have_not_ended() -> None:
    """The last to begin may be among those that are told to have ended, or run still."""
    bus = Bus()
    running = running_on(bus)
    bus.emit(EVENTS[2])
    bus.emit_together(Listed([settled(job_id=f"orders/p:{number}") for number in (1, 2)]))
    assert running.attempts() == (EVENTS[2],)
    bus.emit_together(Listed([settled(job_id=f"orders/p:{number}") for number in (2, 3)]))
    assert running.attempts() == ()


def test_health_hears_of_the_last_answer_and_the_last_error() -> None:
    """As of each of them."""
    bus, clock = Bus(), MovedClock()
    health = Health(clock)
    health.attach(bus)
    good = StorageCalled(store="redis", operation="settle", seconds=0.1)
    bad = StorageCalled(store="redis", operation="settle", seconds=0.1, error="timeout")
    bus.emit_together(Listed([good, good]))
    assert health.ready().checks["store:contact"][0]["status"] == "pass"
    clock.sleep(60)
    bus.emit_together(Listed([bad, bad]))
    assert health.ready().checks["store:contact"][0]["output"] == "timeout"
    bus.emit_together(Listed([good, bad]))
    assert health.ready().checks["store:contact"][0]["observedValue"] == 0
