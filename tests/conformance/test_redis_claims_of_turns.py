"""Claims of turns of one job: their shortcut grants, answers and leaves what the whole script does."""

from __future__ import annotations

import random
import secrets
from typing import Any, Final

import msgspec
import pytest
import redis

from glassq.model.jobs import Dedup, NewJob, Priority
from glassq.model.leases import Claimed, Grant, Leaving, Owner, Settlement
from glassq.model.verdicts import Action
from glassq.storage import Terms
from glassq.stores.redis import scripts
from glassq.stores.redis.store import RedisStorage
from glassq.testing.clock import FakeClock
from tests.conformance.test_redis_shortcuts import commands, dump

QUEUE: Final = "orders"
ALICE, BOB = Owner("alice", "first"), Owner("bob", "first")
WHOLE_CLAIM = scripts.Script("claim", "stretches", "granting", *scripts.CLAIM_PARTS)
TERMS: Final = {QUEUE: Terms(together=True)}


class Story:
    """What happens to one queue, by a seed; and all answers of its claims."""

    def __init__(self, server: str, seed: int) -> None:
        self.clock = FakeClock()
        self.store = RedisStorage.open(server, clock=self.clock)
        self._random = random.Random(seed)
        self._held: list[tuple[Owner, Grant]] = []
        self.answers: list[Any] = []

    def fill(self, count: int, **said: Any) -> None:
        """So many jobs, for lanes of all."""
        lanes = [f"k{self._random.randrange(60)}" for _ in range(count)]
        self.store.append(QUEUE, [NewJob(body=b"|::", lane=lane, **said) for lane in lanes])

    def claim(self, owner: Owner = ALICE) -> Claimed:
        """Some lanes."""
        lanes = self._random.choice([1, 3, 9, 12])
        answer = self.store.claim(
            owner, [QUEUE], lanes=lanes, window=9, lease_seconds=15, begin=2, terms=TERMS
        )
        found = {queue: stood.counts for queue, stood in answer.found.items()}
        self.answers.append(msgspec.structs.replace(answer, found=found))
        self._held += [(owner, grant) for grant in answer.grants]
        return answer

    def end(self, share: float = 0.9) -> None:
        """The turns of some lanes."""
        kept = []
        for owner, grant in self._held:
            if self._random.random() > share:
                kept.append((owner, grant))
                continue
            action = self._random.choices([Action.ACK, Action.RETRY], [9, self._failing])[0]
            what = Settlement(
                lease=grant.lease, job_id=grant.jobs[0].id, action=action, leaving=Leaving.YIELD, wait=0.5
            )
            self.store.settle(owner, [what])
        self._held = kept

    _failing = 0

    def fail_at_times(self) -> None:
        """From here on."""
        self._failing = 1

    def go_on(self, rounds: int) -> None:
        """Claims, ends of turns, and jobs that come."""
        for _ in range(rounds):
            self.clock.sleep(self._random.choice([0.0001, 0.003, 0.003, 0.02]))
            self.claim(self._random.choice([ALICE, ALICE, BOB]))
            self.clock.sleep(0.001)
            self.end()
            if self._random.random() < 0.3:
                self.fill(5)


def tell(server: str, seed: int) -> list[Any]:
    """A story with whatever the shortcut leaves alone, and enough of what it does."""
    story = Story(server, seed)
    store, clock = story.store, story.clock
    story.fill(100)
    story.fill(100)
    clock.sleep(5)
    for owner in (ALICE, BOB):
        store.report(owner, [QUEUE])
    story.fill(100)
    story.fill(100)
    story.go_on(30)
    store.append(QUEUE, [NewJob(body=b"unique", lane="k7", dedup=Dedup("once"))])
    store.append(QUEUE, [NewJob(body=b"brief", lane="k8", ttl=99.0)])
    store.append(QUEUE, [NewJob(body=b"later", lane="k9", due=0.01)])
    story.fill(50)
    story.go_on(30)
    store.pause(QUEUE, "k5")
    story.go_on(3)
    store.pause(QUEUE)
    story.go_on(2)
    store.resume(QUEUE)
    store.resume(QUEUE, "k5")
    story.fill(50)
    story.go_on(5)
    clock.sleep(20)  # leases end, and nobody is known to serve
    story.fill(50)
    story.go_on(10)
    clock.step_wall(-0.005)
    story.go_on(5)
    story.fail_at_times()
    story.fill(50)
    story.go_on(30)
    story.fill(5, level=int(Priority.HIGH))
    story.go_on(10)
    store.close()
    return story.answers


@pytest.mark.parametrize("seed", range(8))
def test_the_shortcut_of_claims_means_the_same(
    server: str, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """One story with and without it: the same answers, and every key the same afterwards."""
    monkeypatch.setattr(secrets, "token_hex", lambda size: "ab" * size)
    with redis.Redis.from_url(server) as admin:
        admin.config_resetstat()
        answers, held = tell(server, seed), dump(admin)
        assert commands(admin)["zremrangebyrank"] >= 50  # only the shortcut does so
        admin.flushall()
        monkeypatch.setattr(scripts, "CLAIM", WHOLE_CLAIM)
        admin.config_resetstat()
        assert tell(server, seed) == answers
        assert "zremrangebyrank" not in commands(admin)
        assert dump(admin) == held


@pytest.mark.parametrize("together", [True, False], ids=["shortcut", "whole"])
def test_it_is_told_how_many_lanes_are_left(server: str, *, together: bool) -> None:
    """A worker goes by it, see `Reach`."""
    store = RedisStorage.open(server)
    store.append(QUEUE, [NewJob(body=b"|::", lane=f"k{number}") for number in range(20)])
    terms = {QUEUE: Terms(together=together)}
    claimed = [
        store.claim(ALICE, [QUEUE], lanes=3, window=9, lease_seconds=15, begin=3, terms=terms)
        for _ in range(7)
    ]
    assert [each.others.get(QUEUE) for each in claimed] == [17, 14, 11, 8, 5, 2, None]
    store.close()


@pytest.mark.parametrize("together", [True, False], ids=["shortcut", "whole"])
def test_it_is_told_whether_others_serve_the_queue(server: str, *, together: bool) -> None:
    """Of each queue that was looked into; those that said goodbye serve none."""
    store = RedisStorage.open(server)
    queues = [QUEUE, "refunds"]

    def is_alone(*queues: str) -> bool:
        lanes = [NewJob(body=b"|::", lane=secrets.token_hex(4)) for _ in range(4)]
        for queue in queues:
            store.append(queue, lanes)
        terms = dict.fromkeys(queues, Terms(together=together))
        return store.claim(ALICE, queues, lanes=2, window=9, lease_seconds=15, begin=2, terms=terms).alone

    store.report(ALICE, queues)
    assert is_alone(QUEUE)
    assert is_alone(*queues)
    bell = store.listen(BOB, ["refunds"])
    assert is_alone(QUEUE)
    assert not is_alone("refunds")
    assert not is_alone(*queues)
    bell.close()
    assert is_alone(*queues)
    store.close()
