"""A server that is killed, stalls, forgets its scripts, is full or read-only: nothing is lost for it."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from tests.chaos.bounds import STALLED_IN_FLIGHT, assert_knocks, assert_reruns
from tests.chaos.conftest import Stages
from tests.chaos.proxy import Proxy
from tests.chaos.servers import AOF_ALWAYS, AOF_EVERYSEC, RedisServer, serving
from tests.chaos.sizes import Sizes
from tests.chaos.stage import Stage


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    """A server that keeps what it acknowledged."""
    with serving(tmp_path / "server", *AOF_EVERYSEC) as server:
        yield server


def perform(stage: Stage, workers: int = 2, producers: int = 2) -> float:
    """Producers and workers that are well under way; since when."""
    for number in range(producers):
        stage.producer(f"p{number}")
    for _ in range(workers):
        stage.worker()
    stage.wait_for_more("settle.ok", 20)
    return time.monotonic()


CONNECTIONS = 8
"""What a worker of four lanes has at most: each lane's, and those that claim, renew and listen."""


def check_nothing_lost(stage: Stage, *, reruns: int = 1) -> None:
    """Everything acknowledged is accounted for, in its order, nobody spoke of a loss, and at most so many
    jobs of a stay in a lane ran again."""
    stage.check_history()
    assert not stage.events("loss"), "a loss was reported where nothing was lost"
    assert_reruns(stage, reruns)


def check_nothing_lost_nor_stormed(stage: Stage, began: float, *, reruns: int = 1) -> None:
    """And since then no process has stormed the server."""
    ended = time.monotonic()
    check_nothing_lost(stage, reruns=reruns)
    assert_knocks(stage, began, ended, at_once=CONNECTIONS)


# -- kill -9 --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fsync", ["always", "everysec"])
def test_a_killed_server_with_a_log_loses_nothing(
    tmp_path: Path, stages: Stages, sizes: Sizes, chance: Random, fsync: str
) -> None:
    """`kill -9` of the server under load, again and again: its append-only file has what it acknowledged."""
    options = AOF_ALWAYS if fsync == "always" else AOF_EVERYSEC
    with serving(tmp_path / "server", *options) as server:
        stage = stages(server.url)
        perform(stage)
        ends = time.monotonic() + sizes.budget
        while server.starts <= sizes.pick(3, 40) and time.monotonic() < ends:
            server.restart()
            stage.figures.count(restarts=1)
            stage.wait_for_more("enqueue.ok")
            stage.wait_for_more("settle.ok", chance.randint(5, 60))
        check_nothing_lost(stage)


def test_a_server_that_is_away_sees_no_storm(tmp_path: Path, stages: Stages, sizes: Sizes) -> None:
    """While nobody answers a process knocks less than five times a second, with busy lanes and all; when the
    server is back, it is found within seconds."""
    with serving(tmp_path / "server", *AOF_ALWAYS) as server, Proxy(server.port, seed=sizes.seed) as door:
        stage = stages(server.url, GLASSQ_URL=door.url)
        perform(stage)
        server.kill()
        before, away = door.knocks, time.monotonic()
        time.sleep(float(sizes.pick(5, 20)))  # a rate is measured over some time
        heard, back = door.knocks - before, time.monotonic()
        server.start()
        stage.wait_for_more("enqueue.ok")
        stage.wait_for_more("settle.ok")
        stage.figures.time("found_again", [time.monotonic() - back])
        check_nothing_lost(stage, reruns=STALLED_IN_FLIGHT)
    assert_knocks(stage, away, back)
    noted = sum(away <= event["m"] <= back for event in stage.events("knock"))
    assert noted == pytest.approx(heard, abs=4), "processes knock without noting it"


# -- connections and stalls -----------------------------------------------------------------------------


def test_killed_connections_are_made_anew(
    server: RedisServer, stages: Stages, sizes: Sizes, chance: Random
) -> None:
    """`CLIENT KILL TYPE normal` in a loop: requests are repeated without doubling anything, and there is no
    storm of connections."""
    stage = stages(server.url)
    began = perform(stage)
    with server.admin() as admin:
        for _ in range(sizes.pick(3, 60)):
            admin.client_kill_filter(_type="normal", skipme=True)
            stage.figures.count(connections_killed=1)
            stage.wait_for_more("enqueue.ok", 2)
            stage.wait_for_more("settle.ok", chance.randint(2, 40))
            time.sleep(chance.uniform(1.5, 2.5))  # how often it happens, not an order of events
    check_nothing_lost_nor_stormed(stage, began)


@pytest.mark.parametrize("how", ["client_pause", "debug_sleep", "sigstop"])
def test_a_server_that_stalls_past_the_lease_loses_nobody(
    tmp_path: Path, stages: Stages, sizes: Sizes, how: str
) -> None:
    """Nothing is answered for longer than the leases last: what ran is settled by whoever holds its lane, and
    nothing passes it."""
    with serving(tmp_path / "server", *AOF_EVERYSEC, debugging=True) as server:
        stage = stages(server.url)
        began = perform(stage)
        for _ in range(sizes.pick(1, 10)):
            stall(server, how, 2.5 * stage.lease)
            stage.figures.count(stalls=1)
            stage.wait_for_more("enqueue.ok", 2)
            stage.wait_for_more("settle.ok", 20)
        check_nothing_lost_nor_stormed(stage, began, reruns=STALLED_IN_FLIGHT)


def stall(server: RedisServer, how: str, seconds: float) -> None:
    """The server answers nobody for so long; returns when it does again."""
    with server.admin() as admin:
        if how == "client_pause":
            admin.client_pause(int(seconds * 1000))
        elif how == "debug_sleep":
            admin.execute_command("DEBUG", "SLEEP", str(seconds))  # type: ignore[no-untyped-call]
        else:
            server.signal(signal.SIGSTOP)
            time.sleep(seconds)  # the length of the stall
            server.signal(signal.SIGCONT)
        admin.ping()


def test_forgotten_scripts_are_sent_again(
    server: RedisServer, stages: Stages, sizes: Sizes, chance: Random
) -> None:
    """`SCRIPT FLUSH` in a loop costs a round trip each time and nothing else."""
    stage = stages(server.url)
    began = perform(stage)
    with server.admin() as admin:
        for _ in range(sizes.pick(40, 400)):
            admin.script_flush()
            stage.figures.count(script_flushes=1)
            stage.wait_for_more("settle.ok", chance.randint(1, 6))
    check_nothing_lost_nor_stormed(stage, began)


# -- refusals -------------------------------------------------------------------------------------------


def test_a_full_server_refuses_appends_whole_and_settles_on(
    server: RedisServer, stages: Stages, sizes: Sizes
) -> None:
    """Out of memory: each append is refused whole, the jobs that are in run to their end, and when there is
    room again producers go on."""
    stage = stages(server.url)
    began = perform(stage)
    with server.admin() as admin:
        for _ in range(sizes.pick(2, 20)):
            admin.config_set("maxmemory", 1)
            full = time.monotonic()
            stage.wait_for_more("enqueue.failed", 5)
            stage.wait_for(lambda: stage.stats().depth == 0, "the queue to be worked off")
            accepted = stage.stats().enqueued
            stage.wait_for_more("enqueue.failed", 5)
            assert stage.stats().enqueued == accepted
            late = [event for event in stage.events("enqueue.invoked") if event["m"] > full]
            answered = {event["call"] for event in stage.events("enqueue.ok")}
            assert not [event for event in late if event["call"] in answered]
            admin.config_set("maxmemory", 0)
            stage.figures.count(times_full=1)
            stage.wait_for_more("enqueue.ok", 10)
    check_nothing_lost_nor_stormed(stage, began)


def test_a_read_only_server_is_waited_for(server: RedisServer, stages: Stages, sizes: Sizes) -> None:
    """A server that became a replica (of nobody who answers) refuses every write; when it is a master again,
    everything goes on."""
    stage = stages(server.url)
    began = perform(stage)
    with server.admin() as admin:
        for _ in range(sizes.pick(2, 20)):
            before = server.figure("stats", "total_error_replies")
            admin.replicaof("127.0.0.1", 1)
            stage.wait_for(
                lambda: server.figure("stats", "total_error_replies") >= before + 10,  # noqa: B023
                "writes that are refused",
            )
            admin.replicaof("NO", "ONE")
            stage.figures.count(times_read_only=1)
            stage.wait_for_more("enqueue.ok", 5)
            stage.wait_for_more("settle.ok", 20)
    check_nothing_lost_nor_stormed(stage, began)
