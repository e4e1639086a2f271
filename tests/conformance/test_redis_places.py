"""Jobs that have their places before the one they wait for has ended come to what they come to without."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

import pytest
import redis

from glassq.errors import StorageUnavailable
from glassq.model.edges import After, EdgePolicy
from glassq.model.jobs import Cancellation, JobState, NewJob, StoredJob
from glassq.model.leases import Grant, Owner, Settlement, SettleStatus
from glassq.model.verdicts import Action
from glassq.stores.redis.store import RedisStorage
from glassq.testing.clock import FakeClock

ALICE = Owner("alice", "first")
AHEAD = 4
LANES = ("a", "b")


class Play:
    """A program in a queue of its own, whose worker runs `ahead` of the store by so many jobs, or waits. Jobs
    have names, which are their bodies."""

    def __init__(self, url: str, queue: str, ahead: int) -> None:
        self.clock = FakeClock()
        self.store = RedisStorage.open(url, clock=self.clock)
        self.queue, self.flow, self.ahead = queue, f"~{queue}/0123456789abcdef", ahead
        self.ids: dict[str, str] = {}
        self.names: dict[str, str] = {}
        self.held: dict[str, Grant] = {}
        self.jobs: dict[str, list[StoredJob]] = {}
        self.ran: dict[str, list[str]] = {}
        self.announced = ""
        self.ran_ahead = 0
        self.store.open_flow(self.flow, name="all", total=10_000, body=b"", keep_seconds=60)

    def append(self, *jobs: NewJob) -> None:
        """Enqueue jobs."""
        for job, answer in zip(jobs, self.store.append(self.queue, jobs), strict=True):
            self.ids[job.body.decode()], self.names[answer.id] = answer.id, job.body.decode()

    def chain(self, name: str, lane: str, policies: list[EdgePolicy], *, woven: bool) -> None:
        """One job after the other, of a workflow if they are `woven`."""
        flow = self.flow if woven else None
        first = NewJob(body=f"{name}0".encode(), lane=lane, flow=flow)
        rest = [
            NewJob(body=f"{name}{place}".encode(), lane=lane, flow=flow, after=(After(place - 1, policy),))
            for place, policy in enumerate(policies, 1)
        ]
        self.append(first, *rest)

    def join(self, name: str, parent: str) -> None:
        """One more that waits for a job."""
        self.append(NewJob(body=name.encode(), lane="side", after=(After(self.ids[parent]),)))
        self.relay()

    def relay(self) -> None:
        """Until there is nothing to relay."""
        while found := self.store.outbox(self.queue):
            self.store.deliver(self.queue, found)
            self.store.delivered(self.queue, [each.number for each in found])

    def take(self, lane: str) -> bool:
        """Hold this lane, and give other new ones back; False when it has no job that can run."""
        if lane not in self.held:
            grants = self.store.claim(ALICE, [self.queue], lanes=9, window=6, lease_seconds=15).grants
            others = [grant.lease for grant in grants if grant.lease.lane != lane]
            self.store.release(ALICE, others[::-1])
            for grant in grants:
                if grant.lease.lane == lane:
                    self.held[lane], self.jobs[lane] = grant, list(grant.jobs)
        return lane in self.held

    def run(self, lane: str, count: int) -> None:
        """Run so many jobs of a lane, as long as there are any; the last of them is waited for."""
        for left in range(count - 1, -1, -1):
            if not self.take(lane):
                return
            self.end(lane, Action.ACK, ahead=self.ahead if left else 0)

    def cancel_ahead(self, lane: str, count: int, name: str) -> None:
        """Cancel a job while a lane is run ahead, whose worker is heard of with the next one."""
        for _ in range(count):
            if self.take(lane):
                self.end(lane, Action.ACK, ahead=self.ahead)
        if name in self.ids and all(jobs[0].id != self.ids[name] for jobs in self.jobs.values()):
            self.store.cancel(self.ids[name])
        self.run(lane, 1)

    def end(self, lane: str, action: Action, *, ahead: int = 0) -> None:
        """Settle the head."""
        grant, jobs = self.held[lane], self.jobs[lane]
        job = jobs.pop(0)
        name = self.names[job.id]
        self.ran.setdefault(lane, []).append(f"{name} {self.upstream(name)}")
        begun = bool(ahead and jobs) and self.announced == lane
        what = Settlement(
            lease=grant.lease,
            job_id=job.id,
            action=action,
            next_id=jobs[0].id if jobs else None,
            change=grant.change,
            window=6,
            ahead=ahead,
            begun=begun,
            result=name.encode() if action is Action.ACK and len(name) % 2 else None,
        )
        [answer] = self.store.settle(ALICE, [what])
        assert answer.status is SettleStatus.DONE
        self.announced = lane if ahead else ""
        self.ran_ahead += begun and answer.released > 0
        self.jobs[lane] = list(answer.jobs) or jobs
        if answer.held:
            self.held[lane] = Grant(lease=grant.lease, jobs=(), change=answer.change)
        else:
            del self.held[lane], self.jobs[lane]
        self.relay()

    def upstream(self, name: str) -> list[tuple[str, str, bytes | None]]:
        """What those left that a job waited for."""
        found = self.store.upstream(self.ids[name])
        return [(self.names[each.job], str(each.outcome), each.result) for each in found]

    def give_back(self) -> None:
        """Leave all lanes."""
        self.store.release(ALICE, [grant.lease for grant in self.held.values()])
        self.held.clear()
        self.jobs.clear()

    def standing(self) -> dict[str, Any]:
        """What is left of each job, and the figures."""
        left: dict[str, Any] = {}
        for name, job_id in self.ids.items():
            record = self.store.get(job_id)
            left[name] = None if record is None else record.state is JobState.BURIED
        [stats] = self.store.stats([self.queue])
        outcomes = self.store.flow_outcomes(self.flow)
        left["ended"] = {self.names[job_id]: outcome for job_id, outcome in outcomes.items()}
        left["figures"] = (stats.settled, stats.enqueued, stats.replayed, stats.dead_letters, stats.depth)
        return left


@pytest.mark.parametrize("seed", range(3, 9))
def test_random_programs(server: str, seed: int) -> None:
    """Chains, ends, cancels, purges, replays and others that join come to the same, wherever jobs stand, and
    leave nothing behind."""
    chance = Random(seed)
    plays = Play(server, "ahead", AHEAD), Play(server, "waits", 0)
    for step in range(60):
        do_something(plays, chance, step)
        ahead, waits = (play.standing() for play in plays)
        assert ahead == waits
    for play in plays:
        drain(play)
    assert plays[0].ran == plays[1].ran
    assert plays[0].standing() == plays[1].standing()
    assert plays[0].ran_ahead > plays[1].ran_ahead == 0
    with redis.Redis.from_url(server) as admin:
        kept = {key.decode().split(":")[2] for key in admin.scan_iter("gq:{*}:j*")}
    assert kept <= {"jg", "jj", "jz"}


def drain(play: Play) -> None:
    """Run all that can run, and drop the rest."""
    ran = True
    while ran:
        ran = False
        for lane in (*LANES, "side"):
            ran = play.take(lane) or ran
            play.run(lane, 3)
        play.give_back()
    play.store.purge(play.queue, dead=True)
    while play.store.purge(play.queue, dead=False):
        pass


def do_something(plays: Sequence[Play], chance: Random, step: int) -> None:
    """One call, or a few, in each."""
    lane, kind, dice = chance.choice(LANES), chance.randint(0, 17), chance.random()
    bad = chance.choice((Action.BURY, Action.BURY, Action.CANCEL, Action.EXPIRE))
    usual, other = EdgePolicy.CANCEL, EdgePolicy.WAIT
    policies = [chance.choice((*[usual] * 9, other)) for _ in range(chance.randint(3, 9))]
    known = {name: is_dead for name, is_dead in plays[0].standing().items() if isinstance(is_dead, bool)}
    left = [name for name, is_dead in known.items() if not is_dead]
    there = [name for name in left if name[0] == lane] if kind > 15 else left
    one = chance.choice(there) if there else ""
    for play in plays:
        # In a lane of its own: others come behind those that have their places, else before them.
        if kind <= 3 and lane not in {each[0] for each in known}:
            play.chain(f"{lane}{step:02}.", lane, policies, woven=dice < 0.7)
        elif kind <= 8:
            play.run(lane, 2 + int(dice * 4))
        elif kind <= 10 and play.take(lane):
            play.end(lane, bad)
        elif kind > 10:
            interfere(play, kind, lane, one, step)
        play.relay()


def interfere(play: Play, kind: int, lane: str, one: str, step: int) -> None:
    """What others do."""
    match kind:
        case 16 | 17:
            play.cancel_ahead(lane, 1 + step % 3, one)
        case 11 if one and one not in {play.names[jobs[0].id] for jobs in play.jobs.values()}:
            play.give_back()
            play.store.cancel(play.ids[one])
        case 12 if one:
            play.join(f"{one}+{step}", one)
        case 13:
            play.give_back()
            dead = [each.job.id for each in play.store.dead(play.queue, 99)]
            play.store.replay(play.queue, dead, front=True)
        case 14 if step % 3 == 0:
            play.give_back()
            while play.store.purge(play.queue, dead=False):
                pass
        case 15:
            play.give_back()


def test_the_next_steps_have_their_places(server: str) -> None:
    """As many as fit into the window, behind each other; they wait for one another nevertheless."""
    play = Play(server, "orders", AHEAD)
    play.chain("s", "a", [EdgePolicy.CANCEL] * 7, woven=True)
    assert play.take("a")
    play.end("a", Action.ACK, ahead=AHEAD)
    jobs = play.jobs["a"]
    assert [job.body for job in jobs] == [b"s1", b"s2", b"s3", b"s4", b"s5", b"s6"]
    assert [job.seq for job in jobs] == [2, 3, 4, 5, 6, 7]
    assert play.store.stats(["orders"])[0].deferred == 1
    assert play.upstream("s1") == [("s0", "succeeded", None)]
    with pytest.raises(StorageUnavailable, match="has not ended yet"):
        play.upstream("s2")
    play.append(NewJob(body=b"other", lane="a"))
    drain(play)
    assert [told.split()[0] for told in play.ran["a"]] == [
        *("s0", "s1", "s2", "s3", "s4", "s5", "s6"),
        "other",
        "s7",
    ]


def test_what_follows_a_slow_job_has_waited_since_its_end(server: str) -> None:
    """Not since it has its place: what has taken long is none of its waiting."""
    play = Play(server, "orders", AHEAD)
    play.chain("s", "a", [EdgePolicy.CANCEL] * 3, woven=False)
    assert play.take("a")
    play.end("a", Action.ACK, ahead=AHEAD)
    began, clock = play.jobs["a"][0].eligible_at, play.clock
    clock.sleep(9)
    play.end("a", Action.ACK)
    assert [job.eligible_at - began for job in play.jobs["a"]] == pytest.approx([9, 0])
    assert play.upstream("s2") == [("s1", "succeeded", None)]


def test_a_cancel_asks_for_what_may_have_begun(server: str) -> None:
    """As in any lane that is run ahead; those behind it go with it."""
    play = Play(server, "orders", AHEAD)
    play.chain("s", "a", [EdgePolicy.CANCEL] * 8, woven=True)
    assert play.take("a")
    play.end("a", Action.ACK, ahead=AHEAD)
    assert play.store.cancel(play.ids["s6"]) is Cancellation.REMOVED  # further ahead than the worker may be
    assert play.store.cancel(play.ids["s4"]) is Cancellation.ASKED
    play.end("a", Action.ACK)
    assert [job.body for job in play.jobs["a"]] == [b"s2", b"s3"]
    assert play.store.stats(["orders"])[0].settled["cancelled"] == 5
    drain(play)


def test_what_runs_after_a_failure_runs(server: str) -> None:
    """One that has its place behind a job that fails, and is to run nevertheless, comes in anew."""
    play = Play(server, "orders", AHEAD)
    play.chain(
        "s", "a", [EdgePolicy.CANCEL, EdgePolicy.CANCEL, EdgePolicy.RUN, EdgePolicy.CANCEL], woven=True
    )
    assert play.take("a")
    play.end("a", Action.ACK, ahead=AHEAD)
    play.append(NewJob(body=b"other", lane="a"))
    play.end("a", Action.ACK, ahead=AHEAD)
    play.end("a", Action.BURY)
    assert [job.body for job in play.jobs["a"]] == [b"other", b"s3"]
    assert play.upstream("s3") == [("s2", "buried", None)]
    drain(play)
    assert [told.split()[0] for told in play.ran["a"]] == ["s0", "s1", "s2", "other", "s3", "s4"]


ALONE = {
    "a time to live": NewJob(body=b"s2", lane="a", after=(After(1),), ttl=9),
    "another lane": NewJob(body=b"s2", lane="b", after=(After(1),)),
    "another level": NewJob(body=b"s2", lane="a", level=2, after=(After(1),)),
    "another parent": NewJob(body=b"s2", lane="a", after=(After(1), After(0))),
}


@pytest.mark.parametrize("why", ALONE)
def test_others_wait_beside_the_lane(server: str, why: str) -> None:
    """What has more to it than to be the next of a chain is let in when its turn comes."""
    play = Play(server, "orders", AHEAD)
    play.append(NewJob(body=b"s0", lane="a"), NewJob(body=b"s1", lane="a", after=(After(0),)), ALONE[why])
    assert play.take("a")
    play.end("a", Action.ACK, ahead=AHEAD)
    assert [job.body for job in play.jobs["a"]] == [b"s1"]
