"""Huey, with one worker thread and no results kept."""

from __future__ import annotations

from huey import RedisHuey

from glassq.cli.bench.peers.trial import Steps, job


def set_up(url: str, directory: str) -> Steps:  # noqa: ARG001 - files are for those who need them
    """A queue with one task."""
    huey = RedisHuey("bench", url=url, results=False)
    task = huey.task()(job)
    consumer = huey.create_consumer(workers=1, periodic=False)
    return Steps(enqueue=task, work=consumer.run)
