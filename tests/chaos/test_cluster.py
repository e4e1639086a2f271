"""A cluster whose slots move and whose masters change under load: each shard keeps what a server promises."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from random import Random

import pytest
import redis

from glassq.stores.redis.slots import slot_of
from tests.chaos.bounds import STALLED_IN_FLIGHT, assert_reruns
from tests.chaos.conftest import Stages
from tests.chaos.sizes import Sizes
from tests.chaos.stage import Stage
from tests.chaos.verdict import QUEUE
from tests.conformance.clusters import Node, RedisCluster, clustered
from tests.processes import wait_until

SHARDS = 6


def perform(stage: Stage) -> None:
    """Producers and workers that are well under way, in several shards; one lane is run ahead."""
    stage.start("feed", "f")
    for number in range(2):
        stage.producer(f"p{number}", keys=12)
    for _ in range(2):
        stage.worker()
    # A worker that begins while a node is away says so and ends, as it should.
    stage.wait_for(lambda: len(stage.events("running")) == 2, "both workers")
    stage.wait_for_more("settle.ok", 20)
    stage.wait_for(lambda: len({event["queue"] for event in stage.events("settle.ok")}) > 2, "several shards")


def go_on(stage: Stage, chance: Random) -> None:
    """Everything goes on after a fault."""
    stage.wait_for_more("enqueue.ok", 5)
    stage.wait_for_more("settle.ok", chance.randint(10, 30))


def slots() -> list[int]:
    """The slots of the program's shards."""
    return [slot_of(f"gq:{{{QUEUE}#{number}}}:c") for number in range(SHARDS)]


@pytest.mark.parametrize("pause", [0.0, 0.05], ids=["quickly", "slowly"])
def test_slots_move_under_load(
    tmp_path: Path, stages: Stages, sizes: Sizes, chance: Random, pause: float
) -> None:
    """Shards are migrated from node to node, some keys at a time, while they are filled and served: nothing
    is lost, doubled or reordered, and nobody reports a loss. Slowly, also past the leases."""
    with clustered(tmp_path / "cluster") as cluster:
        stage = stages(cluster.url, CHAOS_SHARDS=str(SHARDS))
        perform(stage)
        ends = time.monotonic() + sizes.budget
        for number in range(sizes.pick(4, 60)):
            slot = slots()[0] if number % 2 else chance.choice(slots())  # the fed lane is in the first shard
            target = chance.choice([each for each in cluster.masters if each is not cluster.holder(slot)])
            keys = cluster.migrate(slot, target, at_once=chance.randint(1, 4), pause=pause)
            stage.figures.count(slots_moved=1, keys_moved=keys)
            go_on(stage, chance)
            if time.monotonic() > ends:
                break
        stage.check_history()
    assert not stage.events("loss"), "a loss was reported where nothing was lost"
    assert_reruns(stage, STALLED_IN_FLIGHT)


def test_masters_change_under_load(tmp_path: Path, stages: Stages, sizes: Sizes, chance: Random) -> None:
    """`CLUSTER FAILOVER`: a replica takes its master's place when it has everything, again and again; nothing
    is lost, doubled or reordered."""
    with clustered(tmp_path / "cluster", replicas=1) as cluster:
        stage = stages(cluster.url, CHAOS_SHARDS=str(SHARDS))
        perform(stage)
        ends = time.monotonic() + sizes.budget
        for _ in range(sizes.pick(2, 40)):
            replica = chance.choice([each for each in cluster.nodes if each.knows("slave")])
            cluster.fail_over(replica)
            stage.figures.count(masters_changed=1)
            go_on(stage, chance)
            cluster.wait_until_ready()
            if time.monotonic() > ends:
                break
        stage.check_history()
    assert not stage.events("loss"), "a loss was reported where nothing was lost"
    assert_reruns(stage, STALLED_IN_FLIGHT)


@pytest.mark.parametrize(
    ("how", "durability"), [("kill", "memory"), ("kill", "replicated:1"), ("stop", "memory")]
)
def test_masters_fail_under_load(
    tmp_path: Path, stages: Stages, sizes: Sizes, chance: Random, how: str, durability: str
) -> None:
    """`kill -9` of a master, or SIGSTOP until it has been replaced: its replica takes its place, with a
    prefix of what was acknowledged in each of its shards; what is missing is reported. Where the dead one
    refuses connections, the other shards go on meanwhile; a silent one holds whoever asks it for a while."""
    with clustered(tmp_path / "cluster", replicas=1) as cluster:
        stage = stages(cluster.url, CHAOS_SHARDS=str(SHARDS), CHAOS_DURABILITY=durability)
        stage.complaints_expected = True  # jobs are settled that the new master has not got
        perform(stage)
        ends = time.monotonic() + sizes.budget
        for _ in range(sizes.pick(1, 20)):
            dead = chance.choice([cluster.holder(slot) for slot in slots()])
            others = {f"{QUEUE}#{n}" for n, slot in enumerate(slots()) if cluster.holder(slot) is not dead}
            dead.kill() if how == "kill" else dead.stop()
            stage.figures.count(masters_failed=1)
            killed = time.monotonic()
            wait_until(lambda: not holds_any(cluster, dead), "another master", str, 30)  # noqa: B023
            stage.figures.time("until_promoted", [time.monotonic() - killed])
            served = {event["queue"] for event in stage.events("settle.ok") if event["m"] > killed}
            assert how == "stop" or served & others, "the other shards stood still, too"
            dead.start() if how == "kill" else dead.go_on()  # soon a replica of the one in its place
            go_on(stage, chance)
            cluster.wait_until_ready()
            if time.monotonic() > ends:
                break
        stage.check_history(losses_expected=True)


def holds_any(cluster: RedisCluster, node: Node) -> bool:
    """Whether the others take this node for the master of one of the program's slots."""
    for slot in slots():
        with contextlib.suppress(redis.RedisError):
            if cluster.holder(slot) is node:
                return True
    return False
