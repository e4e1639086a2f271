"""How fast calls are put in that are awaited, many at a time, beside redis.asyncio in the same rounds, and
how long very many at once hold up an event loop."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from typing import Final

import redis.asyncio

from glassq.cli.bench.judge import Found, Reading
from glassq.cli.bench.measures.rates import against, contest, emptied
from glassq.cli.bench.meters import Timed
from glassq.cli.bench.ours import Ours
from glassq.cli.bench.stage import Stage

AT_ONCE: Final = 64
"""Tasks of one loop, each of which awaits one call after the other."""
BURST: Final = 10_000
"""Calls that are all begun in one step of a loop."""
_PULSE: Final = 0.001


def enqueue_awaited(stage: Stage) -> list[Found]:
    """64 at a time, beside XADD through redis.asyncio."""
    stream = stage.stream()

    def raw(jobs: int) -> Timed:
        taken = asyncio.run(_add(stage.redis.url, stream, jobs))
        stage.redis.client.delete(stream)
        return taken

    with Ours(stage.redis.own_url, stage.redis.client) as ours:

        def awaited(jobs: int) -> Timed:
            return asyncio.run(_awaited(ours.noop.aenqueue, jobs))

        runs = contest(stage.sizes, {"redis.enqueue.async": emptied(ours, awaited), "raw.add.async": raw})
    return [
        *(Reading(name, tuple(run.rate for run in timed)) for name, timed in runs.items()),
        against(runs, "redis.enqueue.async", "raw.add.async", "redis.enqueue.async.ratio"),
    ]


def burst(stage: Stage) -> list[Found]:
    """The longest time for which the loop does nothing else; beside as many coroutines that do nothing."""
    calls, nothing = [], []
    with Ours(stage.redis.own_url, stage.redis.client) as ours:
        asyncio.run(_stall(ours.noop.aenqueue, AT_ONCE))  # opens what has to be opened
        for _ in range(stage.sizes.rounds):
            calls.append(asyncio.run(_stall(ours.noop.aenqueue, BURST)))
            nothing.append(asyncio.run(_stall(_nothing, BURST)))
            ours.purge()
    return [Reading("redis.enqueue.burst", tuple(calls)), Reading("raw.burst", tuple(nothing))]


async def _nothing(_: int) -> None:
    await asyncio.sleep(0)


async def _stall(call: Callable[[int], Awaitable[object]], calls: int) -> float:
    """Milliseconds by which a sleeper is late at most while so many calls are awaited at once."""
    late = [0.0]

    async def feel() -> None:
        while True:
            before = time.perf_counter()
            await asyncio.sleep(_PULSE)
            late.append(time.perf_counter() - before - _PULSE)

    pulse = asyncio.create_task(feel())
    await asyncio.sleep(_PULSE)
    await asyncio.gather(*[call(number) for number in range(calls)])
    await asyncio.sleep(2 * _PULSE)  # what was late is felt
    pulse.cancel()
    return max(late) * 1000


async def _add(url: str, stream: str, jobs: int) -> Timed:
    async with redis.asyncio.Redis.from_url(url) as client:

        async def add(number: int) -> None:
            await client.xadd(stream, {"job": json.dumps({"task": "noop", "args": [number]})})

        return await _awaited(add, jobs)


async def _awaited(call: Callable[[int], Awaitable[object]], jobs: int) -> Timed:
    """So many calls, after one of each task: those open what has to be opened."""
    await asyncio.gather(*[call(number) for number in range(AT_ONCE)])

    async def one_by_one(first: int) -> None:
        for number in range(first, jobs, AT_ONCE):
            await call(number)

    cpu, wall = time.process_time(), time.perf_counter()
    await asyncio.gather(*[one_by_one(first) for first in range(AT_ONCE)])
    return Timed(jobs, time.perf_counter() - wall, time.process_time() - cpu)
