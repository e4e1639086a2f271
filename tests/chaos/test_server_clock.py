"""The server's clock goes wrong by an hour: nobody alive loses a lane, and nothing changes its place."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tests.chaos.conftest import Stages
from tests.chaos.figures import Figures
from tests.chaos.servers import AOF_EVERYSEC, RedisServer, ServerClock, serving
from tests.chaos.sizes import Sizes
from tests.chaos.stage import Stage
from tests.chaos.test_takeovers import LANES, held_lanes, ready, taken_lanes

HOUR = 3600


@pytest.mark.parametrize("restarting", [False, True], ids=["running", "restarting"])
def test_an_hour_ahead_or_back_takes_no_lane_from_the_living(
    tmp_path: Path, stages: Stages, sizes: Sizes, restarting: bool
) -> None:
    """While the server runs (somebody set its clock) or while it was away (another machine took over its
    data): every owner keeps its lanes, order stays, and delayed jobs at most come early or late."""
    clock = ServerClock(tmp_path / "clock")
    with serving(tmp_path / "server", *AOF_EVERYSEC, environment=clock.environment) as server:
        stage = stages(server.url, lease=2.5)
        for number in range(2):
            stage.producer(f"p{number}")
            stage.worker()
        stage.wait_for_more("settle.ok", 20)
        for _ in range(sizes.pick(1, 10)):
            for offset in (-HOUR, 0, HOUR):
                step(server, clock, offset, restarting=restarting)
                stage.figures.count(clock_steps=1)
                stage.wait_for_more("enqueue.ok", 5)
                wait_for_renewals(stage)
                stage.wait_for_more("settle.ok", 20)
        clock.set(2 * HOUR)  # all delayed jobs are due by now
        stage.check_history()
    assert not stage.events("lease.lost", "settle.fenced", "loss")
    if not restarting:  # else an answer with a new lease in it may have been lost, so that it ends unused
        assert {event["cause"] for event in stage.events("lease.taken")} == {"ready"}


def wait_for_renewals(stage: Stage) -> None:
    """Until every owner has renewed by the new clock: a token has one fresh lease between two renewals."""
    before = renewals(stage)
    enough = {each.pid: before[each.pid] + 2 for each in stage.alive("work")}  # one may have begun before
    stage.wait_for(
        lambda: all(renewals(stage)[pid] >= number for pid, number in enough.items()), "all owners to renew"
    )


def renewals(stage: Stage) -> Counter[int]:
    """How often each worker has renewed what it holds."""
    return Counter(event["pid"] for event in stage.events("lease.renewed"))


def step(server: RedisServer, clock: ServerClock, offset: int, *, restarting: bool) -> None:
    """Set the server's clock, as it runs or while it is away."""
    if restarting:
        server.kill()
    clock.set(offset)
    if restarting:
        server.start()


def test_a_dead_owner_goes_within_two_leases_of_a_jump(
    tmp_path: Path, stages: Stages, sizes: Sizes, figures: Figures
) -> None:
    """Its lease may seem to have ended, or to last for an hour: after the jump it gets one fresh lease like
    the living, then its lanes go to the standby."""
    clock = ServerClock(tmp_path / "clock")
    with serving(tmp_path / "server", *AOF_EVERYSEC, environment=clock.environment) as server:
        stage = stages(server.url, lease=2.0)
        owner = ready(stage)
        waits = []
        for offset in (HOUR, 0) * sizes.pick(1, 10):
            assert stage.start("cling", str(LANES)).wait() == 0
            stage.wait_for(lambda: held_lanes(stage, owner) == LANES, "the owner of all lanes")  # noqa: B023
            standby = ready(stage)
            killed = owner.kill()
            clock.set(offset)
            stage.wait_for(lambda: taken_lanes(stage, standby) == LANES, "the takeover")  # noqa: B023
            claims = [each["m"] for each in stage.events("claimed") if each["pid"] == standby.pid]
            waits.append(max(claims) - killed)
            figures.count(kills=1, clock_steps=1)
            owner = standby
            stage.wait_for(lambda: stage.stats().depth == 0, "the second attempts")
        stage.check_history()
    figures.time("takeover_after_a_jump", waits)
    assert max(waits) <= 2 * stage.lease, f"later than two leases: {waits}"
