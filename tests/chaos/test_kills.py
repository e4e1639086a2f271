"""`kill -9` at any moment: nothing is lost, reordered or settled twice, and one job of a lane runs again."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from random import Random
from urllib.parse import urlsplit

import redis

from tests.chaos.bounds import NOTICED_IN_A_CROWD, STALLED_IN_FLIGHT, assert_reruns, assert_takeovers
from tests.chaos.conftest import Stages
from tests.chaos.figures import Figures
from tests.chaos.sizes import Sizes
from tests.chaos.stage import Stage
from tests.processes import quiet

KILLS_A_ROUND = 100
"""A history and what judges it stay small: each round has a store of its own."""
LEASE = {"sqlite": 4.0, "redis": 1.0}
"""On SQLite deaths are noticed, not waited for: a long lease tells the two apart on a busy machine, too."""


def test_random_kills(store_url: str, stages: Stages, chance: Random, sizes: Sizes, figures: Figures) -> None:
    """Workers and producers are killed at random while others go on."""
    left = sizes.pick(100, 1000) if store_url.startswith("sqlite") else sizes.pick(40, 1000)
    ends = time.monotonic() + sizes.budget
    for number in count():
        url = fresh(store_url, number)
        stage = stages(url, lease=LEASE[urlsplit(url).scheme])
        deaths = kill_at_random(stage, min(left, KILLS_A_ROUND), chance, ends)
        left -= len(deaths)
        figures.count(kills=len(deaths), kill_seed_rounds=1)
        stage.check_history()
        assert_takeovers(stage, deaths, "takeover_under_load", mostly=NOTICED_IN_A_CROWD)
        assert_reruns(stage)
        if left <= 0 or time.monotonic() > ends:
            break


def test_random_kills_among_thieves(
    store_url: str, stages: Stages, chance: Random, sizes: Sizes, figures: Figures
) -> None:
    """The same where each worker has keys of its own and steals others': lanes move between the living,
    too, and are neither lost nor reordered nor run by two."""
    ends = time.monotonic() + sizes.budget
    stage = stages(store_url, lease=LEASE[urlsplit(store_url).scheme], CHAOS_THIEVES="1")
    deaths = kill_at_random(stage, sizes.pick(25, 500), chance, ends)
    figures.count(kills=len(deaths))
    stage.check_history()
    assert_reruns(stage)


def test_kills_while_the_store_stalls(
    store_url: str, stages: Stages, chance: Random, sizes: Sizes, figures: Figures
) -> None:
    """A worker is killed while its server answers nobody (or somebody holds the file's lock), for less than a
    lease and for more: at most what was on its way runs again."""
    stage = stages(store_url)
    begin(stage)
    ends = time.monotonic() + sizes.budget
    for number in range(sizes.pick(6, 60)):
        stage.wait_for_more("start", chance.randint(1, 20))
        with stalled(store_url):
            chance.choice(stage.alive("work")).kill()
            time.sleep(1.3 if number % 3 == 2 else chance.uniform(0.05, 0.5))  # the length of the stall
        figures.count(kills=1, stalls=1)
        stage.worker()
        if time.monotonic() > ends:
            break
    stage.check_history()
    assert_reruns(stage, STALLED_IN_FLIGHT)


def begin(stage: Stage) -> None:
    """Producers and workers at work, with slots for more lanes than there are: a dead one's find a place."""
    for number in range(2):
        stage.producer(f"p{number}")
    for _ in range(3):
        stage.worker()
    stage.wait_for_more("start")


def kill_at_random(stage: Stage, kills: int, chance: Random, ends: float) -> dict[int, float]:
    """Kill somebody after some further jobs began, put another in the place, and so on; who died when."""
    begin(stage)
    deaths: dict[int, float] = {}
    for number in range(kills):
        stage.wait_for_more("start", chance.randint(1, 12))
        # Not for order: what is waited for is written at one point of a job's life, kills shall come at all.
        time.sleep(chance.uniform(0, 0.01))
        victim = chance.choice(stage.alive("work") + stage.alive("produce"))
        deaths[victim.pid] = victim.kill()
        if victim.role == "work":
            stage.worker()
        else:
            stage.producer(f"r{number}")
        if time.monotonic() > ends:
            break
    return deaths


def fresh(url: str, number: int) -> str:
    """An empty store for a round: another file, or the emptied server."""
    if url.startswith("sqlite"):
        return url.replace("jobs.db", f"jobs-{number}.db")
    with redis.Redis.from_url(url) as client:
        client.flushall()
    return url


@contextmanager
def stalled(url: str) -> Iterator[None]:
    """Nobody gets an answer from the store."""
    if url.startswith("sqlite"):
        with quiet(url):
            yield
        return
    with redis.Redis.from_url(url) as client:
        server = int(client.info()["process_id"])
    os.kill(server, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(server, signal.SIGCONT)
