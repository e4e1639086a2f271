"""A server that loses what it acknowledged: an end is cut off, never a hole torn, and it is reported."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

import pytest

from tests.chaos.conftest import Stages
from tests.chaos.processes import Process
from tests.chaos.proxy import Proxy
from tests.chaos.servers import AOF_ALWAYS, AOF_EVERYSEC, NO_AOF, RedisServer, following, serving, some_bytes
from tests.chaos.sizes import Sizes
from tests.chaos.stage import Stage


def perform(stage: Stage, workers: int = 2, producers: int = 2) -> list[Process]:
    """Producers and workers that have all been acknowledged something."""
    cast = [stage.producer(f"p{number}") for number in range(producers)]
    stage.wait_for(lambda: told(stage, "enqueue.ok") >= {each.pid for each in cast}, "each producer's calls")
    working = [stage.worker() for _ in range(workers)]
    stage.wait_for(lambda: told(stage, "settle.ok") >= {each.pid for each in working}, "each worker's jobs")
    stage.wait_for_more("settle.ok", 20)
    return cast + working


def told(stage: Stage, kind: str) -> set[int]:
    """The processes with an event of this kind."""
    return {event["pid"] for event in stage.events(kind)}


@contextmanager
def noticed(stage: Stage, cast: list[Process]) -> Iterator[None]:
    """Each of these reports the loss that happens inside; afterwards everything goes on."""
    before = len(stage.events("loss"))
    yield
    everybody = {process.pid for process in cast}
    stage.wait_for(
        lambda: {event["pid"] for event in stage.events("loss")[before:]} >= everybody,
        f"a report of the loss by each of {sorted(everybody)}",
    )
    stage.wait_for_more("enqueue.ok", 10)
    stage.wait_for_more("settle.ok", 20)


def flush(server: RedisServer) -> None:
    """Somebody's FLUSHALL."""
    with server.admin() as admin:
        admin.flushall()


def restart(server: RedisServer) -> None:
    """`kill -9`, and it comes back empty."""
    server.restart()


@pytest.mark.parametrize("loses", [flush, restart])
def test_an_emptied_server_is_reported_by_everybody(
    tmp_path: Path, stages: Stages, sizes: Sizes, loses: Callable[[RedisServer], None]
) -> None:
    """After FLUSHALL, or a restart without its data: every process that was told of jobs reports, once, that
    they are gone, and producers and workers go on with what comes."""
    with serving(tmp_path / "server", *NO_AOF) as server:
        stage = stages(server.url)
        stage.complaints_expected = True  # jobs are settled that the server has not got any more
        cast = perform(stage)
        for _ in range(sizes.pick(2, 20)):
            with noticed(stage, cast):
                loses(server)
                stage.figures.count(emptied=1)
        report = stage.check_history(losses_expected=True)
    assert len(stage.events("loss")) == len(cast) * sizes.pick(2, 20), report.figures


def test_a_cut_log_costs_an_end_and_is_reported(
    tmp_path: Path, stages: Stages, sizes: Sizes, chance: Random
) -> None:
    """A power loss takes bytes off the end of the append-only file, wherever that falls: what is left is a
    prefix of what was acknowledged, and whoever was told of more says so."""
    with serving(tmp_path / "server", *AOF_ALWAYS) as server:
        stage = stages(server.url)
        stage.complaints_expected = True  # jobs are settled that the server has not got any more
        perform(stage)
        for _ in range(sizes.pick(3, 30)):
            server.kill()
            cut = server.cut_log(some_bytes(chance, server.log_size()))
            stage.figures.count(log_cuts=cut > 0, bytes_cut=cut)
            server.start()
            server.rewrite_log()
            stage.wait_for_more("enqueue.ok", 10)
            stage.wait_for_more("settle.ok", chance.randint(10, 40))
        report = stage.check_history(losses_expected=True)
    assert stage.figures.counts["log_cuts"] > 0
    assert report.figures["losses"] > 0, "no cut ever reached what was acknowledged"
    assert report.figures["losses_reported"] > 0


@pytest.mark.parametrize("durability", ["memory", "replicated:1"])
def test_a_failover_to_a_lagging_replica(
    tmp_path: Path, stages: Stages, sizes: Sizes, durability: str
) -> None:
    """What the replica had not heard of is gone, and reported; a call that waits for a replica is never
    acknowledged before that, and loses nothing."""
    for number in range(sizes.pick(1, 5)):
        with (
            serving(tmp_path / f"master{number}", *AOF_EVERYSEC) as master,
            Proxy(master.port, seed=sizes.seed) as copying,
            following(tmp_path / f"replica{number}", copying.port) as replica,
            Proxy(master.port, seed=sizes.seed) as door,
        ):
            stage = stages(door.url, CHAOS_DURABILITY=durability)
            stage.complaints_expected = True  # jobs are settled that the new master has not got
            perform(stage)
            copying.swallow()
            if durability == "memory":
                stage.wait_for_more("enqueue.ok", 20)
            else:
                stage.wait_for_more("enqueue.unknown", 2)
            stage.wait_for_more("settle.ok", 5)
            killed = time.monotonic()
            master.kill()
            promote(replica)
            # The new master has a replica of its own, so that calls which wait for one are answered.
            with following(tmp_path / f"next{number}", replica.port):
                door.target = replica.port
                door.sever()
                stage.figures.count(failovers=1)
                stage.wait_for_more("enqueue.ok", 10)
                stage.wait_for_more("settle.ok", 20)
                stage.check_history(losses_expected=True)
        lost = acknowledged_and_lost(stage, killed)
        stage.figures.count(lost_by_failover=lost)
        assert (lost > 0) == (durability == "memory")


def acknowledged_and_lost(stage: Stage, killed: float) -> int:
    """How many jobs were acknowledged before the master was killed, and lie behind where the replica was."""
    first = min((event["first_seq"] for event in stage.events("loss")), default=math.inf)
    before = [event for event in stage.events("enqueue.ok") if event["m"] < killed]
    seqs = [job[1] for event in before for job in event["jobs"] if job[1] is not None]
    return sum(seq >= first for seq in seqs)


def promote(replica: RedisServer) -> None:
    """Make a replica the master."""
    with replica.admin() as admin:
        admin.replicaof("NO", "ONE")
