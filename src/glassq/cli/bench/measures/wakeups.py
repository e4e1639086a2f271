"""How soon an idle worker in another process starts a job that comes in, beside a bare client that hears."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from queue import Empty, SimpleQueue

from glassq.cli.bench import pace
from glassq.cli.bench.judge import Found, Reading
from glassq.cli.bench.loops import ring
from glassq.cli.bench.meters import MeasureFailed
from glassq.cli.bench.program import READY, Order, echoing
from glassq.cli.bench.rounds import alternate
from glassq.cli.bench.samples import percentile
from glassq.cli.bench.stage import Stage

_GAP = 0.02
"""Seconds between two calls: long enough for the worker to settle the last and go back to waiting."""
_PATIENCE = 20.0
_WARM_UP = 3


Wakes = Callable[[int], list[float]]
"""So many wake-ups, one after the other: how long each took, in milliseconds."""


def over_redis(stage: Stage) -> list[Found]:
    """Through the server's doorbell."""
    rounds = _in_turns(stage, stage.redis.own_url)
    paces = pace.of_wake_ups(rounds["bare"])
    return [
        *_readings("redis.wake", rounds["ours"], paces),
        *_readings("raw.wake", rounds["bare"]),
        Reading("raw.pace.wake", paces),
    ]


def over_sqlite(stage: Stage) -> list[Found]:
    """Through the file's doorbell."""
    rounds = _in_turns(stage, stage.file_url("wake"))
    return _readings("sqlite.wake", rounds["ours"], pace.of_wake_ups(rounds.get("bare", ())))


def _readings(prefix: str, rounds: Sequence[Sequence[float]], paces: tuple[float, ...] = ()) -> list[Found]:
    return [
        Reading(f"{prefix}.p50", tuple(percentile(each, 0.50) for each in rounds), paces=paces),
        Reading(f"{prefix}.p99", tuple(percentile(each, 0.99) for each in rounds), paces=paces),
        Reading(f"{prefix}.max", (max(map(max, rounds)),)),
    ]


def _in_turns(stage: Stage, url: str) -> dict[str, list[list[float]]]:
    """Rounds of ours and, where there is a server, of a bare client: it tells the pace of the machine."""
    with ExitStack() as stack:
        contestants = {"ours": stack.enter_context(_ours(stage, url))}
        if stage.server is not None:
            contestants["bare"] = stack.enter_context(_bare(stage))
        for wake in contestants.values():
            wake(_WARM_UP)
        sized = {name: partial(wake, stage.sizes.wakes) for name, wake in contestants.items()}
        return alternate(sized, stage.sizes.rounds)


@contextmanager
def _ours(stage: Stage, url: str) -> Iterator[Wakes]:
    """Calls of a task to an idle worker."""
    said: SimpleQueue[str] = SimpleQueue()
    with stage.worker(Order(do="echo", url=url), said.put):
        app, echo = echoing(url)
        with app:
            yield lambda wakes: _round(wakes, echo, said)


@contextmanager
def _bare(stage: Stage) -> Iterator[Wakes]:
    """Entries in a stream at which another process waits, with redis-py and nothing else."""
    said: SimpleQueue[str] = SimpleQueue()
    stream = stage.stream()
    with stage.worker(Order(do="hear", url=stage.redis.url, stream=stream), said.put):
        yield lambda wakes: _round(wakes, partial(ring, stage.redis.client, stream), said)


def _round(wakes: int, call: Callable[[float], object], said: SimpleQueue[str]) -> list[float]:
    taken = []
    for _ in range(wakes):
        time.sleep(_GAP)
        call(time.monotonic())
        taken.append(_answer(said) * 1000)
    return taken


def _answer(said: SimpleQueue[str]) -> float:
    """What the other process says next about a call."""
    while True:
        try:
            line = said.get(timeout=_PATIENCE)
        except Empty:
            raise MeasureFailed(f"an idle process was not woken within {_PATIENCE:.0f} s") from None
        if line != READY:
            return float(line)
