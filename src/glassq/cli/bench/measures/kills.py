"""A worker process is killed in the middle of its work, again and again; its notes tell what was run."""

from __future__ import annotations

import random
import time
from bisect import bisect_right
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from glassq.cli.bench.judge import Found, Reading
from glassq.cli.bench.meters import MeasureFailed
from glassq.cli.bench.ours import CHUNK
from glassq.cli.bench.program import RECORD_BYTES, Order, recording
from glassq.cli.bench.stage import Stage
from glassq.cli.demo.children import Child

_LOOK = 0.0005
"""Seconds between two looks at the notes of a worker."""
_PATIENCE = 60.0


class Record(msgspec.Struct, frozen=True):
    """What the notes of a trial say. `reruns` has one number for each kill."""

    reruns: tuple[int, ...]
    disorder: int
    lost: int


def on_redis(stage: Stage) -> list[Found]:
    """One lane on the server."""
    return _trial(stage, "redis", stage.redis.own_url)


def on_sqlite(stage: Stage) -> list[Found]:
    """One lane in a file."""
    return _trial(stage, "sqlite", stage.file_url("kills"))


def read_record(noted: Sequence[int], jobs: int, kills: Sequence[int]) -> Record:
    """What is wrong with a trial, from the jobs of one lane as they were noted.

    `kills` are the lengths the notes had when a worker had just died. Each job is noted right after the one
    before it; only the first after a kill may step back, to jobs that run again.
    """
    seen: set[int] = set()
    reruns, disorder, last = [0] * len(kills), 0, -1
    for place, number in enumerate(noted):
        deaths = bisect_right(kills, place)
        if number in seen and deaths:
            reruns[deaths - 1] += 1
        if number != last + 1 and not (place in kills and number in seen):
            disorder += 1
        seen.add(number)
        last = number
    return Record(tuple(reruns), disorder, jobs - len(seen))


def _trial(stage: Stage, store: str, url: str) -> list[Found]:
    seed = random.SystemRandom().randrange(1 << 32)
    chance = random.Random(seed)  # noqa: S311 - chooses when to kill, hides nothing
    each, kills = stage.sizes.kill_jobs, stage.sizes.kills
    jobs = each * (kills + 1)
    notes = stage.scratch / f"{store}-notes"
    _fill(url, notes, jobs)
    order = Order(do="record", url=url, path=str(notes))
    lengths = []
    for number in range(kills):
        with stage.worker(order) as worker:
            _await(worker, notes, number * each + chance.randrange(1, each))
            worker.kill()
            worker.wait(_PATIENCE)
        lengths.append(len(_numbers(notes)))
    with stage.worker(order) as worker:
        _await_last(worker, notes, jobs)
    record = read_record(_numbers(notes), jobs, lengths)
    return [
        Reading(f"{store}.kill.reruns", tuple(map(float, record.reruns)), note=f"{kills} kills, seed {seed}"),
        Reading(f"{store}.kill.disorder", (float(record.disorder),)),
        Reading(f"{store}.kill.lost", (float(record.lost),)),
    ]


def _fill(url: str, notes: Path, jobs: int) -> None:
    app, record = recording(url, str(notes))
    with app:
        for first in range(0, jobs, CHUNK):
            app.enqueue_many([record.s(number) for number in range(first, min(jobs, first + CHUNK))])


def _numbers(notes: Path) -> list[int]:
    return [int(line) for line in notes.read_text(encoding="ascii").splitlines()]


def _await(worker: Child, notes: Path, lines: int) -> None:
    """Until so many jobs were noted by the workers so far."""
    _watch(worker, lambda: notes.stat().st_size >= lines * RECORD_BYTES, f"job {lines:,}")


def _await_last(worker: Child, notes: Path, jobs: int) -> None:
    """Until the last job was noted, however many were run twice."""

    def noted() -> bool:
        with notes.open("rb") as file:
            file.seek(-RECORD_BYTES, 2)
            return int(file.read(RECORD_BYTES)) == jobs - 1  # it grows meanwhile

    _watch(worker, noted, "the last job")


def _watch(worker: Child, happened: Callable[[], bool], what: str) -> None:
    ends = time.monotonic() + _PATIENCE
    while not happened():
        if worker.exit_code is not None:
            raise MeasureFailed(f"a worker ended by itself{worker.last_words()}")
        if time.monotonic() > ends:
            raise MeasureFailed(f"{what} did not start within {_PATIENCE:.0f} s{worker.last_words()}")
        time.sleep(_LOOK)
