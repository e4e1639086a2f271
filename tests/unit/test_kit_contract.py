"""Whatever a test does with an application in the kit, the contract holds there as everywhere."""

from __future__ import annotations

import logging
import random
from contextlib import suppress
from typing import Literal

import pytest

from glassq.app import Glassq
from glassq.model.events import AttemptStarted, LaneLost, OrderViolated
from glassq.testing import Kit, testing

QUEUES, KEYS = ("a", "b", "c"), ("x", "y")


class Chances:
    """An application whose jobs fail, crash, take long and enqueue others, by chance."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.app = Glassq("redis://nowhere.invalid/0")
        self.app.defaults(max_retries=-1, retry_wait=3)
        self.sent: dict[tuple[str, str], list[int]] = {(queue, key): [] for queue in QUEUES for key in KEYS}
        self.count = 0

        @self.app.fifo("a", key="key", name="a")
        def a(key: str, number: int) -> None:
            self.happen()

        @self.app.fifo("b", key="key", name="b", timeout=30)
        def b(key: str, number: int) -> None:
            self.happen()

        @self.app.fifo("c", key="key", name="c")
        async def c(key: str, number: int) -> None:
            self.happen()

        self.tasks = {"a": a.enqueue, "b": b.enqueue, "c": c.enqueue}

    def put(self) -> None:
        """Enqueue a job of some key."""
        queue, key = self.chance.choice(QUEUES), self.chance.choice(KEYS)
        self.count += 1
        self.sent[queue, key].append(self.count)
        self.tasks[queue](key, self.count)

    def happen(self) -> None:
        """What a job does."""
        what = self.chance.random()
        if what < 0.15:
            raise ValueError("by chance")
        if what < 0.25:
            self.kit.crash_worker()
        if what < 0.35:
            self.kit.advance(self.chance.choice([1, 7, 20]))
        if what < 0.45 and self.count < 40:
            self.put()

    def act(self, kit: Kit) -> None:
        """What the test does."""
        self.kit, what = kit, self.chance.random()
        if what < 0.6:
            self.put()
        elif what < 0.7:
            kit.run_next()
        elif what < 0.8:
            kit.run()
        elif what < 0.95:
            kit.advance(self.chance.choice([0.5, 3, 16]))
        else:
            with suppress(AssertionError):  # nothing was ready
                kit.crash_worker()


def begun(kit: Kit) -> dict[tuple[str, str], list[int]]:
    """The numbers of each lane's jobs, in the order in which they began; repetitions in a row count once."""
    lanes: dict[tuple[str, str], list[int]] = {(queue, key): [] for queue in QUEUES for key in KEYS}
    jobs = {job.id: job for job in kit.jobs}
    for event in kit.events.of(AttemptStarted):
        job = jobs[event.job_id]
        lane = lanes[job.queue, str(job.key)]
        if lane[-1:] != [job.arguments["number"]]:
            lane.append(job.arguments["number"])
    return lanes


@pytest.mark.parametrize("mode", ["manual", "inline"])
@pytest.mark.parametrize("seed", range(6))
def test_every_lane_keeps_its_order_and_every_job_ends(
    seed: int, mode: Literal["manual", "inline"], caplog: pytest.LogCaptureFixture
) -> None:
    """Through failures, deaths, long jobs and jobs of jobs: no job begins before all ahead of it have ended,
    none is left, no lease is lost by a living worker, and nobody tells of a violation."""
    caplog.set_level(logging.CRITICAL, logger="glassq")
    chances = Chances(random.Random(seed))
    for _ in range(2):  # a second test begins at an earlier time than the first has come to
        with testing(chances.app, mode, errors="keep") as kit:
            for _ in range(25):
                chances.act(kit)
            kit.run_until_idle()
            assert begun(kit) == chances.sent
            assert [queue.depth for queue in chances.app.storage.stats(QUEUES)] == [0, 0, 0]
            assert kit.events.of(OrderViolated) == []
            assert kit.events.of(LaneLost) == []
        chances.sent = {lane: [] for lane in chances.sent}
        chances.count = 0
