"""Workflows over the shards of a queue, while workers are killed between what they settle and relay."""

from __future__ import annotations

import time
from random import Random

import pytest

from tests.chaos.bounds import assert_reruns
from tests.chaos.conftest import Stages
from tests.chaos.figures import Figures
from tests.chaos.sizes import Sizes

WEAVING = "tests.chaos.weaving"


@pytest.mark.parametrize("shards", [1, 3])
def test_every_step_is_released_exactly_once(
    store_url: str, stages: Stages, chance: Random, sizes: Sizes, figures: Figures, shards: int
) -> None:
    """Nothing stays deferred, runs before what it waits for has ended, or is released twice."""
    stage = stages(store_url, CHAOS_SHARDS=str(shards))
    stage.start("produce", "p0", "7", module=WEAVING)
    for _ in range(3):
        stage.start("work", module=WEAVING)
    ends = time.monotonic() + sizes.budget
    for _ in range(sizes.pick(8, 300)):
        stage.wait_for_more("start", chance.randint(5, 60))
        victim = chance.choice(stage.alive("work"))
        victim.kill()
        stage.start("work", module=WEAVING)
        figures.count(kills=1)
        if time.monotonic() > ends:
            break
    stage.check_history()
    assert_reruns(stage)
