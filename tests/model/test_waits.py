"""Random plays on real stores: each job is told exactly what it has waited for, as the oracle saw it."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import pytest
import redis
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from glassq.model.jobs import NewJob
from glassq.model.leases import Grant, Lease, Leaving, Owner, Settlement
from glassq.model.verdicts import Action
from glassq.model.waits import MICRO
from glassq.storage import Doorbell, Storage
from glassq.stores.redis.store import RedisStorage
from glassq.stores.sqlite.store import SqliteStorage
from glassq.testing.clock import FakeClock
from tests.model.waiting import ALIVE, STEP, Oracle

LEASE = 15.0
LANES = ("", "a", "b")
QUEUES = itertools.count()
Play = list[tuple[str, int]]


class Stay:
    """What a worker holds: its grant, and the jobs of it that are not settled, the first of which runs."""

    def __init__(self, owner: Owner, grant: Grant) -> None:
        self.owner, self.grant, self.jobs = owner, grant, list(grant.jobs)

    @property
    def lease(self) -> Lease:
        """Under which it is held."""
        return self.grant.lease


class Player:
    """Carries out a play on a store, and tells the oracle. Whoever starts a job compares."""

    def __init__(self, store: Storage, clock: FakeClock) -> None:
        self.store, self.clock = store, clock
        self.queue = f"waits{next(QUEUES)}"
        self.oracle = Oracle(round(clock.wall() * MICRO))
        self.stays: list[Stay] = []
        self.bells: dict[Owner, Doorbell] = {}
        self.births = itertools.count()
        self.workers = [self.born(name) for name in ("alice", "bob")]
        self.compared = 0
        self.buried: list[str] = []
        self.places: dict[str, str] = {}

    def born(self, name: str) -> Owner:
        """A worker nobody has heard of; of another node each time, or the store would know its lanes free."""
        return Owner(f"{name}{next(self.births)}-{self.queue}", "first")

    def end(self) -> None:
        """All bells are silent."""
        for bell in self.bells.values():
            bell.close()

    def play(self, calls: Play) -> None:
        """Do it all, and then see every job started."""
        for call, number in calls:
            getattr(self, call)(number)
        for name in (None, *LANES):
            self.store.resume(self.queue, name)
            self.oracle.paused.discard(name)
        for name in LANES:
            self.retry_lane(LANES.index(name))
        for _ in range(6):
            self.wait(2)
            self.renew(0)
            self.renew(1)
            while self.stays:
                self.go_on(0)
            self.claim(0)
        while self.stays:
            self.go_on(0)

    # -- time and workers ------------------------------------------------------------------------------------

    def wait(self, number: int) -> None:
        """Up to five seconds, in which somebody else keeps the queue from looking like one that was away."""
        for _ in range(number % 20 + 1):
            self.oracle.pass_step()
            self.clock.advance(STEP / MICRO)
        self.store.renew(Owner("passer-by", "first"), [Lease(self.queue, "none", 1)], lease_seconds=LEASE)

    def sleep(self, number: int) -> None:
        """Longer than leases and workers live."""
        for _ in range(5 + 10 * (number % 2)):
            self.wait(19)

    def listen(self, number: int) -> None:
        """A worker becomes known, or is heard of once more."""
        owner = self.workers[number % 2]
        if owner in self.bells:
            self.store.report(owner, [self.queue])
        else:
            self.bells[owner] = self.store.listen(owner, [self.queue])
        self.oracle.alive[owner] = self.oracle.now + ALIVE

    def say_goodbye(self, number: int) -> None:
        """A worker leaves, with everything given back."""
        owner = self.workers[number % 2]
        for stay in [stay for stay in self.stays if stay.owner == owner]:
            self.give_back(stay, front=True)
        if owner in self.bells:
            self.bells.pop(owner).close()
            self.oracle.alive.pop(owner, None)

    def die(self, number: int) -> None:
        """A worker is not heard of any more, and another one takes its place."""
        owner = self.workers[number % 2]
        self.workers[number % 2] = self.born(owner.node.split("-")[0][:3])
        self.stays = [stay for stay in self.stays if stay.owner != owner]

    def renew(self, number: int) -> None:
        """All leases of a worker, and itself."""
        mine = [stay for stay in self.stays if stay.owner == self.workers[number % 2]]
        lost = self.store.renew(
            self.workers[number % 2], [stay.lease for stay in mine], lease_seconds=LEASE
        ).lost
        for stay in mine:
            if stay.lease in lost:
                self.stays.remove(stay)
            else:
                self.oracle.renewed(stay.lease, round(LEASE * MICRO))

    # -- jobs ------------------------------------------------------------------------------------------------

    def append(self, number: int) -> None:
        """One to three jobs of a lane, sometimes of a higher level."""
        lane, level = LANES[number % 3], 5 if number % 7 == 0 else 3
        jobs = [NewJob(body=b"", lane=lane, level=level)] * (number % 4 or 1)
        for answer in self.store.append(self.queue, jobs):
            self.oracle.wait_for(lane, answer.id)
            self.places[answer.id] = lane

    def claim(self, number: int) -> None:
        """A worker takes lanes and starts their heads, or not yet."""
        owner = self.workers[number % 2]
        self.oracle.take_back()
        claimed = self.store.claim(
            owner, [self.queue], lanes=1 + number % 3, window=1 + number % 4, lease_seconds=LEASE
        )
        for grant in claimed.grants:
            self.stays = [stay for stay in self.stays if stay.lease.lane != grant.lease.lane]
            self.oracle.hold(grant.lease, round(LEASE * MICRO))
            stay = Stay(owner, grant)
            self.stays.append(stay)
            if grant.attempts:
                self.oracle.start(grant.lease.lane, grant.jobs[0].id)
            elif number % 5:
                self.start(stay)

    def start(self, stay: Stay) -> None:
        """The first job of a window begins: what it is told is what the oracle saw."""
        job = stay.jobs[0]
        expected = self.oracle.start(stay.lease.lane, job.id)
        if expected is None:
            return
        waited = self.oracle.now - round(job.eligible_at * MICRO)
        parts = stay.grant.waits.parts(round(job.eligible_at * MICRO), waited)
        assert sum(parts.values()) == waited
        assert min(parts.values()) >= 0
        if not self.is_within_merged(stay, round(job.eligible_at * MICRO)):
            self.compared += 1
            assert {str(cause): part for cause, part in parts.items() if part} == expected

    @staticmethod
    def is_within_merged(stay: Stay, eligible: int) -> bool:
        """Whether a job came within stretches that were merged: it is told its share of them."""
        return any(
            each.begin < eligible < each.end and each.amount != each.end - each.begin
            for each in stay.grant.waits.stretches
        )

    def settle(self, number: int, action: Action, leaving: Leaving = Leaving.STAY, wait: float = 0.0) -> None:
        """The running job of a lane ends; the next one begins, if the lane stays."""
        if not self.stays:
            return
        stay = self.stays[number % len(self.stays)]
        if not self.oracle.may_start(stay.lease, stay.jobs[0].id):
            self.stays.remove(stay)
            return
        self.start(stay)
        what = Settlement(
            lease=stay.lease, job_id=stay.jobs[0].id, action=action, wait=wait, leaving=leaving, window=2,
            next_id=stay.jobs[1].id if stay.jobs[1:] else None, change=stay.grant.change,
        )  # fmt: skip
        [answer] = self.store.settle(stay.owner, [what])
        if answer.status != "done":  # its lease was lost
            self.stays.remove(stay)
            return
        lane, kept = stay.lease.lane, action in (Action.RETRY, Action.HALT)
        job = stay.jobs.pop(0)
        if action is Action.BURY:
            self.buried.append(job.id)
        if not kept:
            self.places.pop(job.id)
        if answer.held:
            stay.jobs = list(answer.jobs) or stay.jobs
            self.start(stay)
            return
        self.stays.remove(stay)
        if action is Action.HALT:
            self.oracle.leave(lane, "halted")
        elif action is Action.RETRY:
            self.oracle.leave(lane, "waiting", self.oracle.now + round(wait * MICRO))
        else:
            self.oracle.leave(lane, "ready")
        self.oracle.tidy(lane, self.places)

    def go_on(self, number: int) -> None:
        """A job succeeds, its lane stays."""
        self.settle(number, Action.ACK)

    def end_turn(self, number: int) -> None:
        """A job succeeds, its lane goes back to the others."""
        self.settle(number, Action.ACK, Leaving.YIELD)

    def stop_there(self, number: int) -> None:
        """A job succeeds, its worker stops."""
        self.settle(number, Action.ACK, Leaving.RELEASE)

    def retry(self, number: int) -> None:
        """A job fails, to be tried again later."""
        self.settle(number, Action.RETRY, wait=number % 9 * 0.5)

    def halt(self, number: int) -> None:
        """A job fails for good, its lane waits for a human."""
        self.settle(number, Action.HALT)

    def bury(self, number: int) -> None:
        """A job fails for good, its lane goes on."""
        self.settle(number, Action.BURY)

    def release(self, number: int) -> None:
        """A lane is given back as it is."""
        if self.stays:
            self.give_back(self.stays[number % len(self.stays)], front=number % 2 == 0)

    def give_back(self, stay: Stay, *, front: bool) -> None:
        """If it is still held."""
        self.stays.remove(stay)
        held = self.oracle.lanes[stay.lease.lane]
        is_ours = stay.lease not in self.store.renew(stay.owner, [stay.lease], lease_seconds=LEASE).lost
        if is_ours and held.lease == stay.lease:
            self.store.release(stay.owner, [stay.lease], front=front)
            self.oracle.leave(stay.lease.lane, "ready")

    # -- people ----------------------------------------------------------------------------------------------

    def pause(self, number: int) -> None:
        """A lane, or the whole queue."""
        name = (None, *LANES)[number % 4]
        self.store.pause(self.queue, name)
        self.oracle.paused.add(name)

    def resume(self, number: int) -> None:
        """What was paused, perhaps."""
        name = (None, *LANES)[number % 4]
        self.store.resume(self.queue, name)
        self.oracle.paused.discard(name)

    def retry_lane(self, number: int) -> None:
        """A halted lane goes on with its head."""
        name = LANES[number % 3]
        if self.store.retry_lane(self.queue, name):
            self.oracle.lanes[name].state = "ready"

    def skip_lane(self, number: int) -> None:
        """A halted lane goes on without its head."""
        name = LANES[number % 3]
        head = self.store.skip_lane(self.queue, name)
        if head is not None:
            self.oracle.lanes[name].state = "ready"
            self.forget(head.id)

    def cancel(self, number: int) -> None:
        """A job that waits, or runs."""
        if not self.places:
            return
        job = sorted(self.places)[number % len(self.places)]
        name = self.places[job]
        stays = [stay for stay in self.stays if stay.jobs and stay.jobs[0].id == job]
        if stays:  # asked only, and nothing of this play heeds it
            return
        begun = [record for record in [self.store.get(job)] if record and record.attempts]
        if self.store.cancel(job) == "removed":
            for stay in self.stays:
                stay.jobs = [each for each in stay.jobs if each.id != job]
            lane = self.oracle.lanes[name]
            if begun and lane.state != "held":
                lane.state = "ready"
            self.forget(job)

    def forget(self, job: str) -> None:
        """It is there no more."""
        name = self.places.pop(job)
        self.oracle.lanes[name].waiters.pop(job, None)
        self.oracle.tidy(name, self.places)

    def replay(self, number: int) -> None:
        """All dead letters come back, to wait anew."""
        for answer in self.store.replay(self.queue, self.buried, front=number % 2 == 0):
            self.oracle.wait_for(answer.lane, answer.id)
            self.places[answer.id] = answer.lane
        self.buried = []


CALLS = (
    *("append", "claim", "wait", "go_on", "end_turn") * 3,
    *("renew", "listen", "retry", "pause", "resume") * 2,
    *("sleep", "say_goodbye", "die", "stop_there", "halt", "bury"),
    *("release", "retry_lane", "skip_lane", "cancel", "replay"),
)
plays = st.lists(st.tuples(st.sampled_from(CALLS), st.integers(0, 99)), min_size=10, max_size=70)
MOST_OF_TURNS = 20
EMPTIED: Play = [("append", 1), ("claim", 6), ("wait", 1), ("halt", 0), ("skip_lane", 1)]
TURNS: Play = [("append", 3), *[("wait", 0), ("claim", 2), ("wait", 0), ("append", 3), ("end_turn", 0)] * 20]


def assert_told_exactly(make: Callable[[FakeClock], Storage], calls: Play) -> Player:
    """Play it, and tell by whom."""
    clock = FakeClock()
    player = Player(make(clock), clock)
    try:
        player.play(calls)
    finally:
        player.end()
        player.store.close()
    return player


@pytest.fixture
def sqlite(tmp_path: Path) -> Callable[[FakeClock], Storage]:
    """Handles on one file."""
    return lambda clock: SqliteStorage.open(f"sqlite:///{tmp_path}/jobs.db", clock=clock)


lenient = settings(
    deadline=None,
    max_examples=150,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@lenient
@example(calls=EMPTIED)
@given(calls=plays)
def test_redis_tells_what_a_job_has_waited_for(server: str, calls: Play) -> None:
    """Whatever happened to its lane, and its queue. Of lanes that are gone nothing is kept."""
    player = assert_told_exactly(lambda clock: RedisStorage.open(server, clock=clock), calls)
    with redis.Redis.from_url(server, decode_responses=True) as client:
        kept = {name[1:] for name in client.hkeys(f"gq:{{{player.queue}}}:c") if name.startswith("@")}
    assert kept <= set(player.places.values())


@lenient
@given(calls=plays)
def test_sqlite_tells_what_a_job_has_waited_for(sqlite: Callable[[FakeClock], Storage], calls: Play) -> None:
    """The same."""
    assert_told_exactly(sqlite, calls)


def test_many_turns_are_told_exactly_where_nothing_is_merged(
    server: str, sqlite: Callable[[FakeClock], Storage]
) -> None:
    """Lanes that change hands while jobs keep coming: most jobs are compared in full."""
    for make in (lambda clock: RedisStorage.open(server, clock=clock), sqlite):
        assert assert_told_exactly(make, TURNS).compared >= MOST_OF_TURNS


def test_lanes_of_any_name_are_told_apart_and_leave_nothing(server: str) -> None:
    """Names that look like the texts the waits are kept in, each with two turns; then all is purged."""
    names = ("a:b", "@", "\x00,1;2|", "1,2,0,3,", "é", "")
    clock, queue = FakeClock(), f"waits{next(QUEUES)}"
    store, owner = RedisStorage.open(server, clock=clock), Owner("alice", "first")
    bell = store.listen(owner, [queue])
    with redis.Redis.from_url(server) as client:

        def kept() -> set[str]:
            fields = client.hkeys(f"gq:{{{queue}}}:c")
            return {field.decode()[1:] for field in fields if field.startswith(b"@")}

        def turn() -> dict[str, dict[str, float]]:
            clock.advance(1)
            claimed = store.claim(owner, [queue], lanes=len(names), window=1, lease_seconds=LEASE)
            for grant in claimed.grants:
                done = Settlement(
                    lease=grant.lease, job_id=grant.jobs[0].id, action=Action.ACK, leaving=Leaving.YIELD,
                    window=1, next_id=None, change=grant.change,
                )  # fmt: skip
                assert [answer.status for answer in store.settle(owner, [done])] == ["done"]
            return {
                grant.lease.lane: grant.waits.split(grant.jobs[0].eligible_at, clock.wall())[1]
                for grant in claimed.grants
            }

        store.append(queue, [NewJob(body=b"", lane=name) for name in names for _ in range(3)])
        for seconds in (1, 2):
            told = turn()
            assert set(told) == set(names)
            assert all(causes["fairness"] == seconds for causes in told.values())
            assert kept() == set(names)
        assert store.purge(queue, dead=False) == len(names)
        assert not kept()
    bell.close()
    store.close()
