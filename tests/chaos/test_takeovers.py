"""How soon a dead owner's lanes are taken over where nothing else disturbs: the figure that is promised."""

from __future__ import annotations

from urllib.parse import urlsplit

from tests.chaos.bounds import assert_takeovers
from tests.chaos.conftest import Stages
from tests.chaos.figures import Figures
from tests.chaos.processes import Process
from tests.chaos.sizes import Sizes
from tests.chaos.stage import Stage
from tests.chaos.test_kills import LEASE
from tests.chaos.tracing import RECLAIMED

LANES = 4


def test_a_standby_takes_over(store_url: str, stages: Stages, sizes: Sizes, figures: Figures) -> None:
    """A worker that holds four lanes is killed beside an idle one, again and again: that one has them within
    half a lease, mostly within 50 ms (SQLite), or within a second after their leases (Redis)."""
    stage = stages(store_url, lease=LEASE[urlsplit(store_url).scheme])
    owner = ready(stage)
    deaths: dict[int, float] = {}
    for _ in range(sizes.pick(8, 100) if stage.store == "sqlite" else sizes.pick(3, 30)):
        assert stage.start("cling", str(LANES)).wait() == 0
        stage.wait_for(lambda: held_lanes(stage, owner) == LANES, "the owner of all lanes")  # noqa: B023
        standby = ready(stage)
        deaths[owner.pid] = owner.kill()
        stage.wait_for(lambda: taken_lanes(stage, standby) == LANES, "the takeover")  # noqa: B023
        figures.count(kills=1)
        owner = standby
        stage.wait_for(lambda: stage.stats().depth == 0, "the second attempts")
    stage.check_history()
    assert_takeovers(stage, deaths, "takeover")
    assert len(stage.events("start")) == 2 * LANES * len(deaths)


def ready(stage: Stage) -> Process:
    """A worker that has looked for lanes once, and waits."""
    worker = stage.worker(LANES)
    stage.wait_for(
        lambda: worker.pid in {event["pid"] for event in stage.events("claim_noted")}, "a worker that waits"
    )
    return worker


def held_lanes(stage: Stage, worker: Process) -> int:
    """How many lanes a worker runs a job in."""
    begun = {(each["lane"], each["token"]) for each in stage.events("start") if each["pid"] == worker.pid}
    left = {(each["lane"], each["token"]) for each in stage.events("lease.left")}
    return len(begun - left)


def taken_lanes(stage: Stage, worker: Process) -> int:
    """How many lanes a worker took that were a dead one's."""
    claims = [each for each in stage.events("claimed") if each["pid"] == worker.pid]
    return sum(each["cause"] in RECLAIMED for each in claims)
