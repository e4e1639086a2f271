"""`kill -9` at every named point of a job's life: before and after each verb, inside it, around user code."""

from __future__ import annotations

import time
from random import Random
from urllib.parse import urlsplit

from tests.chaos.bounds import assert_reruns, assert_takeovers
from tests.chaos.conftest import Stages
from tests.chaos.crashpoints import INSIDE, PRODUCING, WORKING
from tests.chaos.figures import Figures
from tests.chaos.sizes import Sizes
from tests.chaos.test_kills import LEASE, begin

RARE = ("listen", "renew", "report", "release", "in_on_error")
"""Points a process gets to once, or seldom: it ends there the first time."""


def test_every_named_point(
    store_url: str, stages: Stages, chance: Random, sizes: Sizes, figures: Figures
) -> None:
    """One process after the other ends at its point, while two producers and three workers go on."""
    stage = stages(store_url, lease=LEASE[urlsplit(store_url).scheme])
    begin(stage)
    points = [("work", point) for point in WORKING + INSIDE[stage.store]["work"]]
    points += [("produce", point) for point in PRODUCING + INSIDE[stage.store]["produce"]]
    assert len(points) >= 14
    ends = time.monotonic() + sizes.budget
    victims = set()
    for number in range(sizes.pick(1, 20)):
        chance.shuffle(points)
        for role, point in points:
            nth = 1 if any(rare in point for rare in RARE) else chance.randint(1, 6)
            arguments = ("4",) if role == "work" else (f"v{number}-{point}",)
            victim = stage.start(role, *arguments, GLASSQ_CRASH_AT=f"{point}:{nth}")
            assert victim.wait(timeout=45) == -9, f"{point}:{nth} was not reached"
            victims.add(victim.pid)
            figures.count(kills=1, kills_at_points=1)
        if time.monotonic() > ends:
            break
    figures.count(points=len(points))
    stage.check_history()
    deaths = {event["pid"]: event["m"] for event in stage.events("at_point")}
    assert deaths.keys() == victims
    assert_takeovers(stage, deaths, "takeover_at_points")
    assert_reruns(stage)
