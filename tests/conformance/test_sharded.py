"""A queue that is cut into shards is one queue to whoever asks for it, on every store."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
import redis

from glassq.errors import ConfigurationError, QueueFull, ShardsInUse
from glassq.model.clock import Clock
from glassq.model.jobs import JobState, NewJob
from glassq.model.layouts import Layout, shard_of
from glassq.model.leases import Grant, Leaving, Owner, Settlement
from glassq.model.names import queue_of
from glassq.model.verdicts import Action
from glassq.storage import Storage
from glassq.stores.open import open_storage
from glassq.stores.sharded import ShardedQueues
from glassq.stores.sqlite.store import SqliteStorage
from glassq.testing.conformance import StorageConformance
from tests.conformance.clusters import RedisCluster

QUEUE = "orders"
ALICE = Owner("alice", "first")
KEYS = [f"user-{number}" for number in range(40)]

Opening = Callable[[int | None], ShardedQueues]


class TestWhole(StorageConformance):
    """Queues that nobody cuts keep every promise through the layer above the store."""

    _file: Path

    @pytest.fixture(autouse=True)
    def _place(self, tmp_path: Path) -> None:
        self._file = tmp_path / "jobs.db"

    def make(self, clock: Clock) -> Storage:
        """A handle on the test's file."""
        return ShardedQueues(SqliteStorage.open(f"sqlite:///{self._file}", clock=clock))

    def test_shards_are_queues_of_their_own(self) -> None:
        """That is what they are below this layer; above it they are one."""
        self.store.lay_out(QUEUE, 2)
        self.put("a", lane="user-1")
        self.put("b", lane="user-2")
        assert (self.store.queues(), self.unsettled()) == ([QUEUE], ["a", "b"])

    def test_nothing_is_cut_that_holds_something(self) -> None:
        """As below; what was looked up before the cut is looked up again."""
        self.put("a")
        with pytest.raises(ShardsInUse, match="holds jobs"):
            self.store.lay_out(QUEUE, 2)

    def test_a_queue_that_is_cut_anew_has_new_shards(self) -> None:
        """Who goes by the former cut is led to the new one."""
        late = self.another_handle()
        late.append(QUEUE, [NewJob(body=b"a")])
        self.store.purge(QUEUE, dead=False)
        self.store.lay_out(QUEUE, 2)
        [job] = late.append(QUEUE, [NewJob(body=b"b")])
        assert queue_of(job.id) in self.store.layouts()[QUEUE].shards(QUEUE)


@pytest.fixture(params=["sqlite", "installed", "cluster"])
def opening(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Opening]:
    """Opens handles on one store, each with what its program says about shards."""
    url = f"sqlite:///{tmp_path}/jobs.db"
    if request.param == "cluster":
        cluster: RedisCluster = request.getfixturevalue("cluster")
        cluster.empty()
        url = cluster.url
    elif request.param == "installed":
        url = request.getfixturevalue(request.param)
        with redis.Redis.from_url(url) as client:
            client.flushall()
    with ExitStack() as stack:

        def make(said: int | None) -> ShardedQueues:
            storage = ShardedQueues(open_storage(url), lambda _: said)
            stack.callback(storage.close)
            return storage

        yield make


@pytest.fixture
def store(opening: Opening) -> ShardedQueues:
    """A handle of a program that wants four shards."""
    return opening(4)


def put(store: ShardedQueues, *keys: str) -> list[str]:
    """One job for each of these keys; their ids."""
    return [store.append(QUEUE, [NewJob(body=key.encode(), lane=key)])[0].id for key in keys]


def claim(store: ShardedQueues, lanes: int = 100) -> list[Grant]:
    """Take all that is ready."""
    return list(store.claim(ALICE, [QUEUE], lanes=lanes, window=16, lease_seconds=15).grants)


def end(store: ShardedQueues, grant: Grant, action: Action) -> None:
    """Settle the head of a lane."""
    settlement = Settlement(
        lease=grant.lease,
        job_id=grant.jobs[0].id,
        action=action,
        reason="exception",
        error=b"boom",
        leaving=Leaving.RELEASE,
    )
    store.settle(ALICE, [settlement])


# -- where a key lives ----------------------------------------------------------------------------------


def test_the_shard_of_a_key_is_for_ever() -> None:
    """Written down once: whatever changes one of these would reorder queues."""
    shards = Layout(8, 0).shards("q")
    found = {lane: shard_of(shards, lane) for lane in ("", "user-1", "user-2", "Zürich", "c-7")}
    assert found == {"": "q#0", "user-1": "q#4", "user-2": "q#6", "Zürich": "q#6", "c-7": "q#3"}


def test_a_key_always_goes_to_the_same_shard(opening: Opening) -> None:
    """Whichever program puts it in, one that says nothing of shards included; its sequence grows there."""
    saying, silent = opening(4), opening(None)
    ids = [put(handle, *KEYS) for handle in (saying, silent, opening(4))]
    of_each = [[queue_of(each) for each in of_handle] for of_handle in ids]
    assert of_each[0] == of_each[1] == of_each[2]
    assert set(of_each[0]) == {f"{QUEUE}#{number}" for number in range(4)}
    for grant in claim(silent):
        assert [job.id for job in grant.jobs] == [
            of_handle[KEYS.index(grant.lease.lane)] for of_handle in ids
        ]


def test_jobs_without_a_key_share_one_lane_in_one_shard(store: ShardedQueues) -> None:
    """The default lane is a lane like others."""
    ids = put(store, "", "", "")
    assert {queue_of(each) for each in ids} == {f"{QUEUE}#0"}
    [grant] = claim(store)
    assert [job.id for job in grant.jobs] == ids


def test_one_append_is_for_one_shard(store: ShardedQueues) -> None:
    """What is atomic and contiguous is so within a shard."""
    with pytest.raises(ValueError, match="one append is for one shard"):
        store.append(QUEUE, [NewJob(body=b"x", lane=key) for key in KEYS])
    assert store.append(QUEUE, []) == []


def test_a_limit_is_shared_out(store: ShardedQueues) -> None:
    """No queue holds more than its `max_length`, whatever its keys are."""
    for key in KEYS:
        with suppress(QueueFull):
            store.append(QUEUE, [NewJob(body=b"x", lane=key)], max_length=8)
    with pytest.raises(QueueFull):
        store.append(QUEUE, [NewJob(body=b"x")], max_length=8)
    assert store.stats([QUEUE])[0].depth == 8


# -- one queue ------------------------------------------------------------------------------------------


def test_figures_are_those_of_all_shards(store: ShardedQueues) -> None:
    """Amounts add up, a worker that serves all shards is one, and nobody sees a shard's name."""
    bell = store.listen(ALICE, [QUEUE])
    put(store, *KEYS)
    store.append("other", [NewJob(body=b"x")])
    [one, other] = store.stats([QUEUE, "other"])
    assert (one.queue, one.ready, one.enqueued, one.workers) == (QUEUE, 40, 40, 1)
    assert one.lanes["ready"] == 40
    assert (other.queue, other.depth) == ("other", 1)
    for grant in claim(store, 10):
        end(store, grant, Action.ACK)
    [one] = store.stats([QUEUE])
    assert (one.depth, sum(one.settled.values()), one.lease_tokens) == (30, 10, 10)
    assert store.queues() == [QUEUE, "other"]
    assert one.oldest_job_age > 0
    bell.close()


def test_lists_are_of_all_shards_in_their_order(store: ShardedQueues) -> None:
    """Waiting jobs and dead letters by sequence, halted lanes by time, as many as were asked for."""
    put(store, *KEYS, *KEYS)
    seqs = [record.job.seq for record in store.waiting(QUEUE, 1000)]
    assert len(seqs) == 80
    assert seqs == sorted(seqs)
    assert len(store.waiting(QUEUE, 7)) == 7
    halted = claim(store, 3)
    for grant in halted:
        end(store, grant, Action.HALT)
    for grant in claim(store, 5):
        end(store, grant, Action.BURY)
    dead = store.dead(QUEUE, 100)
    assert [record.job.seq for record in dead] == sorted(record.job.seq for record in dead)
    assert len(dead) == 5
    assert [each.lane for each in store.halted(QUEUE, 2)] == [each.lease.lane for each in halted[:2]]
    assert len(store.halted(QUEUE, 9)) == 3


def test_people_reach_lanes_and_jobs_wherever_they_are(store: ShardedQueues) -> None:
    """Retry, skip, cancel and look-up find their shard by the key or the id."""
    ids = put(store, *KEYS)
    for grant in claim(store):
        end(store, grant, Action.HALT)
    assert store.retry_lane(QUEUE, KEYS[3]) is True
    assert store.retry_lane(QUEUE, KEYS[3]) is False
    skipped = store.skip_lane(QUEUE, KEYS[4])
    assert skipped is not None
    assert skipped.id == ids[4]
    record = store.get(ids[3])
    assert record is not None
    assert (record.lane, record.state) == (KEYS[3], JobState.READY)
    assert store.cancel(ids[3]) is not None
    for gone in (ids[3], "nothing#9/like:1", f"{QUEUE}/before:1", f"{QUEUE}#9/like:1"):
        assert (store.get(gone), store.cancel(gone)) == (None, None)


def test_a_queue_is_paused_and_purged_whole(store: ShardedQueues) -> None:
    """In every shard; one key's lane in its own."""
    put(store, *KEYS)
    assert store.pause(QUEUE) is False
    assert store.pause(QUEUE) is True
    assert claim(store) == []
    assert store.stats([QUEUE])[0].paused_whole
    assert store.resume(QUEUE) is True
    assert store.resume(QUEUE) is False
    assert store.pause(QUEUE, KEYS[0]) is False
    assert len(claim(store)) == 39
    assert store.purge(QUEUE, dead=False) == 1
    assert store.resume(QUEUE, KEYS[0]) is True


def test_dead_letters_come_back_to_their_shards(store: ShardedQueues) -> None:
    """All that were asked for, lowest sequence first; ids of nothing are left out."""
    put(store, *KEYS)
    for grant in claim(store):
        end(store, grant, Action.BURY)
    ids = [record.job.id for record in store.dead(QUEUE, 100)]
    back = store.replay(QUEUE, [*ids, "other/x:1", f"{QUEUE}#9/x:1"], front=True)
    assert sorted(each.id for each in back) == sorted(ids)
    assert [each.seq for each in back] == sorted(each.seq for each in back)
    assert sorted(grant.lease.lane for grant in claim(store)) == sorted(KEYS)
    assert store.purge(QUEUE, dead=True) == 0


def test_a_worker_hears_of_every_shard(store: ShardedQueues, opening: Opening) -> None:
    """Rings of any shard wake whoever listens to the queue, also when it attends to that later."""
    bell = store.listen(ALICE, ["other"])
    bell.attend(["other", QUEUE])
    other = opening(None)
    for key in KEYS[:8]:
        while bell.wait(0):
            pass
        put(other, key)
        assert bell.wait(5), key
    bell.close()


def test_shards_that_were_not_asked_count_as_having_lanes(store: ShardedQueues) -> None:
    """A claim that has got all it asked for may leave the rest out, and must not say that nothing waits."""
    put(store, *KEYS)
    claimed = store.claim(ALICE, [QUEUE], lanes=1, window=1, lease_seconds=15)
    assert len(claimed.grants) == 1
    assert claimed.others.keys() == {f"{QUEUE}#{number}" for number in range(4)}


def test_no_shard_always_comes_first(store: ShardedQueues) -> None:
    """One lane a claim is taken from another shard each time."""
    put(store, *KEYS)
    first = [claim(store, 1)[0].lease.queue for _ in range(4)]
    assert len(set(first)) == 4


# -- another cut ----------------------------------------------------------------------------------------


def test_a_program_that_says_another_number_is_refused(opening: Opening) -> None:
    """While something is in the queue, with the way out; what is in it stays, and is served."""
    four, eight = opening(4), opening(8)
    put(four, *KEYS)
    for ask in (lambda: put(eight, "user-1"), lambda: eight.listen(ALICE, [QUEUE])):
        with pytest.raises(ShardsInUse, match=r"has 4 shard.*Keep shards=4; or let the queue run empty"):
            ask()
    assert eight.stats([QUEUE])[0].depth == 40
    assert len(claim(four)) == 40


def test_programs_that_run_find_another_cut_out(opening: Opening) -> None:
    """One that says nothing goes on by it; one that says the former number is told to start anew. Neither
    puts anything where nobody looks for it."""
    silent, four = opening(None), opening(4)
    put(four, "user-1")
    put(silent, "user-1")
    four.purge(QUEUE, dead=False)
    eight = opening(8)
    [new] = put(eight, "user-1")
    [also] = put(silent, "user-1")
    assert queue_of(also) == queue_of(new)
    with pytest.raises(ConfigurationError, match="start it with shards=8"):
        put(four, "user-1")
    [grant] = claim(eight)
    assert [job.id for job in grant.jobs] == [new, also]


def test_a_worker_that_runs_finds_another_cut_out(opening: Opening) -> None:
    """With its next report, where nothing else tells it."""
    silent = opening(None)
    silent.listen(ALICE, [QUEUE]).close()
    put(opening(4), *KEYS)
    silent.report(ALICE, [QUEUE])
    assert len(claim(silent)) == 40


def test_a_queue_with_shards_is_forgotten_whole(store: ShardedQueues) -> None:
    """Or not at all; into how many shards it is cut stays remembered."""
    put(store, *KEYS)
    assert store.forget(QUEUE) is False
    assert store.stats([QUEUE])[0].depth == 40
    store.purge(QUEUE, dead=False)
    assert store.forget(QUEUE) is True
    assert (store.queues(), store.stats([QUEUE])[0].enqueued) == ([], 0)
    assert store.layouts() == {QUEUE: Layout(4, 0)}


def test_what_a_cut_queue_keeps_is_found_by_its_name(opening: Opening) -> None:
    """Notes by the job's id, which tells its shard; values of the queue in one place, or in a shard that is
    named. All of it goes when the queue is cut anew."""
    store, other = opening(3), opening(None)
    jobs = [store.append(QUEUE, [NewJob(body=b"x", lane=key)])[0] for key in KEYS[:6]]
    for grant in store.claim(ALICE, [QUEUE], lanes=10, window=1, lease_seconds=15).grants:
        what = Settlement(
            lease=grant.lease, job_id=grant.jobs[0].id, action=Action.ACK, keep=60.0, result=b"kept"
        )
        store.settle(ALICE, [what])
    assert [other.notes(job.id)[0].result for job in jobs] == [b"kept"] * len(jobs)
    store.put(QUEUE, "a", b"1", None)
    store.put(queue_of(jobs[0].id), "b", b"2", None)
    found = other.value(QUEUE, "a"), other.value(queue_of(jobs[0].id), "b")
    assert [each and each.body for each in found] == [b"1", b"2"]
    assert "a" in [each.name for each in other.values(QUEUE, "")]
    store.lay_out(QUEUE, 2)
    assert [other.notes(job.id) for job in jobs] == [[]] * len(jobs)
    assert other.value(queue_of(jobs[0].id), "b") is None
    assert other.value(QUEUE, "a") is None
    other.put(QUEUE, "a", b"3", None)
    assert [each.body for each in opening(2).values(QUEUE, "")] == [b"3"]
