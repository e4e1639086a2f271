"""What the peers have in common: the job, how it is counted, and what is timed."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable

import msgspec

from glassq.cli.bench.meters import Tally, Timed
from glassq.cli.bench.peers.runner import PATIENCE


class Steps(msgspec.Struct, frozen=True):
    """A peer, set up: `enqueue` puts one job in, `work` runs all of them and need not return."""

    enqueue: Callable[[int], object]
    work: Callable[[], object]


class _Trial:
    """One run of one peer in this process."""

    def __init__(self) -> None:
        self.tally = Tally(0)
        self.enqueued = Timed(1, 1.0)


_trial = _Trial()


def job(number: int) -> None:  # noqa: ARG001 - a job has an argument
    """The job of every peer: it does nothing but count itself. The last one ends the process, because the
    workers of peers run until they are told to stop, each in a way of its own."""
    if _trial.tally.hit():
        answer = msgspec.json.encode((_trial.enqueued, _trial.tally.timed()))
        os.write(sys.__stdout__.fileno() if sys.__stdout__ else 1, b"\n" + answer + b"\n")
        os._exit(0)


def play(steps: Steps, jobs: int) -> None:
    """Put the jobs in, then run them; the process ends with the last one."""
    _trial.tally = Tally(jobs)
    cpu, wall = time.process_time(), time.perf_counter()
    for number in range(jobs):
        steps.enqueue(number)
    _trial.enqueued = Timed(jobs, time.perf_counter() - wall, time.process_time() - cpu)
    steps.work()
    time.sleep(PATIENCE)  # a worker in threads of its own; after that nobody waits for it any more
