"""The demo's parts that need no process: its event log, and a proof that must see through planted defects."""

from __future__ import annotations

import itertools
from collections import defaultdict

import msgspec
import pytest

from glassq.cli.demo.eventlog import Event, customers, read_events
from glassq.cli.demo.ledger import Delivery, Ledger
from glassq.cli.demo.otlp import Span
from glassq.cli.demo.proof import Killed, prove
from glassq.cli.demo.receiver import refuses
from glassq.cli.demo.tracetree import any_trace, retried_trace

DEAD, ALIVE = 101, 102
KILLED = Killed(pid=DEAD, concurrency=2)


def event(customer: str, n: int) -> Event:
    """One event of a small log."""
    return Event(id=f"{customer}{n}", type="order.paid", customer=customer, n=n, at="", data={"cents": n})


A1, A2, A3, B1, B2, C1, C2 = LOG = [
    event(customer, n)
    for customer, n in [("a", 1), ("a", 2), ("a", 3), ("b", 1), ("b", 2), ("c", 1), ("c", 2)]
]


class Receiver:
    """Plays the receiver: a ledger with a clock that counts."""

    def __init__(self) -> None:
        clock = itertools.count()
        self.ledger = Ledger(clock=lambda: float(next(clock)))

    def arrive(self, one: Event, worker: int = ALIVE) -> Delivery:
        """A delivery that is not answered yet."""
        return self.ledger.arrival(one, worker=worker, job_id=f"q/{one.id}", attempt=1)[0]

    def take(self, *events: Event, worker: int = ALIVE, status: int = 204) -> None:
        """Deliveries one after the other, each answered at once."""
        for one in events:
            self.ledger.answer(self.arrive(one, worker), status)

    def broken(self) -> dict[str, str]:
        """The promises that the proof found broken, with its facts."""
        found = prove(LOG, self.ledger.deliveries(), KILLED)
        return {finding.promise: finding.facts for finding in found if not finding.kept}


@pytest.fixture
def receiver() -> Receiver:
    """A receiver that has seen one refusal of `c1`, during which `b` went on, and the rest of `b` and `c`."""
    receiver = Receiver()
    receiver.take(C1, status=503)
    receiver.take(B1, C1, B2, C2)
    return receiver


def test_a_run_without_defects_keeps_every_promise(receiver: Receiver) -> None:
    """Refusals, retries and one repeated delivery of the killed worker are no defects."""
    receiver.take(A1)
    receiver.take(A2, worker=DEAD)
    receiver.take(A2, A3)
    assert receiver.broken() == {}


def test_a_lost_event_is_seen(receiver: Receiver) -> None:
    """An event that never arrives breaks the promise and is named."""
    receiver.take(A1, A2)
    assert receiver.broken() == {
        "nothing lost": "1 of 7 events never accepted, the first one: a #3 order.paid"
    }


def test_a_lost_event_in_the_middle_also_breaks_the_order(receiver: Receiver) -> None:
    """What comes after an event that was never accepted must not have arrived at all."""
    receiver.take(A1, A3)
    assert set(receiver.broken()) == {"nothing lost", "in order"}


def test_swapped_events_are_seen(receiver: Receiver) -> None:
    """Two events of one customer in the wrong order break the order, and the early one is named."""
    receiver.take(A2, A1, A3)
    assert receiver.broken() == {"in order": "a #2 order.paid arrived before a #1 order.paid was accepted"}


def test_an_arrival_before_the_acceptance_ahead_of_it_is_seen(receiver: Receiver) -> None:
    """Overlapping deliveries of one customer break the order even when they are accepted in order."""
    first = receiver.arrive(A1)
    second = receiver.arrive(A2)
    receiver.ledger.answer(first, 204)
    receiver.ledger.answer(second, 204)
    receiver.take(A3)
    assert set(receiver.broken()) == {"in order"}


def test_overtaking_a_refused_event_is_seen(receiver: Receiver) -> None:
    """While an event waits for its retry, nothing behind it may arrive."""
    receiver.take(A1, status=503)
    receiver.take(A2, A1, A3)
    assert set(receiver.broken()) == {"in order"}


def test_a_refused_event_that_never_comes_again_is_seen(receiver: Receiver) -> None:
    """A refusal without a later acceptance is a lost retry, and a lost event."""
    receiver.take(A1, A2)
    receiver.take(A3, status=503)
    assert set(receiver.broken()) == {"nothing lost", "retried in place"}


def test_a_run_without_refusals_proves_no_retries() -> None:
    """What was never put to the test is not reported as kept."""
    receiver = Receiver()
    receiver.take(*LOG)
    assert set(receiver.broken()) == {"retried in place"}


def test_other_customers_that_wait_too_are_seen() -> None:
    """A retry that holds up every customer breaks the promise that only its own lane waits."""
    receiver = Receiver()
    receiver.take(A1, status=503)
    receiver.take(*LOG)
    assert "all other customers waited too" in receiver.broken()["retried in place"]


def test_a_repetition_without_a_crash_is_seen(receiver: Receiver) -> None:
    """An event that the surviving worker delivered twice was not running in the killed one."""
    receiver.take(A1, A2, A2, A3)
    assert set(receiver.broken()) == {"no needless repeat"}


def test_a_repetition_of_settled_work_is_seen(receiver: Receiver) -> None:
    """Only the killed worker's last delivery of a lane may be repeated, not one before it."""
    receiver.take(A1, A2, worker=DEAD)
    receiver.take(A1, A2, A3)
    assert "a #1 order.paid" in receiver.broken()["no needless repeat"]


def test_a_second_repetition_of_the_same_event_is_seen(receiver: Receiver) -> None:
    """One crash repeats a delivery once."""
    receiver.take(A1, worker=DEAD)
    receiver.take(A1, A1, A2, A3)
    assert set(receiver.broken()) == {"no needless repeat"}


def test_more_repetitions_than_lanes_were_running_are_seen() -> None:
    """A worker with two threads can have been running two deliveries, not three."""
    receiver = Receiver()
    receiver.take(B1, status=503)
    receiver.take(A1, A2, A3, C1, worker=DEAD)
    receiver.take(B1, B2, C2, worker=DEAD)
    receiver.take(A3, B2, C2)
    assert receiver.broken() == {"no needless repeat": "3 events were accepted twice, at most 2 were running"}


def test_changed_content_is_seen(receiver: Receiver) -> None:
    """An event must arrive as it was sent."""
    receiver.take(msgspec.structs.replace(A1, data={"cents": 0}), A2, A3)
    assert set(receiver.broken()) == {"nothing lost"}


def test_an_event_nobody_sent_is_seen(receiver: Receiver) -> None:
    """A delivery that is not in the log breaks the promise, and is named."""
    receiver.take(A1, A2, A3, event("stranger", 1))
    assert "stranger1" in receiver.broken()["nothing lost"]


def test_the_event_log_tells_every_story_in_order() -> None:
    """360 events of a dozen customers, numbered without gaps, in order of time, each id once."""
    events = read_events()
    numbers: dict[str, list[int]] = defaultdict(list)
    for one in events:
        numbers[one.customer].append(one.n)
    assert len(events) == len({one.id for one in events}) == 360
    assert len(numbers) == 12
    assert all(found == list(range(1, len(found) + 1)) for found in numbers.values())
    assert [one.at for one in events] == sorted(one.at for one in events)
    assert sum(customers(events).values()) == 360


def test_nothing_is_paid_shipped_or_renewed_before_it_exists() -> None:
    """The stories are coherent: the first event of an order is its placing, of a subscription its start."""
    first: dict[str, str] = {}
    for one in read_events():
        subject = one.data.get("order") or one.data["subscription"]
        first.setdefault(subject, one.type)
    assert set(first.values()) == {"order.placed", "subscription.started"}


def test_one_event_in_ten_is_refused_at_first() -> None:
    """The receiver's choice is fixed by the event's id, so every run has the same refusals."""
    refused = [one for one in read_events() if refuses(one.id)]
    assert len(refused) == 36
    assert len({one.customer for one in refused}) > 6


def span(name: str, *, trace: str, failed: bool = False, started: float = 0.0) -> Span:
    """An exported span with the fields that choosing a trace looks at."""
    return Span(
        trace=trace,
        id=f"{trace}-{name}-{started}",
        parent="",
        links=(),
        name=name,
        service="worker A",
        started=started,
        ended=started + 1,
        failed=failed,
        message="",
        attributes={},
    )


def test_the_trace_shown_is_one_that_failed_and_then_succeeded() -> None:
    """A trace is chosen only when it is complete: enqueued, failed at least once, and ended well."""
    smooth = [span("enqueue q", trace="1"), span("process q", trace="1", started=1.0)]
    unfinished = [span("enqueue q", trace="2"), span("process q", trace="2", failed=True, started=1.0)]
    retried = [
        span("process q", trace="3", started=2.0),
        span("process q", trace="3", failed=True, started=1.0),
        span("enqueue q", trace="3"),
    ]
    headless = [span("process q", trace="4", failed=True), span("process q", trace="4", started=1.0)]
    assert retried_trace([*smooth, *unfinished, *headless]) is None
    found = retried_trace([*smooth, *unfinished, *headless, *retried])
    assert found is not None
    assert [one.started for one in found] == [0.0, 1.0, 2.0]
    assert any_trace(smooth) == smooth
