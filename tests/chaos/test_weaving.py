"""Workflows over the shards of a queue, while workers are killed between what they settle and relay."""

from __future__ import annotations

import time
from random import Random

import pytest

from tests.chaos.bounds import assert_reruns
from tests.chaos.conftest import Stages
from tests.chaos.crashpoints import AROUND_RELEASE, INSIDE, RELEASING, WORKING
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


def test_a_wide_diamond_through_a_death_at_every_point(
    store_url: str, stages: Stages, chance: Random, sizes: Sizes, figures: Figures
) -> None:
    """A thousand branches between one step and one: each is released exactly once, the last one after all."""
    stage = stages(store_url, CHAOS_SHARDS="3", CHAOS_LENGTH="2000")
    stage.start("produce", "d0", "7", "1000", module=WEAVING)
    for _ in range(2):
        stage.start("work", module=WEAVING)
    points = [*AROUND_RELEASE, *RELEASING[stage.store]]
    if sizes.mode == "release":
        points += [each for each in WORKING + INSIDE[stage.store]["work"] if not _is_seldom(each)]
    ends = time.monotonic() + sizes.budget
    for _ in range(sizes.pick(1, 20)):
        chance.shuffle(points)
        for point in points:
            victim = stage.start("work", module=WEAVING, GLASSQ_CRASH_AT=f"{point}:{chance.randint(1, 3)}")
            assert victim.wait(timeout=60) == -9, f"{point} was not reached"
            figures.count(kills=1, kills_at_points=1)
        if time.monotonic() > ends:
            break
    stage.wait_for(lambda: len(stage.events("woven")) >= sizes.pick(2, 20), "whole diamonds")
    assert {event["status"] for event in stage.events("woven")} == {"succeeded"}
    stage.check_history()
    assert_reruns(stage)


def _is_seldom(point: str) -> bool:
    """Whether a worker of quick steps hardly ever gets to it; `test_points.py` sees to those."""
    return any(rare in point for rare in ("in_on", "listen", "release", "renew", "report"))
