"""The shortcuts of the scripts answer and leave what the whole scripts do."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from itertools import cycle
from typing import Any

import msgspec
import pytest
import redis

from glassq.errors import StorageError
from glassq.model.edges import After, EdgePolicy
from glassq.model.flows import Delivery
from glassq.model.jobs import Cancellation, Dedup, JobState, NewJob
from glassq.model.leases import Grant, Lease, Leaving, Owner, Settled, Settlement
from glassq.model.names import gate_of
from glassq.model.verdicts import Action
from glassq.storage import Terms
from glassq.stores.redis import scripts
from glassq.stores.redis.store import RedisStorage
from glassq.testing.clock import FakeClock

QUEUE = "orders"
ALICE, BOB = Owner("alice", "first"), Owner("bob", "first")
WHOLE_SETTLE = scripts.Script("settle", *scripts.SETTLE_PARTS)


class Story:
    """Calls to one store, and all its answers."""

    def __init__(self, server: str, *, together: bool = False) -> None:
        self.clock = FakeClock()
        self._terms = {QUEUE: Terms(together=together)}
        self.store = RedisStorage.open(server, clock=self.clock)
        self.answers: list[Any] = []

    def append(self, *jobs: NewJob) -> list[str]:
        """The ids."""
        found = self.store.append(QUEUE, jobs)
        self.answers += [
            msgspec.structs.replace(each, found=each.found and each.found.counts) for each in found
        ]
        return [each.id for each in found]

    def claim(self, window: int, ahead: int = 0) -> Grant:
        """The one lane that is ready; so many of its jobs may be run ahead at once."""
        [grant] = self.store.claim(
            ALICE, [QUEUE], lanes=1, window=window, lease_seconds=15, ahead=ahead
        ).grants
        self.answers.append(grant)
        return grant

    def claim_each(self, *, lanes: int, begin: int, window: int = 1) -> tuple[Grant, ...]:
        """Lanes, of which so many begin at once; `together` all of which nothing is noted."""
        grants = self.store.claim(
            ALICE,
            [QUEUE],
            lanes=lanes,
            window=window,
            lease_seconds=15,
            begin=begin,
            ahead=window - 1,
            terms=self._terms,
        ).grants
        self.answers.append(grants)
        return grants

    def settle(
        self,
        grant: Grant,
        job: str,
        following: str | None,
        *,
        owner: Owner = ALICE,
        leaving: Leaving = Leaving.STAY,
        ahead: int = 0,
        begun: bool = False,
        begins: Lease | None = None,
        refused: bool = False,
    ) -> None:
        """Acknowledge a job, naming the one after it, which may have `begun`, or the lane that `begins`."""
        what = Settlement(
            lease=grant.lease,
            job_id=job,
            action=Action.ACK,
            leaving=leaving,
            next_id=following,
            change=grant.change,
            window=3,
            ahead=ahead,
            begun=begun,
            begins=begins,
        )
        if refused:
            with pytest.raises(StorageError):
                self.store.settle(owner, [what])
            return
        [answer] = self.store.settle(owner, [what])
        self.answers.append(msgspec.structs.replace(answer, found=answer.found and answer.found.counts))

    def end_together(
        self,
        *ends: tuple[Grant, str] | tuple[Grant, str, str],
        owner: Owner = ALICE,
        begins: Lease | None = None,
        refused: bool = False,
    ) -> None:
        """Acknowledge jobs that end the turns of their lanes, in one message; with it this lane begins. Where
        a job is named behind it, the turn goes on with that."""
        whats = [
            Settlement(
                lease=grant.lease,
                job_id=job,
                action=Action.ACK,
                **({"next_id": following[0], "begun": True} if following else {"leaving": Leaving.YIELD}),
            )
            for grant, job, *following in ends
        ]
        whats[-1] = msgspec.structs.replace(whats[-1], begins=begins)
        for sent in self.store.settle_together(owner, whats):
            if refused:
                with pytest.raises(StorageError):
                    sent.answer()
            else:
                answer = sent.answer()
                self.answers.append(
                    msgspec.structs.replace(answer, found=answer.found and answer.found.counts)
                )


def tell(server: str) -> list[Any]:
    """A story in which both shortcuts are taken, and left for each reason there is; its answers."""
    story = Story(server)
    [a] = story.append(NewJob(body=b"a|:b:"))
    b, c = story.append(NewJob(body=b"b"), NewJob(body=b"c"))
    story.append(NewJob(body=b"elsewhere", lane="k"))
    [d] = story.append(NewJob(body=b"d"))
    story.append(NewJob(body=b"far", lane="k"), NewJob(body=b"near"))
    grant = story.claim(window=9)
    story.settle(grant, a, b)
    story.settle(grant, a, b)  # repeated
    story.settle(grant, b, c, owner=BOB)  # not his
    story.clock.sleep(0.001)
    story.settle(grant, b, c)
    story.settle(grant, c, c)  # not its successor
    story.clock.sleep(5)
    [unique] = story.append(NewJob(body=b"once", dedup=Dedup("once")))
    [last] = story.append(NewJob(body=b"last"))
    near = story.answers[-3].jobs[1].id
    story.settle(grant, d, near)
    story.settle(grant, near, unique)
    story.settle(grant, unique, last)
    story.append(NewJob(body=b"once", dedup=Dedup("once")))
    story.store.pause(QUEUE, "other")
    story.settle(grant, last, None, leaving=Leaving.KEEP)
    story.append(NewJob(body=b"urgent", level=6))
    story.append(NewJob(body=b"usual"))
    story.store.close()
    return story.answers


def tell_of_idle_lanes(server: str) -> list[Any]:
    """A story of jobs that wake lanes, and what the shortcut leaves alone; its answers."""
    story = Story(server)
    story.append(NewJob(body=b"the queue's first", lane="x"))
    story.append(NewJob(body=b"wakes", lane="y"))
    story.append(NewJob(body=b"wakes, too", lane="z"), NewJob(body=b"and waits", lane="z"))
    story.clock.sleep(5)
    story.append(NewJob(body=b"after a while", lane="v"))
    story.append(NewJob(body=b"one here", lane="u"), NewJob(body=b"one there", lane="t"))
    grants = story.claim_each(lanes=2, begin=2)
    story.append(NewJob(body=b"beside lanes that are held", lane="s"))
    story.clock.sleep(5)
    story.append(NewJob(body=b"when their leases count", lane="r"))
    for grant in grants:  # both vanish
        story.settle(grant, grant.jobs[0].id, None)
    story.append(NewJob(body=b"wakes again", lane="x"))
    story.clock.step_wall(-2)
    story.append(NewJob(body=b"before its time", lane="w"))
    story.store.pause(QUEUE, "k")
    story.append(NewJob(body=b"paused", lane="k"))
    story.append(NewJob(body=b"beside one that is paused", lane="l"))
    story.store.resume(QUEUE, "k")
    story.store.pause(QUEUE)
    story.append(NewJob(body=b"wakes nobody", lane="m"))
    story.store.resume(QUEUE)
    story.append(NewJob(body=b"urgent", lane="n", level=6))
    story.append(NewJob(body=b"usual", lane="o"))
    while grants := story.claim_each(lanes=5, begin=5):
        for grant in grants:
            story.settle(grant, grant.jobs[0].id, None)
    story.store.close()
    return story.answers


def tell_ahead(server: str) -> list[Any]:
    """A story of a lane that is run ahead, with what ends that; its answers."""
    story = Story(server)
    [a] = story.append(NewJob(body=b"a"))
    b, c, d, e, f, g, h = story.append(*(NewJob(body=bytes([each])) for each in b"bcdefgh"))
    grant = story.claim(window=9)
    story.settle(grant, a, b, ahead=2)
    story.settle(grant, b, c, begun=True)
    story.settle(grant, b, c, begun=True)  # repeated
    story.settle(grant, c, d, begun=True)
    story.settle(grant, d, e, begun=True, owner=BOB)  # not his
    story.settle(grant, d, e, ahead=2)
    story.settle(grant, e, f, ahead=0)  # was slow
    story.settle(grant, f, g, ahead=2)
    story.answers.append(story.store.cancel(h))
    story.settle(grant, g, h, begun=True)  # asked to be cancelled, but begun
    story.settle(grant, h, None, begun=False)
    story.store.close()
    return story.answers


def tell_from_the_claim(server: str) -> list[Any]:
    """A story of a lane that may be run ahead as soon as it is granted; its answers."""
    story = Story(server)
    a, b, c = story.append(*(NewJob(body=bytes([each])) for each in b"abc"))
    grant = story.claim(window=9, ahead=3)
    story.settle(grant, a, b, begun=True)
    story.settle(grant, b, c, begun=True, owner=BOB)  # not his
    story.settle(grant, b, c, begun=True)
    story.store.close()
    return story.answers


def tell_of_turns(server: str) -> list[Any]:
    """A story of lanes that are given up after each job, and what the shortcut leaves alone; its answers."""
    story = Story(server)
    a, b = story.append(NewJob(body=b"a|:b:", lane="x"), NewJob(body=b"b", lane="x"))
    [c] = story.append(NewJob(body=b"c", lane="y"))
    first, second = story.claim_each(lanes=5, begin=1)
    story.settle(first, a, None, leaving=Leaving.YIELD, owner=BOB)  # not his
    story.settle(first, b, None, leaving=Leaving.YIELD, refused=True)  # not the head
    story.settle(first, a, None, leaving=Leaving.YIELD, begins=second.lease)
    story.settle(first, a, None, leaving=Leaving.YIELD, begins=second.lease)  # repeated
    story.settle(second, c, None, leaving=Leaving.YIELD)  # the lane vanishes
    [third] = story.claim_each(lanes=5, begin=1)
    story.answers.append(story.store.cancel(b))
    story.settle(third, b, None, leaving=Leaving.YIELD)  # asked to be cancelled
    [unique] = story.append(NewJob(body=b"once", lane="z", dedup=Dedup("once")))
    story.settle(story.claim(window=1), unique, None, leaving=Leaving.YIELD)
    [d] = story.append(NewJob(body=b"d", lane="z"))
    story.store.pause(QUEUE, "other")
    story.settle(story.claim(window=1), d, None, leaving=Leaving.YIELD)
    story.append(NewJob(body=b"waits", lane="w"))
    story.claim_each(lanes=1, begin=0)
    story.store.close()
    return story.answers


def tell_of_bundles(server: str, *, together: bool) -> list[Any]:
    """A story of lanes that are given up together, and what the shortcut leaves alone; its answers."""
    story = Story(server, together=together)
    jobs = {lane: story.append(*[NewJob(body=b"|:", lane=lane)] * 3) for lane in "vwxyz"}
    [only] = story.append(NewJob(body=b"only", lane="o"))
    v, w, x, y, z, o = story.claim_each(lanes=6, begin=1)
    story.settle(o, only, None, leaving=Leaving.YIELD, owner=BOB)  # from here on nobody waits for answers
    story.end_together((v, jobs["v"][0]), (w, jobs["w"][0]), owner=BOB)  # not his
    story.end_together((v, jobs["v"][0]), (w, jobs["w"][1]), refused=True)  # not the head, behind one that is
    story.end_together((o, only), (w, jobs["w"][0]), (v, jobs["v"][0]), begins=x.lease)  # one vanishes
    story.end_together((o, only), (w, jobs["w"][0]), (v, jobs["v"][0]), begins=x.lease)  # repeated
    story.end_together((w, jobs["w"][0]))  # one of them alone
    story.answers.append(story.store.cancel(jobs["y"][0]))
    story.end_together((x, jobs["x"][0]), (y, jobs["y"][0]))  # asked to be cancelled
    story.clock.sleep(0.001)
    story.end_together((z, jobs["z"][0]))
    w, v, x, y, z = story.claim_each(lanes=6, begin=6)
    story.answers.append(story.store.cancel(jobs["z"][2]))  # a lane that changed
    story.end_together((z, jobs["z"][1]), (w, jobs["w"][1]))
    [once] = story.append(NewJob(body=b"once", lane="u", dedup=Dedup("once")))
    w, u = story.claim_each(lanes=2, begin=2)
    story.end_together((v, jobs["v"][1]), (u, once))  # with a flag
    story.clock.sleep(0.001)
    story.end_together((x, jobs["x"][1]), (y, jobs["y"][1]), begins=v.lease)
    v, x, y = story.claim_each(lanes=6, begin=6)
    story.end_together(*((grant, grant.jobs[0].id) for grant in (w, v, x, y)))  # all vanish
    story.append(NewJob(body=b"last", lane="x"))
    story.claim_each(lanes=1, begin=0)
    story.store.close()
    return story.answers


def tell_of_short_turns(server: str) -> list[Any]:
    """A story of lanes that go on together, and what the shortcut leaves alone; its answers."""
    story = Story(server, together=True)
    jobs = {lane: story.append(*[NewJob(body=b"|:", lane=lane)] * 4) for lane in "vwxyz"}
    [only] = story.append(NewJob(body=b"only", lane="o"))
    v, w, x, y, z, o = story.claim_each(lanes=6, begin=6, window=9)
    first, second, third = ({lane: (ids[at], ids[at + 1]) for lane, ids in jobs.items()} for at in range(3))
    story.settle(o, only, None, leaving=Leaving.YIELD, owner=BOB)  # from here on nobody waits for answers
    story.end_together((v, *first["v"]), (w, *first["w"]), owner=BOB)  # not his
    story.end_together((v, *first["v"]), (w, *second["w"]), refused=True)  # not the head, behind one that is
    story.end_together((v, *first["v"]), (w, *first["w"]))
    story.end_together((v, *first["v"]), (w, *first["w"]))  # repeated
    story.end_together((v, *second["v"]), (o, only), (x, jobs["x"][0]), (w, *second["w"]))  # one vanishes
    story.end_together((w, *third["w"]), (y, jobs["y"][0]), begins=z.lease)
    story.answers.append(story.store.cancel(jobs["z"][1]))  # a lane that changed
    story.clock.sleep(0.001)
    story.end_together((z, *first["z"]), (v, *third["v"]))
    story.append(NewJob(body=b"high", lane="w", level=1))  # another level
    story.end_together((v, jobs["v"][3]), (w, jobs["w"][3]))
    story.claim_each(lanes=9, begin=9)
    story.store.close()
    return story.answers


def tell_of_children(server: str) -> list[Any]:
    """A story of jobs that wait for others, and what the shortcut leaves alone; its answers."""
    story = Story(server)
    flow, far = f"~{QUEUE}/f", "~elsewhere/f"
    story.store.open_flow(flow, name="chain", total=4, body=b"", keep_seconds=60)
    jobs = [
        NewJob(body=b"0", flow=flow, after=(After(gate_of(flow)),)),
        NewJob(body=b"1", flow=flow, after=(After(0, name="|first\n3:1:"),), ttl=9),
        NewJob(body=b"2|", flow=flow, after=(After(1, EdgePolicy.WAIT),)),
        NewJob(body=b"3", flow=flow, after=(After(2, EdgePolicy.RUN),)),  # the last of its workflow
        NewJob(body=b"4", after=(After(3),)),
        NewJob(body=b"5", after=(After(4),)),
        NewJob(body=b"6", after=(After(5), After(4))),  # of several parents
        NewJob(body=b"7", lane="k", after=(After(6),)),  # in another lane
        NewJob(body=b"8", flow=far, after=(After(7),)),
        NewJob(body=b"9", after=(After(8),)),  # after one of a workflow that is elsewhere
        NewJob(body=b"10", after=(After(9),)),  # one of two
        NewJob(body=b"11", after=(After(9),)),
        NewJob(body=b"12", after=(After(11),), dedup=Dedup("once")),
    ]
    ids = story.append(*jobs)
    story.store.follow(ids[12], [("elsewhere/x:1", EdgePolicy.CANCEL)])  # the only one is elsewhere
    story.store.deliver(QUEUE, [Delivery(to=gate_of(flow), parent=gate_of(flow), outcome=JobState.SUCCEEDED)])
    results = cycle((b"left", b"", None))
    lanes = [*story.claim_each(lanes=1, begin=1)]
    while lanes:
        grant = lanes.pop()
        story.clock.sleep(0.001)
        what = Settlement(lease=grant.lease, job_id=grant.jobs[0].id, action=Action.ACK, result=next(results))
        found = [story.store.settle(owner, [what])[0] for owner in (BOB, ALICE, ALICE)]  # not his; repeated
        story.answers += [
            msgspec.structs.replace(each, found=each.found and each.found.counts) for each in found
        ]
        story.answers.append([story.store.upstream(job) for job in ids])
        if found[2].jobs:
            lanes.append(msgspec.structs.replace(grant, jobs=found[2].jobs))
        else:
            lanes += story.claim_each(lanes=1, begin=1)
    story.answers.append(story.store.flow_outcomes(flow))
    story.store.close()
    return story.answers


def tell_of_steps(server: str, going_on: scripts.Script, patch: pytest.MonkeyPatch) -> list[Any]:
    """A story of chains that are run ahead, whose further steps this script settles; its answers."""
    story, before = Story(server), scripts.SETTLE
    flow = f"~{QUEUE}/f"
    story.store.open_flow(flow, name="chain", total=9, body=b"", keep_seconds=60)
    for woven in (None, flow):
        steps = [NewJob(body=bytes([each]), flow=woven, after=(After(each),)) for each in range(6)]
        ids = story.append(NewJob(body=b"first|", flow=woven), *steps)
        grant, results = story.claim(window=9), cycle((b"left", None))
        for job, following in zip(ids, [None, *ids[2:6], None], strict=False):
            begun = following is not None
            patch.setattr(scripts, "SETTLE", going_on if begun else before)
            what = Settlement(
                lease=grant.lease,
                job_id=job,
                action=Action.ACK,
                next_id=following,
                change=grant.change,
                window=9,
                ahead=5,
                begun=begun,
                result=next(results),
            )
            story.clock.sleep(0.001)
            for owner in (BOB, ALICE, ALICE):  # not his; repeated
                [answer] = story.store.settle(owner, [what])
                found = answer.found and answer.found.counts
                story.answers.append(msgspec.structs.replace(answer, found=found))
        story.settle(grant, ids[6], None)
    patch.setattr(scripts, "SETTLE", before)
    story.answers.append(story.store.flow_outcomes(flow))
    story.store.close()
    return story.answers


def dump(admin: redis.Redis) -> dict[str, Any]:
    """All that a queue's keys hold, but what the server's own clock and name are in."""
    held: dict[str, Any] = {}
    for key in admin.scan_iter("gq:{*"):
        name = key.decode().removeprefix(f"gq:{{{QUEUE}}}:")
        match admin.type(key):
            case b"hash":
                held[name] = {field: value for field, value in admin.hgetall(key).items() if field != b"id"}
            case b"list":
                held[name] = admin.lrange(key, 0, -1)
            case b"zset":
                held[name] = admin.zrange(key, 0, -1, withscores=True)
            case b"set":
                held[name] = admin.smembers(key)
            case b"stream":
                held[name] = admin.xlen(key)
    return held


def commands(admin: redis.Redis) -> dict[str, int]:
    """How often each was called since the statistics were reset."""
    return {name.removeprefix("cmdstat_"): told["calls"] for name, told in admin.info("commandstats").items()}


def both_ways(
    server: str, patch: pytest.MonkeyPatch, tell: Callable[[], list[Any]]
) -> tuple[list[Any], dict[str, Any], dict[str, int], dict[str, int]]:
    """Tell a story with the shortcuts of `settle` and without: the answers and what is held then, which are
    the same, and the commands of either."""
    patch.setattr(secrets, "token_hex", lambda size: "ab" * size)
    with redis.Redis.from_url(server) as admin:
        admin.config_resetstat()
        answers, held, shortened = tell(), dump(admin), commands(admin)
        admin.flushall()
        patch.setattr(scripts, "SETTLE", WHOLE_SETTLE)
        admin.config_resetstat()
        assert tell() == answers
        assert dump(admin) == held
        return answers, held, shortened, commands(admin)


def test_shortcuts_of_a_lane_that_is_run_ahead_mean_the_same(
    server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those who go on leave no digest, and the wish for a cancel is left to the whole script."""
    answers, _held, shortened, whole = both_ways(server, monkeypatch, lambda: tell_ahead(server))
    assert Cancellation.ASKED in answers
    assert whole["hdel"] - shortened["hdel"] >= 5


def test_a_lane_is_run_ahead_by_the_shortcut_from_its_claim_on(
    server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A claim gives the pass that the shortcut asks for; nothing has to be settled the long way before."""
    _answers, _held, shortened, whole = both_ways(server, monkeypatch, lambda: tell_from_the_claim(server))
    assert whole["hmget"] - shortened["hmget"] == 2  # only a whole settlement reads the lane


def test_the_shortcut_of_a_chains_step_means_the_same(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The child follows its parent in the lane, with and without it; whatever else is left to the whole."""
    _answers, _held, shortened, whole = both_ways(server, monkeypatch, lambda: tell_of_children(server))
    assert shortened["lset"] >= 4
    assert "lset" not in whole


def test_the_shortcut_of_a_step_that_is_run_ahead_means_the_same(
    server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What follows has its place, and what it was left, with and without it."""
    monkeypatch.setattr(secrets, "token_hex", lambda size: "ab" * size)
    with redis.Redis.from_url(server) as admin:
        admin.config_resetstat()
        answers, held = tell_of_steps(server, scripts.SETTLE, monkeypatch), dump(admin)
        shortened = commands(admin)
        admin.flushall()
        admin.config_resetstat()
        assert tell_of_steps(server, WHOLE_SETTLE, monkeypatch) == answers
        assert dump(admin) == held
        whole = commands(admin)
    assert sum(getattr(answer, "released", 0) for answer in answers) == 12
    assert whole["hmget"] - shortened["hmget"] == 8  # only a whole settlement reads the lane


def test_the_shortcut_of_an_idle_lane_means_the_same(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is ready, and has rung, with and without it."""
    monkeypatch.setattr(secrets, "token_hex", lambda size: "ab" * size)
    with redis.Redis.from_url(server) as admin:
        admin.config_resetstat()
        answers, held, shortened = tell_of_idle_lanes(server), dump(admin), commands(admin)
        admin.flushall()
        monkeypatch.setattr(scripts, "APPEND", scripts.Script("append", *scripts.APPEND_PARTS))
        admin.config_resetstat()
        assert tell_of_idle_lanes(server) == answers
        assert dump(admin) == held
        whole = commands(admin)
    assert whole["xadd"] == shortened["xadd"]
    assert whole["hincrby"] - shortened["hincrby"] == 5


def test_the_shortcut_of_a_turns_end_means_the_same(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lane goes to the tail or vanishes, and the next one begins, with and without it."""
    _answers, held, shortened, whole = both_ways(server, monkeypatch, lambda: tell_of_turns(server))
    assert any(field.startswith(b"nb:") for field in held["l:w"])
    # Two began with an empty write, and one forgot what nobody had noted of a lane that ended.
    assert whole["hdel"] - shortened["hdel"] == 3


@pytest.mark.parametrize("together", [False, True], ids=["one by one", "together"])
def test_the_shortcut_of_turns_that_end_together_means_the_same(
    server: str, monkeypatch: pytest.MonkeyPatch, *, together: bool
) -> None:
    """All lanes of a message go to the tail or vanish in one step, with and without it, or none does. Those
    that begin together are noted in short."""
    answers, held, shortened, whole = both_ways(
        server, monkeypatch, lambda: tell_of_bundles(server, together=together)
    )
    statuses = "".join(answer.status[0] for answer in answers if isinstance(answer, Settled))
    assert statuses == "fff" + "ddd" + "aaa" + "a" + "dd" + "d" + "dd" * 3 + "dddd"
    assert ("t" in held, "l:x" in held) == (together, not together)
    assert whole["hdel"] - shortened["hdel"] >= 4
    assert whole["zadd"] > shortened["zadd"]
    assert shortened["lpush"] >= 3


def test_turns_that_go_on_together_mean_what_the_whole_script_means(
    server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same answers, every key the same afterwards, and fewer commands."""
    answers, _held, shortened, whole = both_ways(server, monkeypatch, lambda: tell_of_short_turns(server))
    statuses = "".join(answer.status[0] for answer in answers if isinstance(answer, Settled))
    assert statuses == "fff" + "dd" + "aa" + "dddd" + "dd" + "dd" + "dd"
    assert whole["lindex"] - shortened["lindex"] >= 12
    assert shortened["lpush"] >= 3


def test_shortcuts_mean_what_the_whole_scripts_mean(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same story with and without them: the same answers, and every key the same afterwards."""
    monkeypatch.setattr(secrets, "token_hex", lambda size: "ab" * size)
    with redis.Redis.from_url(server) as admin:
        admin.config_resetstat()
        answers, held, shortened = tell(server), dump(admin), commands(admin)
        admin.flushall()
        monkeypatch.setattr(scripts, "APPEND", scripts.Script("append", *scripts.APPEND_PARTS))
        monkeypatch.setattr(scripts, "SETTLE", WHOLE_SETTLE)
        admin.config_resetstat()
        assert tell(server) == answers
        assert dump(admin) == held
        whole = commands(admin)
    # Only a shortcut pushes behind what is there, and only a whole settlement begins with an empty write.
    assert shortened["rpushx"] >= 2
    assert "rpushx" not in whole
    assert whole["hdel"] - shortened["hdel"] >= 3
