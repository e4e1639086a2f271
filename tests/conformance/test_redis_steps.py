"""Settlements in short, which nobody reads the answers of, leave what the whole script leaves."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Callable
from typing import Any

import pytest
import redis

from glassq.errors import StorageError
from glassq.model.edges import After
from glassq.model.jobs import Dedup, NewJob
from glassq.model.leases import Grant, Leaving, Owner, Settlement
from glassq.model.verdicts import Action
from glassq.stores.redis import scripts
from glassq.stores.redis.replies import local_id
from tests.conformance.test_redis_shortcuts import ALICE, BOB, QUEUE, Story, commands, dump

WHOLE = scripts.Script("settle", *scripts.SETTLE_PARTS, before=("in_full",))
JOBS = 12


class Steps(Story):
    """A lane that is run ahead, in a queue with a dead letter of this lane and another lane that is held."""

    def __init__(self, server: str, admin: redis.Redis) -> None:
        super().__init__(server)
        self.admin = admin
        [self.elsewhere] = self.append(NewJob(body=b"elsewhere", lane="b"))
        self.claim_each(lanes=1, begin=1)
        [self.dead] = self.append(NewJob(body=b"dead", lane="a"))
        self.append(*[NewJob(body=b"|::a", lane="a")] * 5)
        self.append(NewJob(body=b"once", lane="a", dedup=Dedup("once")))
        self.append(*[NewJob(body=b"a", lane="a")] * (JOBS - 6))
        self.lane = self._granted()

    def _granted(self) -> Grant:
        grant = self.claim(window=JOBS + 1)
        bury = Settlement(
            lease=grant.lease,
            job_id=grant.jobs[0].id,
            action=Action.BURY,
            leaving=Leaving.STAY,
            next_id=grant.jobs[1].id,
            change=grant.change,
            window=JOBS,
            reason="failed",
            error=b"no",
        )
        self.store.settle(ALICE, [bury])
        self.settle(grant, grant.jobs[1].id, grant.jobs[2].id, ahead=9)
        return grant

    def step(self, index: int, *, owner: Owner = ALICE) -> None:
        """Settle this job of the lane in short, then take down what all keys hold."""
        lease, jobs = self.lane.lease, self.lane.jobs
        pass_of_lane = (lease.lane, f"{lease.token}|{owner}|", f"|{self.lane.change}")
        named = (local_id(QUEUE, jobs[index].id), local_id(QUEUE, jobs[index + 1].id))
        server, key = self.store._server, self.store._keys.counters(QUEUE)
        with contextlib.suppress(StorageError):  # nobody hears of that
            server.run(scripts.SETTLE, key, *pass_of_lane, *named)
        self.take_down()

    def take_down(self) -> None:
        """What all keys hold, but when anything was settled last."""
        held = dump(self.admin)
        held["c"] = {name: told for name, told in held["c"].items() if name not in (b"seen", b"last")}
        self.answers.append(held)

    def ask(self, index: int) -> None:
        """Settle this job of the lane as one that is answered, and take its answer and all keys down."""
        lane, jobs = self.lane, self.lane.jobs
        try:
            self.settle(lane, jobs[index].id, jobs[index + 1].id, begun=True)
        except StorageError as error:
            self.answers.append(str(error))
        self.answers.append(dump(self.admin))


def nothing(_story: Steps) -> None:
    """Happens."""


def cancel(story: Steps) -> None:
    """A job the holder may have begun."""
    story.answers.append(story.store.cancel(story.lane.jobs[8].id))


def pause(story: Steps) -> None:
    """The lane."""
    story.store.pause(QUEUE, "a")


def pause_all(story: Steps) -> None:
    """The queue."""
    story.store.pause(QUEUE)


def overtake(story: Steps) -> None:
    """The first job of a higher level."""
    story.append(NewJob(body=b"urgent", lane="a", level=6))


def wait_for_it(story: Steps) -> None:
    """A job of the window has a child now, which its end lets go."""
    story.append(NewJob(body=b"child", lane="c", after=(After(story.lane.jobs[4].id),)))


def wait_for_another(story: Steps) -> None:
    """Somebody waits, but for no job of this lane."""
    story.append(NewJob(body=b"child", lane="c", after=(After(story.elsewhere),)))


def purge(story: Steps) -> None:
    """All that is not run, nor may be."""
    story.answers.append(story.store.purge(QUEUE, dead=False))


def replay(story: Steps) -> None:
    """A dead letter, to the front of the lane."""
    story.answers.append(story.store.replay(QUEUE, [story.dead], front=True))


def take_over(story: Steps) -> None:
    """Somebody else has the lane."""
    story.store.release(ALICE, [story.lane.lease])
    story.answers.append(story.store.claim(BOB, [QUEUE], lanes=2, window=2, lease_seconds=15).grants)


def pass_by(story: Steps) -> None:
    """Somebody else says so, and somebody says it again."""
    story.step(4, owner=BOB)
    story.step(3)


@pytest.mark.parametrize(
    ("happens", "taken"),
    [
        (nothing, 4),
        (cancel, 2),
        (pause, 2),
        (pause_all, 2),
        (overtake, 2),
        (wait_for_it, 3),
        (wait_for_another, 4),
        (purge, 4),
        (replay, 2),
        (take_over, 2),
        (pass_by, 4),
    ],
)
def test_a_step_means_what_the_whole_script_means(
    server: str, monkeypatch: pytest.MonkeyPatch, happens: Callable[[Steps], None], taken: int
) -> None:
    """Whatever happens in the middle of a group: all keys are the same after each step, and what is answered
    at its end. So many are taken in short; what is not plain, as always the unique job, is left to the
    whole."""
    monkeypatch.setattr(secrets, "token_hex", lambda size: "ab" * size)

    def tell() -> tuple[list[Any], int]:
        with redis.Redis.from_url(server) as admin:
            admin.flushall()
            admin.config_resetstat()
            story = Steps(server, admin)
            story.step(2)
            story.step(3)
            happens(story)
            for index in (4, 5, 6):
                story.step(index)
            story.ask(7)
            story.ask(9)
            story.store.close()
            return story.answers, commands(admin).get("hincrby", 0)

    in_short, counted = tell()
    monkeypatch.setattr(scripts, "SETTLE", WHOLE)
    whole, fewer = tell()
    assert in_short == whole
    assert counted - fewer == taken


def test_an_outage_is_noticed_behind_steps_that_note_no_time(server: str) -> None:
    """What came in time is carried out late: the holder gets a fresh lease from whoever comes next, and keeps
    the lane."""
    with redis.Redis.from_url(server) as admin:
        story = Steps(server, admin)
        story.step(2)
        story.clock.sleep(40)  # the server stood still for longer than the lease
        story.step(3)
        claimed = story.store.claim(BOB, [QUEUE], lanes=2, window=2, lease_seconds=15)
        assert claimed.grants == ()
        story.ask(4)
        assert story.store.stats([QUEUE])[0].settled["succeeded"] == 4
        story.store.close()


def test_a_full_server_takes_steps(server: str) -> None:
    """A step begins with what needs no memory, as all that settles."""
    with redis.Redis.from_url(server) as admin:
        story = Steps(server, admin)
        story.step(2)
        admin.config_set("maxmemory", 1)
        try:
            story.step(3)
            told = story.store.stats([QUEUE])[0].settled["succeeded"]
        finally:
            admin.config_set("maxmemory", 0)
        assert told == 3
        story.store.close()
