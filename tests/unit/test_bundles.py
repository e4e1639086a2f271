"""A thread's bundle: when it is sent, by whom, and what is made of the answers."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any, cast

import pytest

from glassq.errors import StorageUnavailable
from glassq.model.events import AttemptAbandoned, AttemptSettled, LaneLeft, SettlementDelayed, WriteFenced
from glassq.model.jobs import StoredJob
from glassq.model.leases import Lease, Owner, Settled, Settlement, SettleStatus
from glassq.model.verdicts import Action, Outcome, Verdict
from glassq.settling import Answered, Settling, Together
from glassq.storage import Storage
from glassq.telemetry import Bus
from glassq.testing.clock import FakeClock
from glassq.worker.attempt import Ended
from glassq.worker.bundles import BRIEF, Bundles, Left
from glassq.worker.executors import Ran
from glassq.worker.flight import InFlight
from glassq.worker.holdings import HeldLane
from glassq.worker.options import WorkerOptions
from glassq.worker.settle import Settler

OWNER = Owner("n", "i")


class Store:
    """Answers as it is told to."""

    def __init__(self) -> None:
        self.sent: list[list[Settlement]] = []
        self.again: list[str] = []
        self.fenced: set[str] = set()
        self.is_paused = False
        self.breaks = False

    def settle_together(self, _: Owner, settlements: Sequence[Settlement]) -> Together:
        """A message."""
        self.sent.append(list(settlements))
        return Together.of([Answered(lambda each=each: self._answer(each)) for each in settlements])  # type: ignore[misc]

    def settle(self, _: Owner, settlements: Sequence[Settlement]) -> list[Settled]:
        """One that is repeated."""
        self.again += [each.job_id for each in settlements]
        self.breaks = False
        return [self._answer(each) for each in settlements]

    def _answer(self, what: Settlement) -> Settled:
        if self.breaks:
            raise StorageUnavailable("away", "connection")
        status = SettleStatus.FENCED if what.lease.lane in self.fenced else SettleStatus.DONE
        return Settled(status=status, now=0.0, paused=self.is_paused)


class ShortStay:
    """A stay of one job, up to its end."""

    def __init__(self, play: Play, lane: str) -> None:
        self.held = HeldLane(Lease("q", lane, 7), 1e9, play.clock)
        self.ran = 0.0
        self.paused = False
        self.hears_alone = False
        self._play = play

    def abandon(self, ended: Ended) -> None:
        """Lost."""
        self._play.settler.abandoned(self.held, ended)

    def hear_of(self, ended: Ended, settlement: Settlement, settling: Settling, at: float) -> None:
        """By itself."""
        flight = InFlight(self._play.settler, self.held, most=16, hear=lambda _: None)
        flight.take_on(ended, settlement, settling, at)
        flight.hear_all()


class Play:
    """A bundle of lanes that are named by letters."""

    def __init__(self, lanes: str = "", **options: int) -> None:
        self.store = Store()
        self.clock = FakeClock()
        self.told: list[str] = []
        self.left: list[str] = []
        bus = Bus()
        for kind in (AttemptSettled, AttemptAbandoned, SettlementDelayed):
            bus.subscribe(lambda event: self.told.append(f"{type(event).__name__} {event.job_id}"), kind)
        bus.subscribe(lambda event: self.told.append(type(event).__name__), WriteFenced)
        bus.subscribe(lambda event: self.left.append(event.lease.lane), LaneLeft)
        self.settler = Settler(cast("Storage", self.store), bus, self.clock, OWNER, lambda: 0.5)
        self.bundles = Bundles(self.settler, self.clock, WorkerOptions(**cast("Any", options)))
        self.messages: deque[Left] = deque()
        self.going_on: deque[ShortStay] = deque()
        self.bundle = self.bundles.begin(self.messages, self.going_on)
        self.stays = [self.put(lane) for lane in lanes]

    def put(self, lane: str) -> ShortStay:
        """One more lane whose turn is over."""
        stay = ShortStay(self, lane)
        job = StoredJob(id=lane.upper(), seq=1, level=3, body=b"", eligible_at=0.0)
        ran = Ran(Outcome.SUCCEEDED, None, None, 0.0)
        ended = Ended(job, 1, "work", {}, None, ran, Verdict(Action.ACK), did_run=True)
        self.bundle.put(stay, ended, self.clock.monotonic())
        return stay

    def sent(self) -> list[str]:
        """The lanes of each message."""
        return ["".join(each.lease.lane for each in message) for message in self.store.sent]

    def hear(self) -> Left:
        """What was sent first."""
        message = self.messages.popleft()
        message.leave()
        return message


def test_ends_go_out_in_one_message_in_their_order() -> None:
    """And are told in it."""
    play = Play("abc")
    play.bundle.send()
    assert play.sent() == ["abc"]
    assert all(stay.held.leaving for stay in play.stays)
    assert play.hear().heard()
    assert play.told == ["AttemptSettled A", "AttemptSettled B", "AttemptSettled C"]
    assert play.left == ["a", "b", "c"]


def test_a_stay_that_has_heard_by_itself_goes_on_to() -> None:
    """The others are told together, and it is told once."""
    play = Play("abc")
    play.stays[1].hears_alone = True
    play.bundle.send()
    assert play.sent() == ["abc"]
    play.hear()
    assert sorted(play.told) == ["AttemptSettled A", "AttemptSettled B", "AttemptSettled C"]
    assert play.left == ["a", "c"]  # it tells that by itself, too


def test_the_last_end_says_which_lane_begins() -> None:
    """Asked only when there is one to say it."""
    play = Play("ab")
    following = Lease("q", "z", 9)
    play.bundle.send(lambda queue: following if queue == "q" else None)
    assert [each.begins for each in play.store.sent[0]] == [None, following]
    asked: list[str] = []
    play.bundle.send(asked.append)
    assert asked == []


def test_a_bundle_is_due_when_it_is_full_or_old() -> None:
    """Half of what may be unheard of, or a millisecond."""
    play = Play(max_in_flight=2)
    play.put("a")
    assert play.bundle.takes("q")
    play.put("b")
    assert not play.bundle.takes("q")
    play.bundle.send()
    assert play.bundle.takes("q")
    play.put("c")
    play.clock.advance(2 * BRIEF)
    assert play.bundle.takes("q")
    slow = Play()
    slow.put("a")
    slow.clock.advance(2 * BRIEF)
    slow.put("b")
    assert not slow.bundle.takes("q")


def test_another_thread_sends_what_is_old() -> None:
    """The bundle's own one may be in a job that takes long."""
    play = Play("ab")
    assert play.bundles.send_old(), "there is something still to be sent"
    assert play.sent() == []
    play.clock.advance(2 * BRIEF)
    assert not play.bundles.send_old()
    assert play.sent() == ["ab"]
    play.put("c")
    assert not play.bundles.send_old(0), "at a stop all is"
    assert play.sent() == ["ab", "c"]
    play.bundles.end(play.bundle)
    play.put("d")
    assert not play.bundles.send_old(0)


def test_what_ended_in_a_lane_that_was_lost_is_not_sent() -> None:
    """Its job runs again elsewhere."""
    play = Play("abc")
    play.stays[1].held.lost = True
    play.bundle.send()
    assert play.sent() == ["ac"]
    play.hear()
    assert play.told == ["AttemptAbandoned B"]
    play.hear()
    assert play.told[1:] == ["AttemptSettled A", "AttemptSettled C"]


def test_one_that_is_refused_is_told_by_itself() -> None:
    """O5: the others were settled all the same."""
    play = Play("abc")
    play.store.fenced = {"b"}
    play.bundle.send()
    play.hear()
    assert play.told == ["AttemptSettled A", "WriteFenced", "AttemptAbandoned B", "AttemptSettled C"]
    assert [stay.held.lost for stay in play.stays] == [False, True, False]


def test_a_message_that_was_not_answered_is_repeated_from_the_oldest_on() -> None:
    """Each lane by itself: nobody knows what was done."""
    play = Play("ab")
    play.store.breaks = True
    play.bundle.send()
    play.hear()
    assert play.store.again == ["A", "B"]
    assert [line for line in play.told if "Settled" in line] == ["AttemptSettled A", "AttemptSettled B"]
    assert "SettlementDelayed A" in play.told


@pytest.mark.parametrize("paused", [False, True])
def test_a_message_tells_that_its_queue_is_paused(paused: bool) -> None:
    """Nothing more of it is to begin here."""
    play = Play("ab")
    play.store.is_paused = paused
    play.bundle.send()
    assert play.hear().paused is paused
