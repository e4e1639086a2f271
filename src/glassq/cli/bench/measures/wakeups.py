"""How soon an idle worker in another process starts a job that comes in."""

from __future__ import annotations

import time
from collections.abc import Callable
from queue import Empty, SimpleQueue

from glassq.cli.bench.judge import Found, Reading
from glassq.cli.bench.meters import MeasureFailed
from glassq.cli.bench.program import READY, Order, echoing
from glassq.cli.bench.samples import percentile
from glassq.cli.bench.stage import Stage

_GAP = 0.02
"""Seconds between two calls: long enough for the worker to settle the last and go back to waiting."""
_PATIENCE = 20.0
_WARM_UP = 3


def over_redis(stage: Stage) -> list[Found]:
    """Through the server's doorbell."""
    return _wakeups(stage, "redis", stage.redis.own_url)


def over_sqlite(stage: Stage) -> list[Found]:
    """Through the file's doorbell."""
    return _wakeups(stage, "sqlite", stage.file_url("wake"))


def _wakeups(stage: Stage, store: str, url: str) -> list[Found]:
    said: SimpleQueue[str] = SimpleQueue()
    with stage.worker(Order(do="echo", url=url), said.put):
        app, echo = echoing(url)
        with app:
            _round(_WARM_UP, echo, said)
            rounds = [_round(stage.sizes.wakes, echo, said) for _ in range(stage.sizes.rounds)]
    return [
        Reading(f"{store}.wake.p50", tuple(percentile(each, 0.50) for each in rounds)),
        Reading(f"{store}.wake.p99", tuple(percentile(each, 0.99) for each in rounds)),
        Reading(f"{store}.wake.max", (max(map(max, rounds)),)),
    ]


def _round(wakes: int, echo: Callable[[float], object], said: SimpleQueue[str]) -> list[float]:
    """So many wake-ups, one after the other, in milliseconds."""
    taken = []
    for _ in range(wakes):
        time.sleep(_GAP)
        echo(time.monotonic())
        taken.append(_answer(said) * 1000)
    return taken


def _answer(said: SimpleQueue[str]) -> float:
    """What the worker says next about a job."""
    while True:
        try:
            line = said.get(timeout=_PATIENCE)
        except Empty:
            raise MeasureFailed(f"an idle worker did not start a job within {_PATIENCE:.0f} s") from None
        if line != READY:
            return float(line)
