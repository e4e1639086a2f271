"""Taskiq on Redis streams, with one receiver and one thread."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from taskiq.receiver import Receiver
from taskiq_redis import RedisStreamBroker

from glassq.cli.bench.peers.trial import Steps, job


def set_up(url: str, directory: str) -> Steps:  # noqa: ARG001 - files are for those who need them
    """A broker with one task, on one event loop."""
    loop = asyncio.new_event_loop()
    broker = RedisStreamBroker(url=url)
    task: Any = broker.register_task(job, task_name="job")
    loop.run_until_complete(broker.startup())

    async def work() -> None:
        with ThreadPoolExecutor(1) as threads:
            await Receiver(broker, threads, max_async_tasks=1).listen(asyncio.Event())

    return Steps(
        enqueue=lambda number: loop.run_until_complete(task.kiq(number)),
        work=lambda: loop.run_until_complete(work()),
    )
