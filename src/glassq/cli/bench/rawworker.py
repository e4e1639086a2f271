"""A worker of redis-py and nothing else, in a process of its own: `python -m glassq.cli.bench.rawworker`.

Prints its resident memory after its work. What it is to do is in the environment, as a URL may hold a
password.
"""

from __future__ import annotations

import os

import redis

from glassq.cli.bench.loops import WINDOW, consume, prepare
from glassq.cli.bench.resident import resident_bytes

URL, STREAM, JOBS = "GLASSQ_BENCH_URL", "GLASSQ_BENCH_STREAM", "GLASSQ_BENCH_JOBS"
"""Environment variables: the server, the stream to use, and how many jobs."""


def main() -> None:
    """Fill the stream, read it, say what that took."""
    stream, jobs = os.environ[STREAM], int(os.environ[JOBS])
    with redis.Redis.from_url(os.environ[URL]) as client:
        prepare(client, stream, jobs)
        consume(client, stream, WINDOW)
        print(resident_bytes(), flush=True)


if __name__ == "__main__":
    main()
