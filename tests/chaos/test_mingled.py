"""Sync and async jobs in one queue, awaited calls, blocked event loops and `kill -9`, all at once."""

from __future__ import annotations

import time
from random import Random

from tests.chaos.bounds import assert_reruns
from tests.chaos.conftest import Stages
from tests.chaos.figures import Figures
from tests.chaos.sizes import Sizes

MINGLED = "tests.chaos.mingled"
WHOSE = ("own", "callers")


def test_both_kinds_through_kills_and_blocked_loops(
    store_url: str, stages: Stages, chance: Random, sizes: Sizes, figures: Figures
) -> None:
    """Workers on loops of both kinds are killed while calls are awaited, cancelled, and jobs block the loops
    for longer than a lease: nothing is lost or reordered, and one job of a lane runs again."""
    stage = stages(store_url)
    for number in range(2):
        stage.start("produce", f"p{number}", "7", module=MINGLED)
    for whose in (*WHOSE, "own"):
        stage.start("work", whose, module=MINGLED)
    ends = time.monotonic() + sizes.budget
    for number in range(sizes.pick(20, 300)):
        stage.wait_for_more("start", chance.randint(5, 60))
        victim = chance.choice(stage.alive("work"))
        victim.kill()
        stage.start("work", WHOSE[number % 2], module=MINGLED)
        figures.count(kills=1)
        if time.monotonic() > ends:
            break
    stage.check_history()
    assert_reruns(stage)
    assert "the event loop has been blocked by rude" in stage.output.read_text()
