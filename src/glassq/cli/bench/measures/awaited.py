"""How fast calls are put in that are awaited, many at a time, beside redis.asyncio in the same rounds."""

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
