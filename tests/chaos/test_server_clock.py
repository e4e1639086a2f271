"""The server's clock goes wrong by an hour: nobody alive loses a lane, and nothing changes its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.conftest import Stages
from tests.chaos.servers import AOF_EVERYSEC, RedisServer, ServerClock, serving
from tests.chaos.sizes import Sizes

HOUR = 3600


@pytest.mark.parametrize("restarting", [False, True], ids=["running", "restarting"])
def test_an_hour_ahead_or_back_takes_no_lane_from_the_living(
    tmp_path: Path, stages: Stages, sizes: Sizes, restarting: bool
) -> None:
    """While the server runs (somebody set its clock) or while it was away (another machine took over its
    data): every owner keeps its lanes, order stays, and delayed jobs at most come early or late."""
    clock = ServerClock(tmp_path / "clock")
    with serving(tmp_path / "server", *AOF_EVERYSEC, environment=clock.environment) as server:
        stage = stages(server.url, lease=5.0)
        for number in range(2):
            stage.producer(f"p{number}")
            stage.worker()
        stage.wait_for_more("settle.ok", 20)
        for _ in range(sizes.pick(1, 10)):
            for offset in (-HOUR, 0, HOUR):
                step(server, clock, offset, restarting=restarting)
                stage.figures.count(clock_steps=1)
                stage.wait_for_more("enqueue.ok", 5)
                # Owners renew by the new clock before the next step.
                stage.wait_for_more("lease.renewed", 3)
                stage.wait_for_more("settle.ok", 20)
        clock.set(2 * HOUR)  # all delayed jobs are due by now
        stage.check_history()
    assert not stage.events("lease.lost", "settle.fenced", "loss")
    if not restarting:  # else an answer with a new lease in it may have been lost, so that it ends unused
        assert {event["cause"] for event in stage.events("lease.taken")} == {"ready"}


def step(server: RedisServer, clock: ServerClock, offset: int, *, restarting: bool) -> None:
    """Set the server's clock, as it runs or while it is away."""
    if restarting:
        server.kill()
    clock.set(offset)
    if restarting:
        server.start()
