"""Settlements that nobody waits for: sent, heard of and repeated in their order, whatever becomes of them."""

from __future__ import annotations

from collections import deque
from typing import cast

import pytest

from glassq.errors import StorageError, StorageUnavailable
from glassq.model.events import (
    AttemptAbandoned,
    AttemptSettled,
    Event,
    LaneLost,
    SettlementDelayed,
    WriteFenced,
)
from glassq.model.jobs import StoredJob
from glassq.model.leases import Lease, Owner, Settled, Settlement, SettleStatus
from glassq.model.verdicts import Action, Outcome, Verdict
from glassq.storage import Storage
from glassq.telemetry import Bus
from glassq.testing.clock import FakeClock
from glassq.worker.attempt import Ended
from glassq.worker.executors import Ran
from glassq.worker.flight import InFlight
from glassq.worker.holdings import HeldLane
from glassq.worker.settle import Settler

LEASE = Lease("orders", "", 7)
LOST = StorageUnavailable("the connection broke", "connection")


class Sending:
    """A settlement on its way; the test says when its answer is there, and what it is."""

    def __init__(self, store: PlayedStore, job: str) -> None:
        self._store = store
        self._job = job

    def arrived(self) -> bool:
        """Whether the test has put the answer there."""
        return self._job in self._store.answers

    def answer(self) -> Settled:
        """Waits for nothing: an answer that is not there yet is done at this moment."""
        self._store.waited.append(self._job)
        answer = self._store.answers.get(self._job) or done()
        if isinstance(answer, StorageError):
            raise answer
        return answer


class PlayedStore:
    """What a lane's settlements are told to."""

    def __init__(self) -> None:
        self.answers: dict[str, Settled | StorageError] = {}
        self.repeated: deque[Settled | StorageError] = deque()
        self.sent: list[str] = []
        self.waited: list[str] = []
        self.told: list[str] = []

    def settle_later(self, _: Owner, settlement: Settlement) -> Sending:
        """Sent."""
        self.sent.append(settlement.job_id)
        return Sending(self, settlement.job_id)

    def settle(self, _: Owner, settlements: list[Settlement]) -> list[Settled]:
        """Told again, and waited for."""
        self.told.append(settlements[0].job_id)
        answer = self.repeated.popleft() if self.repeated else done()
        if isinstance(answer, StorageError):
            raise answer
        return [answer]


class PlayedCourse:
    """A course whose answers the test puts there, to jobs by their names: routine ones, or others."""

    def __init__(self, store: PlayedStore) -> None:
        self.store = store
        self.routine: set[str] = set()
        self.may_send = True
        self.silent: set[str] = set()
        self.waited = 0
        self._on_their_way: deque[str] = deque()
        self._heard: list[str] = []

    @property
    def is_over(self) -> bool:
        """Whether the oldest has another answer."""
        return bool(self._on_their_way) and self._on_their_way[0] in self.store.answers

    def send(self, job_id: str, next_id: str) -> int | None:
        """Sent, if it may be; and heard is what the test has put there."""
        if not self.may_send:
            return None
        self.store.sent.append(f"{job_id} then {next_id}")
        self._on_their_way.append(job_id)
        return self._take_in() or (-1 if self.is_over else 0)

    def hear(self) -> int:
        """Waits for nothing: what is waited for is routine at this moment."""
        if self.silent.issuperset(self._on_their_way):
            return 0
        self.waited += 1
        self.routine |= {self._on_their_way[0]} - self.store.answers.keys()
        return self._take_in()

    def _take_in(self) -> int:
        before = len(self._heard)
        while self._on_their_way and self._on_their_way[0] in self.routine:
            self._heard.append(self._on_their_way.popleft())
        return len(self._heard) - before

    def answers(self) -> list[Settled]:
        """All the same."""
        heard, self._heard = self._heard, []
        return [done() for _ in heard]

    def leave(self) -> list[tuple[Sending, int]]:
        """To be heard one by one, but for the silent ones: the next that is not tells of them."""
        told, count = [], 0
        for job in self._on_their_way:
            count += 1
            if job not in self.silent:
                told.append((Sending(self.store, job), count))
                count = 0
        return told


class Stay:
    """A lane with its settlements on their way."""

    def __init__(self, most: int = 3) -> None:
        self.store = PlayedStore()
        self.clock = FakeClock()
        self.lane = HeldLane(LEASE, self.clock.monotonic() + 15, self.clock)
        self.events: list[Event] = []
        self.heard: list[Settled] = []
        bus = Bus()
        told = (AttemptSettled, AttemptAbandoned, SettlementDelayed, LaneLost, WriteFenced)
        bus.subscribe(self.events.append, *told)
        self.relayed: list[str] = []
        settler = Settler(
            cast("Storage", self.store),
            bus,
            self.clock,
            Owner("n", "i"),
            lambda: 0.5,
            relay=self.relayed.extend,
        )
        self.flight = InFlight(
            settler,
            self.lane,
            most=most,
            hear=self.heard.append,
        )
        self.course = PlayedCourse(self.store)

    def begin(self) -> None:
        """From now on jobs go on the course."""
        self.flight.begin(self.course, Settlement(lease=LEASE, job_id="", action=Action.ACK, begun=True))

    def go_on(self, *jobs: str, each: float = 0.001) -> list[bool]:
        """These succeed one after the other, in so many seconds each; whether they went on the course."""
        sent = []
        for job in jobs:
            self.clock.advance(each)
            sent.append(self.flight.go_on(ended(job), f"{job}'", self.clock.monotonic()))
        return sent

    def send(self, *jobs: str) -> None:
        """These jobs have succeeded, one after the other."""
        for job in jobs:
            what = Settlement(lease=LEASE, job_id=job, action=Action.ACK, begun=True)
            self.flight.send(ended(job), what, 0.0)

    def told(self, kind: type[Event]) -> list[str]:
        """The jobs that events of this kind were about."""
        return [event.job_id for event in self.events if isinstance(event, kind)]  # type: ignore[attr-defined]


def ended(job: str) -> Ended:
    """It has succeeded."""
    stored = StoredJob(id=job, seq=1, level=3, body=b"", eligible_at=0.0)
    ran = Ran(Outcome.SUCCEEDED, None, None, 0.0)
    return Ended(stored, 1, "charge", {}, None, ran, Verdict(Action.ACK), did_run=True)


def done(status: SettleStatus = SettleStatus.DONE, *, held: bool = True) -> Settled:
    """An answer."""
    return Settled(status=status, now=0.0, held=held)


@pytest.fixture
def stay() -> Stay:
    """A lane that may have three settlements on their way."""
    return Stay()


def test_nobody_waits_while_few_are_on_their_way(stay: Stay) -> None:
    """They are sent at once, and told to observers when they are answered."""
    stay.send("a", "b")
    assert (stay.store.sent, stay.store.waited, stay.events) == (["a", "b"], [], [])
    stay.store.answers = {"a": done(), "b": done()}
    stay.flight.hear_arrived()
    assert stay.told(AttemptSettled) == ["a", "b"]
    assert len(stay.heard) == 2


def test_answers_are_taken_in_in_the_order_of_the_sending(stay: Stay) -> None:
    """One that is there waits for those before it."""
    stay.send("a", "b")
    stay.store.answers["b"] = done()
    stay.flight.hear_arrived()
    assert stay.events == []
    stay.store.answers["a"] = done()
    stay.flight.hear_arrived()
    assert stay.told(AttemptSettled) == ["a", "b"]


def test_the_oldest_is_waited_for_when_too_many_are_on_their_way(stay: Stay) -> None:
    """O4: no more than these run again when the store cannot be reached."""
    stay.send("a", "b", "c", "d")
    assert stay.store.waited == ["a"]
    assert stay.store.sent == ["a", "b", "c", "d"]
    stay.flight.hear_all()
    assert stay.told(AttemptSettled) == ["a", "b", "c", "d"]


def test_what_was_not_answered_is_repeated_from_the_oldest(stay: Stay) -> None:
    """One was lost with its connection, the next was refused on a new one, because it is not the head then:
    no error, but a matter of order."""
    stay.send("a", "b", "c")
    stay.store.answers = {"a": LOST, "b": StorageError("b is not the head of its lane"), "c": LOST}
    stay.flight.hear_arrived()
    assert stay.store.told == ["a", "b", "c"]
    assert stay.told(AttemptSettled) == ["a", "b", "c"]
    assert not stay.lane.lost


def test_a_repetition_goes_on_while_the_lease_lasts(stay: Stay) -> None:
    """The store is away for a moment: nothing is given up for that, and nothing overtakes."""
    stay.send("a", "b")
    stay.store.answers = {"a": LOST, "b": LOST}
    stay.store.repeated.extend([LOST, LOST, done(SettleStatus.ALREADY), done()])
    stay.flight.hear_all()
    assert stay.store.told == ["a", "a", "a", "b"]
    assert stay.told(AttemptSettled) == ["a", "b"]


def test_a_store_that_stays_away_costs_the_lane(stay: Stay) -> None:
    """What was not answered when the lease ended runs again elsewhere, and is reported as that."""
    stay.send("a", "b")
    stay.store.answers = {"a": LOST, "b": LOST}
    stay.store.repeated.extend([LOST] * 100)
    stay.flight.hear_all()
    assert stay.lane.lost
    assert set(stay.store.told) == {"a"}
    assert stay.told(AttemptAbandoned) == ["a", "b"]
    assert [event.reason for event in stay.events if isinstance(event, LaneLost)] == ["expired"]


def test_attempts_that_are_over_are_told_apart_from_those_that_run(stay: Stay) -> None:
    """While the store is away all that is on its way counts as ended, with each try that fails."""
    stay.send("a", "b")
    stay.store.answers = {"a": LOST, "b": LOST}
    stay.store.repeated.append(LOST)
    stay.flight.hear_all()
    assert stay.told(SettlementDelayed) == ["a", "b", "a"]
    assert stay.told(AttemptSettled) == ["a", "b"]


def test_a_fenced_settlement_loses_the_lane_at_once(stay: Stay) -> None:
    """O5: what else was sent is refused too, and what comes after is not sent any more."""
    stay.send("a", "b")
    stay.store.answers["a"] = done(SettleStatus.FENCED, held=False)
    stay.flight.hear_arrived()
    assert stay.lane.lost
    stay.send("c")
    assert stay.store.sent == ["a", "b"]
    stay.flight.abandon()
    assert stay.told(AttemptAbandoned) == ["a", "c", "b"]
    assert stay.told(AttemptSettled) == []
    assert [event.reason for event in stay.events if isinstance(event, LaneLost)] == ["taken_over"]


def test_what_was_answered_before_the_lane_was_lost_is_settled(stay: Stay) -> None:
    """A lease that ended by the local clock does not undo what the store has said."""
    stay.send("a", "b")
    stay.store.answers["a"] = done()
    stay.lane.lost = True
    stay.flight.abandon()
    assert (stay.told(AttemptSettled), stay.told(AttemptAbandoned)) == (["a"], ["b"])


def test_a_settlement_on_its_way_does_not_hide_a_takeover(stay: Stay) -> None:
    """Whoever renews may find the lane lost meanwhile; only an answer that gives it up explains that."""
    stay.send("a")
    assert not stay.lane.leaving
    stay.store.answers = {"a": done(), "b": done(held=False)}
    stay.send("b")
    assert stay.lane.leaving


# -- on a course ------------------------------------------------------------------------------------------


def test_routine_answers_are_heard_one_by_one_and_told_together(stay: Stay) -> None:
    """When they were sent is known at once, and what they say when so many are there that it costs little."""
    jobs = [f"job-{number}" for number in range(112)]
    stay.begin()
    stay.course.routine.update(jobs)
    assert stay.go_on(*jobs[:-1], each=0.00001) == [True] * 111
    assert (stay.flight.asked, stay.events, stay.flight.empty) == (stay.clock.monotonic(), [], True)
    assert stay.go_on(jobs[-1], each=0.00001) == [True]
    assert stay.told(AttemptSettled) == jobs
    assert stay.store.sent == [f"{job} then {job}'" for job in jobs]
    assert stay.heard == [], "nothing new"


def test_what_was_answered_is_told_with_the_next_job_when_jobs_take_their_time() -> None:
    """Nobody who watches slower jobs is told later than before."""
    stay = Stay(most=16)
    stay.begin()
    stay.course.routine |= {"a", "b", "c"}
    stay.go_on("a")
    stay.clock.advance(0.006)
    stay.go_on("b")
    assert stay.told(AttemptSettled) == ["a", "b"]


def test_the_oldest_on_a_course_is_waited_for_when_too_many_are_on_their_way(stay: Stay) -> None:
    """O4, there too."""
    stay.begin()
    assert stay.go_on("a", "b", "c") == [True] * 3
    assert stay.course.waited == 0
    stay.go_on("d")
    assert stay.course.waited == 1
    stay.flight.hear_all()
    assert stay.told(AttemptSettled) == ["a", "b", "c", "d"]
    assert stay.flight.empty


def test_an_answer_with_news_is_acted_on_before_the_next_job_begins(stay: Stay) -> None:
    """The course ends, and everything after it is heard one by one, in its order."""
    stay.begin()
    stay.course.routine.add("a")
    stay.store.answers = {"b": done(), "c": done()}
    assert stay.go_on("a", "b") == [True, True]
    assert stay.told(AttemptSettled) == ["a", "b"]
    assert stay.heard == [done()]
    assert stay.go_on("c") == [False]
    stay.send("c")
    assert stay.told(AttemptSettled) == ["a", "b", "c"]


def test_a_takeover_is_noticed_on_a_course_before_the_next_job_begins(stay: Stay) -> None:
    """O5: what else is on its way is refused, too, and nothing more is sent."""
    stay.begin()
    stay.go_on("a", "b")
    stay.store.answers["a"] = done(SettleStatus.FENCED, held=False)
    assert stay.go_on("c") == [True]
    assert stay.lane.lost
    assert stay.go_on("d") == [False]
    stay.flight.abandon()
    assert stay.told(AttemptAbandoned) == ["a", "b", "c"]
    assert stay.told(AttemptSettled) == []


def test_what_broke_on_a_course_is_repeated_as_it_was_sent(stay: Stay) -> None:
    """From the oldest on, with the job that each one named."""
    told: list[Settlement] = []
    settle = stay.store.settle

    def telling(owner: Owner, settlements: list[Settlement]) -> list[Settled]:
        told.extend(settlements)
        return settle(owner, settlements)

    stay.store.settle = telling  # type: ignore[method-assign,assignment]
    stay.begin()
    stay.go_on("a", "b")
    stay.store.answers = {"a": LOST, "b": LOST}
    stay.go_on("c")
    stay.flight.hear_arrived()
    assert [(each.job_id, each.next_id, each.begun) for each in told] == [
        ("a", "a'", True),
        ("b", "b'", True),
        ("c", "c'", True),
    ]
    assert stay.told(AttemptSettled) == ["a", "b", "c"]


def test_what_a_course_does_not_take_is_sent_behind_what_is_on_it(stay: Stay) -> None:
    """As when this process has just paused the queue: the next one is waited for, after all before it."""
    stay.begin()
    stay.go_on("a")
    stay.course.may_send = False
    assert stay.go_on("b") == [False]
    stay.send("b")
    stay.flight.hear_all()
    assert stay.store.sent == ["a then a'", "b"]
    assert stay.told(AttemptSettled) == ["a", "b"]


def test_what_was_routine_is_settled_in_a_lane_that_is_lost(stay: Stay) -> None:
    """The store has said so; the rest may run again."""
    stay.begin()
    stay.course.routine.add("a")
    stay.go_on("a", "b")
    stay.lane.lost = True
    assert stay.go_on("c") == [False]
    stay.flight.abandon()
    assert (stay.told(AttemptSettled), stay.told(AttemptAbandoned)) == (["a"], ["b"])
