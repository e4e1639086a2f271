"""What the store on a cluster promises beyond the protocol: keys that move, nodes that go, many bells."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from glassq.errors import ConfigurationError, StorageUnavailable
from glassq.model.jobs import NewJob
from glassq.model.leases import Grant, Leaving, Owner, Settlement, SettleStatus
from glassq.model.verdicts import Action
from glassq.storage import Terms
from glassq.stores.redis import cluster as cluster_module
from glassq.stores.redis import doorbell, scripts
from glassq.stores.redis.location import Location
from glassq.stores.redis.scripts import Script
from glassq.stores.redis.slots import slot_of
from glassq.stores.redis.store import RedisStorage
from tests.conformance.clusters import Node, RedisCluster, clustered
from tests.processes import wait_until

QUEUE = "orders"
KEY = f"gq:{{{QUEUE}}}:c"
ALICE = Owner("alice", "first")


@pytest.fixture(params=["cluster", "oldest_cluster"])
def nodes(request: pytest.FixtureRequest) -> RedisCluster:
    """Each cluster in turn, empty."""
    cluster: RedisCluster = request.getfixturevalue(request.param)
    cluster.empty()
    return cluster


@pytest.fixture
def store(nodes: RedisCluster) -> Iterator[RedisStorage]:
    """A store on it."""
    opened = RedisStorage.open(nodes.url)
    yield opened
    opened.close()


def put(store: RedisStorage, *bodies: str, lane: str = "", queue: str = QUEUE) -> list[str]:
    """Jobs of one lane; their ids."""
    return [job.id for job in store.append(queue, [NewJob(body=body.encode(), lane=lane) for body in bodies])]


def claim(store: RedisStorage, *queues: str) -> list[Grant]:
    """Take lanes to be run ahead."""
    queues = queues or (QUEUE,)
    terms = dict.fromkeys(queues, Terms(turn=50))
    claimed = store.claim(ALICE, queues, lanes=10, window=50, lease_seconds=15, ahead=16, terms=terms)
    return list(claimed.grants)


def another_master(nodes: RedisCluster, slot: int) -> Node:
    """A master that does not hold this slot."""
    holder = nodes.holder(slot)
    return next(node for node in nodes.masters if node is not holder)


# -- where things are -----------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["gq:{orders#3}:c", "gq:queues", "a{}b", "{x}{y}", "a}b{c", "a{b", "Zürich"])
def test_slots_are_those_of_the_server(nodes: RedisCluster, key: str) -> None:
    """The hash tag where there is one, else the whole key."""
    assert slot_of(key) == nodes.masters[0].ask("CLUSTER", "KEYSLOT", key)


def test_a_url_names_some_nodes_and_nobody_sees_its_password() -> None:
    """Hosts and ports as they come, with what every Redis URL may say."""
    url = "redis+cluster://u:s%2Fecret@one,two:7001,[::1]:7002/?namespace=shop&allow_eviction=1"
    location = Location.parse(url)
    assert location.nodes == (("one", 6379), ("two", 7001), ("::1", 7002))
    assert location.address == "redis+cluster://one:6379,two:7001,[::1]:7002"
    assert (location.namespace, location.allow_eviction) == ("shop", True)
    assert (
        location.at(("::1", 7002)).settings | {"password": "s/ecret", "host": "::1"}
        == location.at(("::1", 7002)).settings
    )


def test_a_node_is_no_server_and_a_server_no_cluster(nodes: RedisCluster, installed: str) -> None:
    """The wrong kind of URL is refused with the right one, before anything is stored."""
    port = nodes.masters[0].port
    with (
        closing(RedisStorage.open(f"redis://127.0.0.1:{port}/0")) as alone,
        pytest.raises(ConfigurationError, match=rf"redis\+cluster://127.0.0.1:{port}"),
    ):
        alone.queues()
    with (
        closing(RedisStorage.open(installed.replace("redis:", "redis+cluster:"))) as together,
        pytest.raises(ConfigurationError, match="name it by redis://"),
    ):
        together.queues()


def test_every_script_begins_with_the_guard() -> None:
    """There is none that could be left half done by a slot on its way."""
    every = [script for script in vars(scripts).values() if isinstance(script, Script)]
    assert every
    assert all(script.guarded.source.startswith("-- guard") for script in every)
    assert all(script.guarded.source.endswith(script.source) for script in every)
    assert all(script.guarded.sha != script.sha for script in every)


def test_queues_of_all_nodes_are_one_store(store: RedisStorage, nodes: RedisCluster) -> None:
    """Verbs about several queues reach the nodes of each."""
    queues = [f"q{number}" for number in range(12)]
    assert {nodes.holder(slot_of(f"gq:{{{queue}}}:c")).port for queue in queues} == {
        node.port for node in nodes.masters
    }
    for queue in queues:
        put(store, "a", queue=queue)
    assert store.queues() == sorted(queues)
    assert [each.depth for each in store.stats(queues)] == [1] * 12
    grants = [grant for _ in range(2) for grant in claim(store, *queues)]
    assert {grant.lease.queue for grant in grants} == set(queues)
    renewed = store.renew(ALICE, [grant.lease for grant in grants], lease_seconds=15)
    assert (renewed.lost, renewed.unheard) == (frozenset(), frozenset())
    assert set(renewed.found) == set(queues)


# -- slots that move ------------------------------------------------------------------------------------


def settlement(grant: Grant, index: int) -> Settlement:
    """The end of a job of a window, sent while the next one begins."""
    return Settlement(
        lease=grant.lease,
        job_id=grant.jobs[index].id,
        action=Action.ACK,
        next_id=grant.jobs[index + 1].id,
        change=grant.change,
        begun=True,
        ahead=16,
    )


def test_a_queue_that_moved_is_followed(store: RedisStorage, nodes: RedisCluster) -> None:
    """Appends, settlements and look-ups go on where the slot is, with everything that was in it."""
    slot = slot_of(KEY)
    put(store, "a", "b", lane="x")
    [grant] = claim(store)
    assert nodes.migrate(slot, another_master(nodes, slot)) > 3
    [answer] = store.settle(ALICE, [settlement(grant, 0)])
    assert answer.status is SettleStatus.DONE
    assert put(store, "c", lane="x")
    assert [record.job.body for record in store.waiting(QUEUE, 9)] == [b"b", b"c"]
    assert store.renew(ALICE, [grant.lease], lease_seconds=15).lost == frozenset()


def test_settlements_on_their_way_keep_their_order_when_the_queue_moves(
    store: RedisStorage, nodes: RedisCluster
) -> None:
    """Those that met the move were refused, each of them, and so is what overtakes them on the other node;
    repeated in their order they are all done, once."""
    slot = slot_of(KEY)
    put(store, *"abcdefgh")
    [grant] = claim(store)
    [first] = store.settle(ALICE, [settlement(grant, 0)])
    assert first.ordinal == 1
    sent = [store.settle_later(ALICE, settlement(grant, 1))]
    assert sent[0].answer().ordinal == 2
    nodes.migrate(slot, another_master(nodes, slot))
    sent = [store.settle_later(ALICE, settlement(grant, index)) for index in (2, 3)]
    for each in sent:  # to the former node
        with pytest.raises(StorageUnavailable, match="another node"):
            each.answer()
    overtaking = store.settle_later(ALICE, settlement(grant, 4))  # to the new one
    with pytest.raises(Exception, match=r"not the head of its lane|No matching script"):
        overtaking.answer()
    answers = [store.settle(ALICE, [settlement(grant, index)])[0] for index in (2, 3, 4)]
    assert [(each.status, each.ordinal) for each in answers] == [
        (SettleStatus.DONE, number) for number in (3, 4, 5)
    ]


def test_a_slot_on_its_way_is_left_alone(
    store: RedisStorage, nodes: RedisCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While some keys of a queue are here and some there, nothing of it is read or written: no script begins,
    on either side. When it has arrived, everything goes on as it was."""
    monkeypatch.setattr(cluster_module, "PATIENCE", 0.2)
    slot = slot_of(KEY)
    for lane in "abcdefgh":
        put(store, "1", "2", lane=lane)
    source, target = nodes.holder(slot), another_master(nodes, slot)
    target.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", source.id)
    source.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", target.id)
    for moved in (0, 3, 1000):
        keys = source.ask("CLUSTER", "GETKEYSINSLOT", slot, moved) if moved else []
        if keys:
            source.ask("MIGRATE", "127.0.0.1", target.port, "", 0, 5000, "KEYS", *keys)
        for verb in (
            lambda: store.claim(ALICE, [QUEUE], lanes=1, window=1, lease_seconds=15),
            lambda: store.stats([QUEUE]),
        ):
            with pytest.raises(StorageUnavailable, match=r"on (its|their) way") as refused:
                verb()
            assert refused.value.reason == "cluster"
    late = threading.Timer(0.5, lambda: finish(nodes, slot, target))
    late.start()
    put(store, "3", lane="a")
    late.join()
    assert [record.job.body for record in store.waiting(QUEUE, 99)] == [b"1", b"2"] * 8 + [b"3"]
    assert [job.body for grant in claim(store)[:1] for job in grant.jobs] == [b"1", b"2", b"3"]


def finish(nodes: RedisCluster, slot: int, target: Node) -> None:
    """The slot has arrived."""
    for node in (target, *nodes.masters):
        node.ask("CLUSTER", "SETSLOT", slot, "NODE", target.id)


# -- nodes that go --------------------------------------------------------------------------------------


def test_the_other_shards_go_on_without_a_dead_node(tmp_path: Path) -> None:
    """Lanes on the nodes that are there are claimed, renewed and settled at once; of the others nothing is
    heard, which loses nothing; the dead node's replica takes its place."""
    with clustered(tmp_path, replicas=1) as nodes, closing(RedisStorage.open(nodes.url)) as store:
        queues = [f"q{number}" for number in range(9)]
        for queue in queues:
            put(store, "a", "b", queue=queue)
        granted = store.claim(ALICE, queues, lanes=9, window=1, lease_seconds=15).grants
        dead = nodes.masters[2]
        gone = {queue for queue in queues if nodes.holder(slot_of(f"gq:{{{queue}}}:c")) is dead}
        assert 0 < len(gone) < len(queues)
        wait_until(lambda: dead.ask("WAIT", 1, 100) == 1, "the replica's copy", str)
        dead.kill()
        began = time.monotonic()
        renewed = store.renew(ALICE, [grant.lease for grant in granted], lease_seconds=15)
        assert {lease.queue for lease in renewed.unheard} == gone
        assert not renewed.lost
        assert time.monotonic() - began < 1
        others = [grant for grant in granted if grant.lease.queue not in gone]
        for grant in others:
            leave = Settlement(
                lease=grant.lease, job_id=grant.jobs[0].id, action=Action.ACK, leaving=Leaving.YIELD
            )
            assert store.settle(ALICE, [leave])[0].status is SettleStatus.DONE
        assert {grant.lease.queue for grant in claim(store, *queues)} == set(queues) - gone
        wait_until(lambda: takes(store, gone), "the replica to take its place", str, 30)
        again = store.renew(
            ALICE, [grant.lease for grant in granted if grant not in others], lease_seconds=15
        )
        assert not again.unheard | again.lost


def takes(store: RedisStorage, queues: set[str]) -> bool:
    """Whether each of these queues takes jobs."""
    try:
        for queue in queues:
            put(store, "c", queue=queue)
    except Exception:
        return False
    return True


# -- bells ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ears", [32, 2])
def test_a_worker_hears_queues_of_every_slot(
    nodes: RedisCluster, store: RedisStorage, monkeypatch: pytest.MonkeyPatch, ears: int
) -> None:
    """One connection blocks for each slot, up to a bound; what is beyond is looked at every other second."""
    monkeypatch.setattr(doorbell, "MOST_EARS", ears)
    queues = [f"q{number}" for number in range(6)]
    bell = store.listen(ALICE, queues[:5])
    bell.attend(queues)
    assert len(bell._ears) == min(ears, 6)
    with closing(RedisStorage.open(nodes.url)) as other:
        for queue in queues:
            while bell.wait(0):
                pass
            put(other, "a", queue=queue)
            assert bell.wait(5), queue
    bell.close()


def test_a_bell_follows_its_queue(nodes: RedisCluster, store: RedisStorage) -> None:
    """Also to another node, and it rings once when it got there, as there may have been a ring meanwhile."""
    put(store, "a", lane="x")
    bell = store.listen(ALICE, [QUEUE])
    while bell.wait(0.1):
        pass
    slot = slot_of(KEY)
    nodes.migrate(slot, another_master(nodes, slot))
    assert bell.wait(5)
    while bell.wait(0.2):
        pass
    put(store, "b", lane="y")
    assert bell.wait(5)
    bell.close()
