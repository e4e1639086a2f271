"""One stay in one lane: how its turn ends, and what it does with answers that come late."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, cast

import pytest

from glassq.context import nobody_listens
from glassq.errors import StorageUnavailable
from glassq.model.events import AttemptAbandoned, Event, LaneLeft
from glassq.model.jobs import StoredJob
from glassq.model.leases import Grant, Lease, Leaving, Owner, Settled, Settlement, SettleStatus
from glassq.model.verdicts import Action, Outcome, Verdict
from glassq.model.waits import WaitCause, Waits
from glassq.registry import Registry
from glassq.storage import Storage
from glassq.telemetry import Bus
from glassq.testing.clock import FakeClock
from glassq.worker.attempt import Attempts, Ended
from glassq.worker.bundles import Bundles, Left
from glassq.worker.callbacks import Callbacks
from glassq.worker.executors import Ran
from glassq.worker.granted import GrantedLane, Granting
from glassq.worker.holdings import HeldLane
from glassq.worker.lanes import LaneRun
from glassq.worker.options import WorkerOptions
from glassq.worker.services import Services
from glassq.worker.settle import Settler

OWNER = Owner("n", "i")
LEASE = Lease("orders", "a", 7)
NEXT = Lease("orders", "b", 8)


class Sending:
    """A settlement on its way: answered once the lane is given up, or when it is waited for."""

    def __init__(self, store: PlayedStore, settlement: Settlement) -> None:
        self._store = store
        self._settlement = settlement

    def arrived(self) -> bool:
        """Whether the turn's end was sent, which takes a while."""
        return self._store.is_given_up and self._settlement.leaving is not Leaving.YIELD

    def answer(self) -> Settled:
        """As the store answers, if it did."""
        if self._store.loses:
            raise StorageUnavailable("the connection broke", "connection")
        return self._store.answer_to(self._settlement)


class PlayedStore:
    """Takes everything, and answers late."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.is_given_up = False
        self.others = True
        self.paused = False
        self.is_away = False
        self.loses = False

    def settle_later(self, _: Owner, settlement: Settlement) -> Sending:
        """Sent."""
        begins = f" begins {settlement.begins.lane}" if settlement.begins else ""
        self.told.append(f"{settlement.job_id} {'go on' if settlement.begun else settlement.leaving}{begins}")
        self.is_given_up = self.is_given_up or settlement.leaving is Leaving.YIELD
        return Sending(self, settlement)

    def course(self, *_: object, **__: object) -> None:
        """One by one."""

    def settle(self, _: Owner, settlements: list[Settlement]) -> list[Settled]:
        """Waited for."""
        self.told.append(f"{settlements[0].job_id} {settlements[0].leaving}, waited for")
        return [self.answer_to(settlements[0])]

    def answer_to(self, settlement: Settlement) -> Settled:
        """The lane is held until it is given up."""
        held = settlement.leaving is not Leaving.YIELD
        return Settled(status=SettleStatus.DONE, now=0.0, held=held, others=self.others, paused=self.paused)

    def begin(self, _: Owner, lease: Lease) -> None:
        """The head begins."""
        if self.is_away:
            raise StorageUnavailable("away", "connection")
        self.told.append(f"begin {lease.lane}")

    def release(self, _: Owner, leases: list[Lease]) -> None:
        """Given back."""
        self.told.append(f"release {' '.join(lease.lane for lease in leases)}")


class NothingPlain:
    """Jobs that are attempted like any other."""

    def open(self, _body: bytes) -> None:
        """Of none of them so much is known that nothing is to be asked."""

    def open_together(self, _jobs: Sequence[StoredJob]) -> None:
        """Nor several."""

    def are_quick(self, _queue: str) -> bool:
        """As far as is known."""
        return True


class Play:
    """A lane of quick jobs, and who else waits."""

    def __init__(self, jobs: str, *, turn: int = 1, begun: bool = True, ahead: int = 0) -> None:
        self.store = PlayedStore()
        self.clock = FakeClock()
        self.ran: list[str] = []
        self.waited: list[dict[str, float]] = []
        self.events: list[Event] = []
        self.crowded = True
        self.plain = NothingPlain()
        self.seconds = 0.0
        self.bus = bus = Bus()
        self.registry = Registry(bus)
        self.tell = nobody_listens
        self.abandoned: list[str] = []
        bus.subscribe(self.events.append, LaneLeft)
        bus.subscribe(lambda event: self.abandoned.append(event.job_id), AttemptAbandoned)
        storage = cast("Storage", self.store)
        services = Services(
            storage=storage,
            bus=bus,
            clock=self.clock,
            owner=OWNER,
            options=WorkerOptions(),
            attempts=cast("Attempts", self),
            settler=Settler(storage, bus, self.clock, OWNER, lambda: 0.5),
            callbacks=Callbacks(bus, self.clock),
            stopping=lambda: False,
            over=lambda: False,
            crowded=lambda _queue: self.crowded,
        )
        self.bundles = Bundles(services.settler, self.clock, services.options)
        stored = tuple(
            StoredJob(id=job, seq=number, level=3, body=b"", eligible_at=0.0)
            for number, job in enumerate(jobs, 1)
        )
        self.lane = HeldLane(LEASE, self.clock.monotonic() + 15, self.clock)
        grant = Grant(lease=LEASE, jobs=stored, begun=begun, ahead=ahead)
        heard = (0.0, self.clock.monotonic())
        common = Granting(services, heard, turn)
        self.granted = GrantedLane.of(common, self.lane, grant, turn, at_once=True, others=False)

    @property
    def stay(self) -> LaneRun:
        """The stay in it."""
        return self.granted.stay()

    def perform(self, _lane: Any, job: StoredJob, _past: Any, now: float, waits: Waits) -> Ended:
        """It succeeds."""
        self.ran.append(job.id)
        self.waited.append(waits.split(job.eligible_at, now)[1])
        ran = Ran(Outcome.SUCCEEDED, None, None, self.seconds)
        return Ended(job, 1, "work", {}, None, ran, Verdict(Action.ACK), did_run=True)

    def run(self, follow: Callable[[str], Lease | None] = lambda _: None) -> list[str]:
        """What the store was told, up to the end of the stay."""
        left: deque[Left] = deque()
        bundle = self.bundles.begin(left, deque())
        self.granted.run(follow, bundle)
        bundle.send()
        return self.store.told


def test_a_turns_end_is_sent_and_says_what_begins() -> None:
    """Nobody waits for it; what comes of it is heard later."""
    play = Play("123")
    assert play.run(lambda queue: NEXT if queue == "orders" else None) == ["1 yield begins b"]
    assert not play.stay.heard()
    assert play.lane.leaving
    assert play.events == []
    play.stay.leave()
    assert play.stay.heard()
    assert play.events == [LaneLeft(lease=LEASE)]
    assert play.store.told == ["1 yield begins b"]


def test_late_answers_keep_no_lane_that_was_given_up() -> None:
    """O4: jobs before the turn's end are answered as held; nothing begins by that."""
    play = Play("123456", turn=3, ahead=5)
    assert play.run() == ["1 go on", "2 go on", "3 yield"]
    assert play.lane.leaving, "a renewal that does not find the lease any more has lost nothing"
    play.stay.leave()
    assert play.ran == ["1", "2", "3"]


def test_the_last_job_that_is_known_ends_the_turn() -> None:
    """To ask whether there are more costs a wait, and others wait already."""
    assert Play("12", turn=9, ahead=1).run() == ["1 go on", "2 yield"]


def test_a_lane_that_nobody_waits_behind_is_asked_for_more() -> None:
    """It is stayed in."""
    play = Play("12", turn=9, ahead=1)
    play.crowded = play.store.others = False
    assert play.run()[:2] == ["1 go on", "2 stay, waited for"]


def test_slow_jobs_turns_ends_are_waited_for() -> None:
    """So what others ask of the lane, or the queue, takes effect at once."""
    play = Play("12")
    play.seconds = 1.0
    play.store.paused = True
    assert play.run() == ["1 yield, waited for"]
    assert play.stay.paused


def test_nothing_is_settled_past_what_never_got_there() -> None:
    """The store was away until the lease had ended: what was sent ahead is not known to it, nor may be what
    comes behind. That job runs again, too; to settle it would be refused as not the head."""
    play = Play("12", turn=9, ahead=1)
    play.crowded = play.store.others = False
    play.store.loses = True

    def away(_: Owner, settlements: list[Settlement]) -> list[Settled]:
        play.store.told.append(f"{settlements[0].job_id} in vain")
        play.clock.advance(20)
        raise StorageUnavailable("away", "connection")

    play.store.settle = away  # type: ignore[method-assign]
    assert play.run() == ["1 go on", "1 in vain", "1 in vain"], "once more after the lease, and no word of 2"
    assert play.ran == ["1", "2"]
    assert play.lane.lost
    play.stay.leave()
    assert play.abandoned == ["1", "2"]


@pytest.mark.parametrize("queue", ["orders", "mail"])
def test_a_head_that_waited_begins_by_word_or_by_the_turn_before(queue: str) -> None:
    """Once; a turn of another queue cannot say it."""
    play = Play("12", begun=False)
    said = play.granted.begin_after(queue)
    assert said == (LEASE if queue == "orders" else None)
    assert play.granted.begin_after("orders") == (None if said else LEASE)
    fresh = Play("12", begun=False)
    assert fresh.run() == ["begin a", "1 yield"]


@pytest.mark.parametrize(
    ("begun", "fairness", "behind_lane"), [(False, 2, 0), (True, 0, 2)], ids=["waited here", "began at once"]
)
def test_a_lane_that_waits_here_for_a_thread_waits_for_its_turn(
    begun: bool, fairness: float, behind_lane: float
) -> None:
    """Only the worker can know that; one that began when it was granted was held all the time."""
    play = Play("1", begun=begun)
    play.clock.advance(2)
    play.run()
    [causes] = play.waited
    assert causes.get(WaitCause.FAIRNESS, 0) == fairness
    assert causes[WaitCause.BEHIND_LANE] == behind_lane


def test_a_head_that_cannot_begin_is_given_back() -> None:
    """A crash must be blamed on it, or it must not run."""
    play = Play("12", begun=False)
    play.store.is_away = True
    assert play.run() == []
    play.stay.leave()
    assert play.store.told == ["release a"]
    assert play.ran == []


def test_a_lane_that_was_lost_while_it_waited_is_not_begun() -> None:
    """Its lease ended, and somebody else has it."""
    play = Play("12", begun=False)
    play.lane.lost = True
    assert play.run() == []
    play.stay.leave()
    assert play.store.told == []
