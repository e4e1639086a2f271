"""Dramatiq, with the threads it has by default: with one it fetches two jobs a time, and is slower by far."""

from __future__ import annotations

import dramatiq
from dramatiq.brokers.redis import RedisBroker

from glassq.cli.bench.peers.trial import Steps, job


def set_up(url: str, directory: str) -> Steps:  # noqa: ARG001 - files are for those who need them
    """A broker with one actor."""
    broker = RedisBroker(url=url)
    dramatiq.set_broker(broker)
    actor = dramatiq.actor(job)
    worker = dramatiq.Worker(broker)
    return Steps(enqueue=actor.send, work=worker.start)
