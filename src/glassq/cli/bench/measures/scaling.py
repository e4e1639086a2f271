"""Whether the rate holds when the queue is long and when the lanes are many, and what a lane weighs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TypeVar

from glassq.cli.bench.judge import Absent, Found, Reading
from glassq.cli.bench.measures.rates import against
from glassq.cli.bench.meters import Timed
from glassq.cli.bench.ours import Ours
from glassq.cli.bench.rounds import by_passes, enough_passes
from glassq.cli.bench.stage import Stage

K = TypeVar("K")

_SHORT = 1_000
_LONG_QUEUE = "bench-long"
_LONG_TURN = 32
_SHOWN_LANES = (1, 100, 1_000)
_JUDGED_LANES = (1_000, 10_000)
_NEEDS_FULL = "needs --full"


def backlog(stage: Stage) -> list[Found]:
    """A thousand jobs of a queue that holds no more, against a thousand at the head of a long one, again and
    again: of more at a time the short queue would not be a short one, and how long a single thousand takes is
    chance. Both are filled up before each run, so the long one stays as long as it is."""
    url = stage.redis.own_url
    with Ours(url) as short, Ours(url, queue=_LONG_QUEUE) as long:
        contestants = {
            "short": partial(_refilled, short, 0),
            "long": partial(_refilled, long, stage.sizes.backlog),
        }
        runs = _by_enough_passes(stage, contestants)
    note = f"backlog of {stage.sizes.backlog:,}"
    return [against(runs, "long", "short", "redis.backlog.ratio", note)]


def lanes(stage: Stage) -> list[Found]:
    """One lane against many, with turns of one job and with long ones. All have the same number of jobs at a
    time, and it is the same however long they are measured: of more jobs, more would be in each lane."""
    runs = _by_enough_passes(
        stage,
        {
            (count, turn): partial(_spread_over, stage, count, turn)
            for count in stage.sizes.lanes
            for turn in ((1,) if count not in _JUDGED_LANES else (1, _LONG_TURN))
        },
    )
    found: list[Found] = [
        Reading(f"redis.lanes.{count}", tuple(run.rate for run in runs[count, 1])) for count in _SHOWN_LANES
    ]
    for count in _JUDGED_LANES:
        for turn in (1, _LONG_TURN):
            key = f"redis.lanes.{count}.turn{turn}"
            if (count, turn) in runs:
                found.append(against(runs, (count, turn), (1, 1), key))
            else:
                found.append(Absent(key, _NEEDS_FULL))
    return found


def memory(stage: Stage) -> list[Found]:
    """What a job weighs in the server when each is in a lane of its own."""
    count = stage.sizes.memory_lanes
    if not count:
        return [Absent("redis.memory", _NEEDS_FULL)]
    with Ours(stage.redis.own_url) as ours:
        ours.enqueue_many(1)  # what every queue has is not what a job weighs
        before = int(stage.redis.info("memory")["used_memory"])
        ours.enqueue_many(count, lanes=count)
        after = int(stage.redis.info("memory")["used_memory"])
    return [Reading("redis.memory", ((after - before) / count,), note=f"{count:,} lanes")]


def _refilled(ours: Ours, more: int) -> Timed:
    ours.fill_up(_SHORT + more)
    return ours.process(_SHORT)


def _by_enough_passes(stage: Stage, contestants: Mapping[K, Callable[[], Timed]]) -> dict[K, list[Timed]]:
    passes = enough_passes(contestants, stage.sizes.seconds)
    return by_passes(contestants, stage.sizes.rounds, passes)


def _spread_over(stage: Stage, count: int, turn: int) -> Timed:
    jobs = max(count, stage.sizes.lane_jobs)
    with Ours(stage.redis.own_url, turn=turn) as ours:
        return ours.fill_and_process(jobs, lanes=count)
