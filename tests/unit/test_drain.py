from __future__ import annotations

import math

import pytest

from glassq.model.stats import QueueStats
from glassq.observe.drain import Paces


def stats(left: int, settled: int, *, scheduled: int = 0) -> QueueStats:
    """A queue with so many jobs left, of which so many are not due."""
    return QueueStats(queue="q", ready=left - scheduled, scheduled=scheduled, settled={"succeeded": settled})


def test_what_is_left_takes_as_long_as_the_pace_says() -> None:
    """100 jobs left, and 20 settled within 10 seconds: 50 seconds."""
    paces = Paces()
    paces.drain_seconds("q", stats(100, 0), 1000.0)
    assert paces.drain_seconds("q", stats(100, 20), 1010.0) == 50.0


def test_an_empty_queue_is_drained() -> None:
    """No pace is needed for nothing; jobs that are not due are nothing yet."""
    assert Paces().drain_seconds("q", stats(0, 7), 1000.0) == 0.0
    assert Paces().drain_seconds("q", stats(5, 7, scheduled=5), 1000.0) == 0.0


def test_where_nothing_moves_there_is_no_end() -> None:
    """A blocked queue has an infinite estimate, not a missing one."""
    paces = Paces()
    paces.drain_seconds("q", stats(3, 9), 1000.0)
    assert paces.drain_seconds("q", stats(4, 9), 1015.0) == math.inf


def test_one_look_is_no_pace() -> None:
    """Nothing is said before there is something to compare with, ten seconds apart."""
    paces = Paces()
    assert paces.drain_seconds("q", stats(3, 9), 1000.0) is None
    assert paces.drain_seconds("q", stats(3, 12), 1009.0) is None
    assert paces.drain_seconds("q", stats(3, 12), 1010.0) == pytest.approx(10.0)


def test_hours_of_idleness_do_not_slow_the_estimate() -> None:
    """A queue that was empty is measured anew from when it has jobs again."""
    paces = Paces()
    paces.drain_seconds("q", stats(10, 0), 1000.0)
    paces.drain_seconds("q", stats(0, 10), 1020.0)
    assert paces.drain_seconds("q", stats(50, 10), 1040.0) is None
    assert paces.drain_seconds("q", stats(40, 20), 1050.0) == 40.0


def test_the_pace_is_that_of_the_last_minutes() -> None:
    """A queue that was fast this morning and is slow now is slow."""
    paces = Paces()
    settled = 0
    found = None
    for step in range(120):
        settled += 100 if step < 60 else 1
        found = paces.drain_seconds("q", stats(30, settled), 1000.0 + 10 * step)
    assert found == pytest.approx(300.0)


def test_a_store_that_lost_its_totals_is_watched_anew() -> None:
    """A pace is never negative."""
    paces = Paces()
    paces.drain_seconds("q", stats(10, 500), 1000.0)
    assert paces.drain_seconds("q", stats(10, 2), 1020.0) is None
    assert paces.drain_seconds("q", stats(10, 4), 1030.0) == 50.0
