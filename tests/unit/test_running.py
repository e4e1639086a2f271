"""One register of the attempts of an application, whoever shows them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from glassq.model.events import AttemptAbandoned, AttemptSettled, Event, SettlementDelayed
from glassq.model.leases import Lease
from glassq.model.verdicts import Action, Outcome, Verdict
from glassq.observe.running import running_on
from glassq.telemetry import Bus
from tests.unit.observing import started


def test_all_who_ask_share_one_register() -> None:
    """And another bus has its own."""
    bus = Bus()
    assert running_on(bus) is running_on(bus)
    assert running_on(bus) is not running_on(Bus())


@pytest.mark.parametrize("way", ["settled", "abandoned", "delayed"])
def test_an_attempt_is_there_until_it_is_over(way: str) -> None:
    """Settled, given up, or over and not settled yet."""
    bus = Bus()
    running = running_on(bus)
    event = started()
    bus.emit(event)
    assert running.attempts() == (event,)
    of: dict[str, Any] = {"lease": event.lease, "job_id": event.job_id}
    attempt: dict[str, Any] = {
        **of,
        "task": event.task,
        "attempt": event.attempt,
        "outcome": Outcome.SUCCEEDED,
    }
    over: dict[str, Callable[[], Event]] = {
        "settled": lambda: AttemptSettled(
            **attempt,
            seq=event.seq,
            verdict=Verdict(Action.ACK),
            seconds=0.1,
            ran=True,
            end_to_end=0.2,
            ordinal=1,
            headers={},
        ),
        "abandoned": lambda: AttemptAbandoned(**attempt),
        "delayed": lambda: SettlementDelayed(**of),
    }
    bus.emit(over[way]())
    assert running.attempts() == ()


def test_the_next_attempt_of_a_lane_takes_the_place_of_the_one_before() -> None:
    """A lane runs one job at a time, and what became of one may be heard while the next one runs."""
    bus = Bus()
    running = running_on(bus)
    first = started()
    following = msgspec.structs.replace(first, job_id="orders/p:2", seq=first.seq + 1)
    bus.emit(first)
    bus.emit(following)
    assert running.attempts() == (following,)
    bus.emit(SettlementDelayed(lease=first.lease, job_id=first.job_id))
    assert running.attempts() == (following,)
    bus.emit(SettlementDelayed(lease=first.lease, job_id=following.job_id))
    assert running.attempts() == ()


def test_two_attempts_of_one_job_are_two() -> None:
    """A lane that was taken back runs it again while the first, fenced attempt is still ending."""
    bus = Bus()
    running = running_on(bus)
    first = started()
    again = msgspec.structs.replace(first, lease=Lease(first.lease.queue, first.lease.lane, 99))
    bus.emit(first)
    bus.emit(again)
    bus.emit(SettlementDelayed(lease=first.lease, job_id=first.job_id))
    assert running.attempts() == (again,)
