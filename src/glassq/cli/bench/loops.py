"""The reference: what a program does with redis-py and nothing else. Jobs are JSON in a stream.

Nothing of ours is imported here: a process that runs only this is the raw worker whose memory is measured.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import redis

WINDOW = 100
_GROUP, _CONSUMER = "g", "c"
_BLOCK = 2000
"""Milliseconds, less than the time after which redis-py gives an answer up."""


def add_one_by_one(client: redis.Redis, stream: str, jobs: int) -> None:
    """XADD, one round trip each."""
    for number in range(jobs):
        client.xadd(stream, _fields(number))


def add_piped(client: redis.Redis, stream: str, jobs: int) -> None:
    """XADD in pipelines of a hundred."""
    for first in range(0, jobs, WINDOW):
        with client.pipeline(transaction=False) as pipeline:
            for number in range(first, min(jobs, first + WINDOW)):
                pipeline.xadd(stream, _fields(number))
            pipeline.execute()


def prepare(client: redis.Redis, stream: str, jobs: int) -> None:
    """A full stream and a group that has read nothing of it."""
    add_piped(client, stream, jobs)
    client.xgroup_create(stream, _GROUP, id="0")


def consume(client: redis.Redis, stream: str, window: int) -> None:
    """XREADGROUP so many, decode and run each, XACK them all in one pipeline; until the stream is read.

    With a window of 100 this is the reference loop, with 1 it is two round trips a job.
    """
    while entries := _read(client, stream, window):
        for _, fields in entries:
            _noop(json.loads(fields[b"job"])["args"][0])
        if window == 1:
            client.xack(stream, _GROUP, entries[0][0])
            continue
        with client.pipeline(transaction=False) as pipeline:
            for entry, _ in entries:
                pipeline.xack(stream, _GROUP, entry)
            pipeline.execute()


def ring(client: redis.Redis, stream: str, called: float) -> None:
    """Wake whoever hears: one XADD with the time of the call."""
    client.xadd(stream, {"called": repr(called)})


def hear(client: redis.Redis, stream: str) -> Iterator[float]:
    """XREAD BLOCK without end, from the beginning of the stream: the time in each entry as it comes."""
    last = b"0"
    while True:
        for entry, fields in _entries(client.xread({stream: last}, count=1, block=_BLOCK)):
            last = entry
            yield float(fields[b"called"])


def _read(client: redis.Redis, stream: str, window: int) -> list[tuple[bytes, dict[bytes, bytes]]]:
    return _entries(client.xreadgroup(_GROUP, _CONSUMER, {stream: ">"}, count=window))


def _entries(answer: Any) -> list[tuple[bytes, dict[bytes, bytes]]]:
    """What was read; redis-py answers with a list or a mapping, by the protocol it speaks."""
    if not answer:
        return []
    batches = next(iter(answer.values())) if isinstance(answer, dict) else [answer[0][1]]
    return [entry for batch in batches for entry in batch]


def _noop(number: int) -> None:
    """What every job of the benchmark does."""


def _fields(number: int) -> dict[Any, Any]:
    return {"job": json.dumps({"task": "noop", "args": [number]})}
