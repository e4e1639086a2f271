"""Short turns of plain jobs, served in one loop: what goes together, and what ends the loop."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, cast

import msgspec
import pytest

from glassq import Glassq
from glassq.codec import Envelope, seal
from glassq.errors import StorageUnavailable
from glassq.model.events import AttemptSettled, AttemptStarted, LaneLost, OrderViolated
from glassq.model.jobs import StoredJob
from glassq.model.leases import Grant, Lease, Leaving, Owner, Settled, Settlement, SettleStatus
from glassq.settling import Answered, Together
from glassq.storage import Storage
from glassq.telemetry import Bus
from glassq.testing.clock import FakeClock
from glassq.worker.attempt import Attempts
from glassq.worker.bundles import BRIEF, Bundles, Held
from glassq.worker.callbacks import Callbacks
from glassq.worker.granted import SHORT_TURN, GrantedLane, Granting
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
        self.answers: dict[str, dict[str, Any]] = {}
        self.away: set[str] = set()
        self.is_slow = False

    def is_steered(self, queue: str) -> bool:
        """What this process has changed."""
        return queue in self.steered

    def course(self, *_: object, **__: object) -> None:
        """None: one by one."""

    def settle_together(self, _: Owner, settlements: Sequence[Settlement]) -> Together:
        """A message."""
        self._told.append("sent " + "".join(self._named(each) for each in settlements))
        if self.is_slow:
            return Together(len(settlements), lambda: False, lambda: [*map(self._heard, settlements)])
        return Together.of([Answered(lambda each=each: self._answer(each)) for each in settlements])  # type: ignore[misc]

    def _heard(self, what: Settlement) -> Settled:
        self._told.append(f"heard {what.job_id.lower()}")
        return self._answer(what)

    def _named(self, what: Settlement) -> str:
        return f"{what.job_id.lower()}+" if what.begun else what.job_id.lower()

    def _answer(self, what: Settlement) -> Settled:
        """As nearly always, or as the test wants it."""
        if what.job_id in self.away:
            self.away.discard(what.job_id)
            raise StorageUnavailable("away", "connection")
        return msgspec.structs.replace(_done(what), **self.answers.get(what.job_id, {}))

    def settle_later(self, _: Owner, settlement: Settlement) -> Answered:
        """One by itself, which nobody waits for."""
        self._told.append(f"sent {settlement.job_id.lower()} alone")
        return Answered(lambda: _done(settlement))

    def settle(self, _: Owner, settlements: Sequence[Settlement]) -> list[Settled]:
        """One that is waited for."""
        self._told.append(f"settled {settlements[0].job_id.lower()} by {settlements[0].action}")
        return [self._answer(settlements[0])]

    def release(self, _: Owner, leases: Sequence[Lease]) -> None:
        """Given back."""
        self._told.append("released " + "".join(lease.lane for lease in leases))


def _done(settlement: Settlement) -> Settled:
    held = settlement.leaving not in (Leaving.YIELD, Leaving.RELEASE)
    return Settled(status=SettleStatus.DONE, now=0.0, held=held, others=True)


class Play:
    """Lanes that are named by letters, each with a job of its own."""

    def __init__(self, lanes: str = "abcde", options: WorkerOptions | None = None) -> None:
        self.told: list[str] = []
        self.asked = 0
        self.stops = self.is_watched = False
        self.unfinished: set[GrantedLane] = set()
        self.resumed: list[str] = []
        self.others_are_free, self.is_wanted = False, True
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
            options=options or WorkerOptions(),
            attempts=Attempts(
                self.app.registry, self.bus, self.clock, serializer="json", max_crashes=5, random=lambda: 0.5
            ),
            settler=Settler(storage, self.bus, self.clock, OWNER, lambda: 0.5),
            callbacks=Callbacks(self.bus, self.clock),
            stopping=lambda: self.stops,
            over=self.over,
            crowded=lambda _: bool(self.waiting),
        )
        self.bundles = Bundles(self.services.settler, self.clock, self.services.options)
        self.common = Granting(self.services, (100.0, self.clock.monotonic()), asked=32)
        self.waiting = deque(self.lane(letter) for letter in lanes)
        self.lanes = {each.lease.lane: each for each in self.waiting}
        self.share: Callable[[Sequence[GrantedLane]], None] = self.waiting.extend

    def lane(self, letter: str, task: str = "work", jobs: int = 1) -> GrantedLane:
        """One that was granted with so many jobs: its letter, or its letter and their numbers."""
        names = [letter] if jobs == 1 else [f"{letter}{number}" for number in range(1, jobs + 1)]
        granted = tuple(
            StoredJob(
                id=name.upper(),
                seq=seq,
                level=3,
                body=seal(Envelope(task, "json", {}, b'[["%s"],{}]' % name.encode())),
                eligible_at=0.0,
            )
            for seq, name in enumerate(names, 1)
        )
        lease = Lease("orders", letter, 1)
        held = HeldLane(lease, self.clock.monotonic() + 15, self.clock)
        grant = Grant(lease=lease, jobs=granted, ahead=jobs - 1)
        return GrantedLane.of(self.common, held, grant, max(jobs, 1), at_once=True, others=False)

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
            bundles=self.bundles,
            next_lane=self.take,
            is_watched=lambda: self.is_watched or bool(self.waiting),
            give_back=self.give_back,
            done=done.extend,
            unfinished=self.unfinished,
            resume=lambda lane: self.resumed.append(lane.lease.lane),
            is_wanted=lambda: self.is_wanted,
            are_free=lambda: self.others_are_free,
            share=self.share,
        )
        try:
            turns.run(self.waiting.popleft())
        finally:
            assert self.bus.begun == {}
            assert len(done) == len({each.held.lease for each in done})
            assert self.unfinished == set()
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


# -- turns of several jobs ---------------------------------------------------------------------------------


def short_turns(max_in_flight: int = 16, **lanes: int) -> Play:
    """Lanes with so many jobs each, whose ends another thread would send in time."""
    play = Play("", WorkerOptions(max_in_flight=max_in_flight))
    play.is_watched = True
    play.waiting.extend(play.lane(name, jobs=jobs) for name, jobs in lanes.items())
    play.lanes = {each.lease.lane: each for each in play.waiting}
    return play


FIRST = ["ran a1", "ran b1", "ran c1", "sent a1+b1+c1+"]


def test_a_job_of_each_lane_goes_before_the_next_one_of_any() -> None:
    """O2: it begins when its lane's last end was sent, with those of others; the last lane goes alone."""
    play = short_turns(a=3, b=2, c=1)
    told = ["ran a1", "ran b1", "ran c", "sent a1+b1+c", "ran a2", "ran b2", "sent a2+b2", "ran a3"]
    assert play.run() == [*told, "sent a3 alone"]
    assert play.resumed == ["a", "b", "a"]


def test_a_lane_without_others_is_no_matter_for_bundles() -> None:
    """It runs ahead of the store by itself."""
    assert short_turns(a=2).run() == ["ran a1", "sent a1 alone", "ran a2", "sent a2 alone"]


def test_no_more_lanes_are_begun_than_a_message_takes() -> None:
    """Those that wait may be given back, and a kill has fewer jobs run again."""
    play = short_turns(**dict.fromkeys("abcdefghijklmnopqrst", 2))
    told = play.run()
    assert told[16] == f"sent {'1+'.join('abcdefghijklmnop')}1+"
    assert told[17:33] == [f"ran {letter}2" for letter in "abcdefghijklmnop"]


@pytest.mark.parametrize("most", [2, 5, 16])
def test_of_no_lane_are_more_ends_on_their_way_than_may_be(most: int) -> None:
    """However long its turn is: what was sent first is heard of before its next job begins."""
    play, found = short_turns(max_in_flight=most, a=SHORT_TURN, b=SHORT_TURN), list[int]()
    play.store.is_slow = True

    def look(lane: str) -> None:
        ran, heard = (sum(line.startswith(f"{did} {lane}") for line in play.told) for did in ("ran", "heard"))
        found.append(ran - heard)  # with the one that runs

    for lane in "ab":
        play.during |= {f"{lane}{number}": partial(look, lane) for number in range(1, SHORT_TURN + 1)}
    play.run()
    assert max(found) == most


def test_jobs_out_of_their_order_are_reported() -> None:
    """As in every stay (O1)."""
    play, found = short_turns(a=3, b=3), list[str]()
    play.bus.subscribe(lambda event: found.append(event.kind), OrderViolated)
    grant = play.lanes["a"].grant
    swapped = (grant.jobs[0], msgspec.structs.replace(grant.jobs[1], seq=1), grant.jobs[2])
    play.lanes["a"].grant = msgspec.structs.replace(grant, jobs=swapped)
    play.run()
    assert found == ["duplicate"]


def test_what_is_not_routine_waits_for_all_that_was_sent() -> None:
    """Then its lane is served by itself, and the others go on."""
    play = short_turns(a=3, b=3, c=3)
    play.during["b2"] = lambda: play.clock.advance(3 * BRIEF)
    told = ["ran a2", "ran b2", "sent a2+", "sent b2 alone", "ran b3", "sent b3 alone", "ran c2", "ran a3"]
    assert play.run() == [*FIRST, *told, "sent c2+a3", "ran c3", "sent c3 alone"]


def test_one_that_fails_ends_no_other_turn() -> None:
    """Its successor comes next."""
    play = short_turns(a=3, b=2)
    play.during["a2"] = lambda: 1 / 0
    told = ["ran a2", "settled a2 by bury", "ran a3", "sent a3 alone", "ran b2", "sent b2 alone"]
    assert play.run() == ["ran a1", "ran b1", "sent a1+b1+", *told]


def test_a_lane_that_has_changed_is_served_by_itself() -> None:
    """Its next settlement is waited for: that brings what comes first now."""
    play = short_turns(a=3, b=3, c=3)
    play.store.answers["B1"] = {"change": 1}
    told = ["ran a2", "sent a2+", "ran b2", "settled b2 by ack", "ran b3", "sent b3 alone"]
    assert play.run() == [*FIRST, *told, "ran c2", "ran a3", "sent c2+a3", "ran c3", "sent c3 alone"]


def test_nothing_more_begins_in_a_lane_that_was_refused() -> None:
    """O5: it is somebody else's. The others go on, each heard of by itself."""
    play = short_turns(a=2, b=2, c=2)
    play.store.answers["B1"] = {"status": SettleStatus.FENCED}
    told = ["taken_over b", "ran a2", "sent a2 alone", "ran c2", "sent c2 alone"]
    assert play.run() == [*FIRST, *told]


def test_what_was_not_answered_is_repeated_before_the_lane_goes_on() -> None:
    """O2: in its order."""
    play = short_turns(a=2, b=2, c=2)
    play.store.away = {"B1"}
    told = ["settled b1 by ack", "ran a2", "sent a2 alone", "ran b2", "sent b2 alone"]
    assert play.run() == [*FIRST, *told, "ran c2", "sent c2 alone"]


def test_nothing_more_begins_in_a_queue_that_is_paused() -> None:
    """The lanes whose turns go on are given back, too."""
    play = short_turns(a=3, b=3, c=3)
    play.store.answers["B1"] = {"paused": True}
    assert play.run() == [*FIRST, "gave a back", "gave b back", "gave c back"]


def test_nothing_more_begins_in_a_lane_that_was_lost_between_two_jobs() -> None:
    """Whoever has noticed it."""
    play = short_turns(a=3, b=3, c=3)
    play.during["a2"] = lambda: setattr(play.lanes["b"].held, "lost", True)
    told = ["ran a2", "sent a2+", "ran c2", "ran a3", "sent c2+a3", "ran c3", "sent c3 alone"]
    assert play.run() == [*FIRST, *told]


def test_at_a_stop_lanes_whose_turns_go_on_are_released() -> None:
    """Nothing else begins."""
    play = short_turns(a=3, b=3, c=3)
    play.during["b2"] = lambda: setattr(play, "stops", True)
    told = ["ran a2", "ran b2", "sent a2+", "settled b2 by ack", "released c", "released a"]
    assert play.run() == [*FIRST, *told]


def test_lanes_that_go_on_are_shared_with_threads_that_are_free() -> None:
    """Once all was heard that was sent in them: whoever takes them goes on where they stand."""
    play = short_turns(a=3, b=3, c=3)
    play.others_are_free = True
    shared: list[tuple[str, int, bool]] = []
    served = play.waiting.extend

    def note(lanes: Sequence[GrantedLane]) -> None:
        shared.extend((lane.lease.lane, lane.served, lane in play.unfinished) for lane in lanes)
        served(lanes)

    play.share = note
    told = play.run()
    assert told[:5] == [*FIRST, "ran a2"]
    assert shared[:2] == [("b", 1, False), ("c", 1, False)]
    assert [line for line in told if "ran" in line and line[4] == "c"] == ["ran c1", "ran c2", "ran c3"]


def test_a_thread_that_is_not_wanted_leaves_its_lanes_to_others() -> None:
    """All of them, once all was heard that was sent in them: by itself it would send each end alone."""
    play = short_turns(a=3, b=3, c=3)
    shared: list[tuple[str, int, bool]] = []
    play.share = lambda lanes: shared.extend(
        (lane.lease.lane, lane.served, lane in play.unfinished) for lane in lanes
    )
    play.during["a2"] = lambda: setattr(play, "is_wanted", False)
    assert play.run() == [*FIRST, "ran a2", "ran b2", "ran c2", "sent a2+b2+c2+"]
    assert shared == [("a", 2, False), ("b", 2, False), ("c", 2, False)]


def test_a_long_turn_is_no_matter_for_bundles() -> None:
    """It costs less by itself."""
    play = short_turns(a=SHORT_TURN, b=SHORT_TURN + 1)
    assert [lane.is_short for lane in play.waiting] == [True, False]


def test_lanes_behind_a_long_job_are_taken_away() -> None:
    """Others serve them; their thread does not come back to them."""
    play, taken = short_turns(a=3, b=3, c=3), list[Held]()

    def take_long() -> None:
        play.clock.advance(0.04)
        taken.extend(play.bundles.take_away(0.05))
        play.clock.advance(0.02)
        taken.extend(play.bundles.take_away(0.05))
        play.unfinished.difference_update(cast("list[GrantedLane]", taken))

    play.during["b2"] = take_long
    told = ["ran a2", "ran b2", "sent a2+", "settled b2 by ack", "ran b3", "sent b3 alone"]
    assert play.run() == [*FIRST, *told]
    assert [stay.held.lease.lane for stay in taken] == ["c", "a"]


def test_lanes_in_which_something_is_to_be_repeated_are_not_taken_away() -> None:
    """Given back, the job of which the store has not heard would run again."""
    play, taken = short_turns(a=3, b=3, c=3), list[Held]()

    def take_long() -> None:
        play.store.away = {"A2"}
        play.clock.advance(0.06)
        taken.extend(play.bundles.take_away(0.05))

    play.during["b2"] = take_long
    told = ["ran a2", "ran b2", "sent a2+", "settled a2 by ack", "settled b2 by ack"]
    assert play.run()[:9] == [*FIRST, *told]
    assert taken == []
