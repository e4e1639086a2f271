"""Long chains in one lane, whose steps are begun before the store has answered what became of the one before,
while workers are killed and answers are lost."""

from __future__ import annotations

import time
from pathlib import Path
from random import Random

import pytest

from tests.chaos.bounds import assert_reruns
from tests.chaos.conftest import Stages
from tests.chaos.figures import Figures
from tests.chaos.proxy import Fault, Proxy
from tests.chaos.servers import AOF_EVERYSEC, serving
from tests.chaos.sizes import Sizes
from tests.chaos.stage import Stage
from tests.chaos.test_running_ahead import assert_ran_ahead, holder

WEAVING = "tests.chaos.weaving"


def test_kills_of_a_worker_in_a_long_chain(
    tmp_path: Path, stages: Stages, chance: Random, sizes: Sizes, figures: Figures
) -> None:
    """No step begins before the settlement of the one before was sent, one runs again at most, and each finds
    what was left for it."""
    with serving(tmp_path / "server", *AOF_EVERYSEC) as server:
        stage = stages(server.url)
        stage.start("produce", "c0", "1", "0", "200", module=WEAVING)
        for _ in range(2):
            stage.start("work", module=WEAVING)
        ends = time.monotonic() + sizes.budget
        for _ in range(sizes.pick(4, 300)):
            stage.wait_for_more("start", chance.randint(20, 300))
            holder(stage).kill()
            stage.start("work", module=WEAVING)
            figures.count(kills=1)
            if time.monotonic() > ends:
                break
        assert_all_is_well(stage)
        assert_reruns(stage)


@pytest.mark.parametrize("fault", [Fault.DROP, Fault.CUT_BEFORE_REPLY])
def test_lost_answers_in_a_long_chain(
    tmp_path: Path, stages: Stages, sizes: Sizes, figures: Figures, fault: Fault
) -> None:
    """What was sent is repeated before it is read what it left: no step runs again, and none misses it."""
    wanted = sizes.pick(10, 1000)
    with (
        serving(tmp_path / "server", *AOF_EVERYSEC) as server,
        Proxy(server.port, seed=f"{sizes.seed}:chains", calm=(20, 400)) as proxy,
    ):
        stage = stages(server.url)
        stage.start("produce", "c0", "1", "0", "200", module=WEAVING)
        stage.start("work", module=WEAVING, GLASSQ_URL=proxy.url)
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
        assert_all_is_well(stage)
        assert_reruns(stage, 0)


def assert_all_is_well(stage: Stage) -> None:
    """The history keeps the contract, steps were run ahead, and none missed what was left for it."""
    stage.wait_for(lambda: bool(stage.events("woven")), "a whole chain")
    stage.check_history()
    assert_ran_ahead(stage)
    inherited = stage.events("inherited")
    assert len(inherited) > 20
    assert [each for each in inherited if each["found"] != each["wanted"]] == []
