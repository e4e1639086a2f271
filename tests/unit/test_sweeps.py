"""Turns of one plain job, served in one loop: what goes together, and what ends the loop."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, cast

import pytest

from glassq import Glassq
from glassq.codec import Envelope, seal
from glassq.model.events import AttemptSettled, AttemptStarted, LaneLost
from glassq.model.jobs import StoredJob
from glassq.model.leases import Grant, Lease, Leaving, Owner, Settled, Settlement, SettleStatus
from glassq.settling import Answered, Together
from glassq.storage import Storage
from glassq.telemetry import Bus
from glassq.testing.clock import FakeClock
from glassq.worker.attempt import Attempts
from glassq.worker.bundles import BRIEF, Bundles
from glassq.worker.callbacks import Callbacks
from glassq.worker.granted import GrantedLane, Granting
from glassq.worker.holdings import HeldLane
from glassq.worker.options import WorkerOptions
from glassq.worker.plain import PlainAttempts
from glassq.worker.services import Services
from glassq.worker.settle import Settler
from glassq.worker.turns import Turns

OWNER = Owner("n", "i")


class Store:
    """Does as it is told."""

    def __init__(self, told: list[str]) -> None:
        self._told = told
        self.steered: set[str] = set()

    def is_steered(self, queue: str) -> bool:
        """What this process has changed."""
        return queue in self.steered

    def course(self, *_: object, **__: object) -> None:
        """None: one by one."""

    def settle_together(self, _: Owner, settlements: Sequence[Settlement]) -> Together:
        """A message."""
        self._told.append("sent " + "".join(each.lease.lane for each in settlements))
        return Together.of([Answered(lambda each=each: _done(each)) for each in settlements])  # type: ignore[misc]

    def settle_later(self, _: Owner, settlement: Settlement) -> Answered:
        """One by itself, which nobody waits for."""
        self._told.append(f"sent {settlement.lease.lane} alone")
        return Answered(lambda: _done(settlement))

    def settle(self, _: Owner, settlements: Sequence[Settlement]) -> list[Settled]:
        """One that is waited for."""
        self._told.append(f"settled {settlements[0].lease.lane} by {settlements[0].action}")
        return [_done(settlements[0])]

    def release(self, _: Owner, leases: Sequence[Lease]) -> None:
        """Given back."""
        self._told.append("released " + "".join(lease.lane for lease in leases))


def _done(settlement: Settlement) -> Settled:
    held = settlement.leaving not in (Leaving.YIELD, Leaving.RELEASE)
    return Settled(status=SettleStatus.DONE, now=0.0, held=held, others=True)


class Play:
    """Lanes that are named by letters, each with a job of its own."""

    def __init__(self, lanes: str = "abcde") -> None:
        self.told: list[str] = []
        self.asked = 0
        self.stops = False
        self.store, self.clock, self.bus = Store(self.told), FakeClock(), Bus()
        self.bus.subscribe(lambda event: self.told.append(f"{event.reason} {event.lease.lane}"), LaneLost)
        self.app = Glassq("sqlite://")
        self.during: dict[str, Callable[[], object]] = {}
        self.app.fifo("orders", name="work", max_retries=0, on_exhausted="bury")(self.work)
        self.app.fifo("orders", name="other", on_success=lambda *_: None)(self.work)
        storage = cast("Storage", self.store)
        self.services = Services(
            storage=storage,
            bus=self.bus,
            clock=self.clock,
            owner=OWNER,
            options=WorkerOptions(),
            attempts=Attempts(
                self.app.registry, self.bus, self.clock, serializer="json", max_crashes=5, random=lambda: 0.5
            ),
            settler=Settler(storage, self.bus, self.clock, OWNER, lambda: 0.5),
            callbacks=Callbacks(self.bus, self.clock),
            stopping=lambda: self.stops,
            over=self.over,
            crowded=lambda _: bool(self.waiting),
        )
        self.common = Granting(self.services, (100.0, self.clock.monotonic()), 1)
        self.waiting = deque(self.lane(letter) for letter in lanes)
        self.lanes = {each.lease.lane: each for each in self.waiting}

    def lane(self, letter: str, task: str = "work") -> GrantedLane:
        """One that was granted."""
        body = seal(Envelope(task, "json", {}, b'[["%s"],{}]' % letter.encode()))
        job = StoredJob(id=letter.upper(), seq=1, level=3, body=body, eligible_at=0.0)
        lease = Lease("orders", letter, 1)
        held = HeldLane(lease, self.clock.monotonic() + 15, self.clock)
        grant = Grant(lease=lease, jobs=(job,))
        return GrantedLane.of(self.common, held, grant, 1, at_once=True, others=False)

    def work(self, letter: str) -> None:
        """What all jobs do; and what this one does besides."""
        running = [begun.event().job_id for begun in self.bus.begun.values()]
        assert running in ([letter.upper()], [])
        self.told.append(f"ran {letter}")
        self.during.get(letter, lambda: None)()

    def over(self) -> bool:
        """Asked once for each job."""
        self.asked += 1
        return self.stops

    def take(self) -> GrantedLane | None:
        """The next one."""
        return self.waiting.popleft() if self.waiting and not self.stops else None

    def give_back(self, _: str, lanes: Sequence[GrantedLane]) -> None:
        """These do not begin."""
        self.told += [f"gave {lane.lease.lane} back" for lane in (*lanes, *self.waiting)]
        self.waiting.clear()

    def run(self) -> list[str]:
        """Serve all of them."""
        done: list[Any] = []
        turns = Turns(
            bundles=Bundles(self.services.settler, self.clock, self.services.options),
            next_lane=self.take,
            is_watched=lambda: bool(self.waiting),
            give_back=self.give_back,
            done=done.extend,
        )
        try:
            turns.run(self.waiting.popleft())
        finally:
            assert self.bus.begun == {}
            assert len(done) == len({each.held.lease for each in done})
        return self.told


def test_their_ends_go_together() -> None:
    """Whether each may begin is asked once; the last is not kept, as nobody would look after it."""
    play = Play()
    assert play.run() == ["ran a", "ran b", "ran c", "ran d", "sent abcd", "ran e", "sent e"]
    assert play.asked == 5


def test_what_began_is_told_before_its_end() -> None:
    """To those who are patient; once of each, in their order."""
    play, told = Play(), list[str]()
    for kind in (AttemptStarted, AttemptSettled):
        play.bus.subscribe(
            lambda event: told.append(f"{type(event).__name__[7:]} {event.job_id}"),
            kind,
            together=lambda run: told.extend(f"{run.kind.__name__[7:]} {event.job_id}" for event in run),
        )
    play.run()
    assert [line for line in told if line.startswith("Started")] == [f"Started {job}" for job in "ABCDE"]
    assert [line for line in told if line.startswith("Settled")] == [f"Settled {job}" for job in "ABCDE"]
    assert all(told.index(f"Started {job}") < told.index(f"Settled {job}") for job in "ABCDE")


def test_nothing_begins_on_a_lease_that_is_over() -> None:
    """The others go on."""
    play = Play()
    play.lanes["c"].held.deadline = play.clock.monotonic()
    assert play.run()[:5] == ["ran a", "ran b", "sent ab", "expired c", "ran d"]


@pytest.mark.parametrize("flag", ["lost", "lapsed"])
def test_nothing_begins_in_a_lane_that_is_lost(flag: str) -> None:
    """Whoever has noticed it, and however late: here the job before."""
    play = Play()
    play.during["b"] = lambda: setattr(play.lanes["c"].held, flag, True)
    assert "ran c" not in play.run()
    assert "ran d" in play.told


def test_one_that_fails_is_settled_by_itself() -> None:
    """After those before it, and before the next begins."""
    play = Play()
    play.during["c"] = lambda: 1 / 0
    told = play.run()
    assert told == [
        *("ran a", "ran b", "ran c", "sent ab", "settled c by bury"),
        *("ran d", "sent d", "ran e", "sent e"),
    ]


def test_one_that_takes_long_is_settled_by_itself() -> None:
    """Nothing waits for longer than is brief."""
    play = Play()
    play.during["c"] = lambda: play.clock.advance(3 * BRIEF)
    assert play.run()[:6] == ["ran a", "ran b", "ran c", "sent ab", "sent c alone", "ran d"]


def test_one_that_changes_its_queue_is_the_last_for_now() -> None:
    """What it did takes effect at once: its settlement says so."""
    play = Play()
    play.during["b"] = lambda: play.store.steered.add("orders")
    assert play.run()[:5] == ["ran a", "ran b", "sent a", "sent b alone", "ran c"]


def test_one_that_is_not_plain_takes_the_long_way() -> None:
    """And is asked for once all the same."""
    play = Play("ab")
    play.waiting.extend([play.lane("c", "other"), play.lane("d")])
    told = play.run()
    assert told[:4] == ["ran a", "ran b", "sent ab", "ran c"]
    assert told.index("settled c by ack") < told.index("ran d")
    assert play.asked == 4


def test_a_stop_ends_it() -> None:
    """The lane whose job was running is waited for, and no other begins."""
    play = Play()
    play.during["b"] = lambda: setattr(play, "stops", True)
    assert play.run() == ["ran a", "ran b", "sent a", "settled b by ack"]


def test_what_breaks_in_one_lane_fails_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those before it are settled; it waits for the end of its lease."""
    play = Play()
    run = PlainAttempts.run

    def broken(self: PlainAttempts, job: StoredJob, *about: Any) -> Any:
        if job.id == "C":
            raise MemoryError
        return run(self, job, *about)

    monkeypatch.setattr(PlainAttempts, "run", broken)
    with pytest.raises(MemoryError):
        play.run()
    assert play.told == ["ran a", "ran b", "failed c", "sent ab"]
