"""One lane of quick jobs at full speed, so that its worker begins each job before it hears of the one before,
while workers are killed and answers are lost. What was sent is done: no more runs again than where each
settlement is waited for."""

from __future__ import annotations

import time
from pathlib import Path
from random import Random
from urllib.parse import urlsplit

import pytest

from tests.chaos.bounds import STALLED_IN_FLIGHT, assert_reruns
from tests.chaos.conftest import Stages
from tests.chaos.figures import Figures
from tests.chaos.processes import Process
from tests.chaos.proxy import Fault, Proxy
from tests.chaos.servers import AOF_EVERYSEC, serving
from tests.chaos.sizes import Sizes
from tests.chaos.stage import Stage
from tests.chaos.test_kills import LEASE, fresh
from tests.chaos.tracing import starts_ahead

KILLS_A_ROUND = 20
"""Quick jobs make long histories: each round has a store of its own."""


def test_kills_of_a_worker_that_runs_ahead(
    store_url: str, stages: Stages, chance: Random, sizes: Sizes, figures: Figures
) -> None:
    """Whoever holds the lane is killed, again and again, while another one stands by."""
    left = sizes.pick(4, 300) if store_url.startswith("redis") else sizes.pick(8, 300)
    ends, number = time.monotonic() + sizes.budget, 0
    while left > 0 and time.monotonic() < ends:
        url = fresh(store_url, number)
        stage = stages(url, lease=LEASE[urlsplit(url).scheme])
        deaths = kill_holders(stage, min(left, KILLS_A_ROUND), chance, ends)
        left, number = left - deaths, number + 1
        figures.count(kills=deaths)
        stage.check_history()
        assert_ran_ahead(stage)
        assert_reruns(stage)


@pytest.mark.parametrize("fault", [Fault.DROP, Fault.CUT_BEFORE_REPLY, Fault.CUT_IN_REPLY])
def test_lost_answers_of_a_worker_that_runs_ahead(
    tmp_path: Path, stages: Stages, sizes: Sizes, figures: Figures, fault: Fault
) -> None:
    """Its connection ends with settlements on their way, done or not. Each is repeated, none runs again."""
    wanted = sizes.pick(10, 1000)
    with (
        serving(tmp_path / "server", *AOF_EVERYSEC) as server,
        Proxy(server.port, seed=f"{sizes.seed}:worker", calm=(20, 400)) as proxy,
    ):
        stage = stages(server.url)
        stage.start("feed", "f")
        stage.worker(1, GLASSQ_URL=proxy.url)
        stage.wait_for_more("settle.ok", 20)
        proxy.fault = fault
        ends = time.monotonic() + sizes.budget
        stage.wait_for(
            lambda: proxy.faults_done >= wanted or time.monotonic() > ends,
            f"{wanted} faults",
            timeout=sizes.budget + 30,
        )
        figures.count(network_faults=proxy.faults_done)
        proxy.fault = Fault.NONE
        stage.check_history()
        assert_ran_ahead(stage)
        assert_reruns(stage, 0)
        assert proxy.faults_done >= sizes.pick(wanted, 1)


def kill_holders(stage: Stage, kills: int, chance: Random, ends: float) -> int:
    """Kill the holder of the lane in the middle of its stay, and put another in its place; how often."""
    stage.start("feed", "f")
    for _ in range(2):
        stage.worker(1)
    deaths = 0
    while deaths < kills and time.monotonic() < ends:
        stage.wait_for_more("start", chance.randint(20, 300))
        time.sleep(chance.uniform(0, 0.01))  # not for order: a kill may come at any point of a job's life
        holder(stage).kill()
        deaths += 1
        stage.worker(1)
    return deaths


def holder(stage: Stage) -> Process:
    """The process that began the last job: the lane's holder, unless that is just changing."""
    last = stage.events("start")[-1]["pid"]
    return next((each for each in stage.alive("work") if each.pid == last), stage.alive("work")[0])


def assert_ran_ahead(stage: Stage) -> None:
    """On Redis many jobs began before the one before was heard of, never with more on their way than may be.
    SQLite answers at once."""
    ahead = starts_ahead(
        stage.events("start", "settle.invoked", "settle.ok", "settle.fenced", "settle.unknown")
    )
    starts = len(stage.events("start"))
    stage.figures.add({"starts_ahead": len(ahead), "max_jobs_ahead": max(ahead, default=0)})
    if stage.store == "sqlite":
        assert not ahead, f"{len(ahead)} of {starts} jobs began before an answer that is there at once"
        return
    assert len(ahead) > starts / 10, f"only {len(ahead)} of {starts} jobs began ahead: what is tested here?"
    assert max(ahead) <= STALLED_IN_FLIGHT
