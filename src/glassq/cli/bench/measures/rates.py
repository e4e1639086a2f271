"""How fast jobs are put in and run on Redis, beside the raw client in the same rounds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TypeVar

from glassq.cli.bench import pace
from glassq.cli.bench.judge import Absent, Found, Reading
from glassq.cli.bench.meters import Timed
from glassq.cli.bench.ours import Ours
from glassq.cli.bench.reference import RawLoops
from glassq.cli.bench.rounds import PASSES, by_passes, enough_jobs
from glassq.cli.bench.samples import ratios
from glassq.cli.bench.sizes import Sizes
from glassq.cli.bench.stage import Stage

K = TypeVar("K")

_TURN_LANES = 100
_UNTOLD = "the server does not tell its CPU time"


def enqueue_one(stage: Stage) -> list[Found]:
    """One call after the other, beside XADD."""
    with Ours(stage.redis.own_url, stage.redis.client) as ours:
        raw = RawLoops(stage.redis.client, stage.stream())
        runs = contest(
            stage.sizes,
            {"redis.enqueue.one": emptied(ours, ours.enqueue), "raw.add.one": raw.add_one},
        )
    return [
        *_rates(runs),
        against(runs, "redis.enqueue.one", "raw.add.one", "redis.enqueue.one.ratio"),
        *_cpu(runs["redis.enqueue.one"], "redis.cpu.producer", "redis.cpu.append"),
    ]


def enqueue_many(stage: Stage) -> list[Found]:
    """A hundred calls at a time, beside pipelines of a hundred."""
    with Ours(stage.redis.own_url, stage.redis.client) as ours:
        raw = RawLoops(stage.redis.client, stage.stream())
        runs = contest(
            stage.sizes,
            {"redis.enqueue.many": emptied(ours, ours.enqueue_many), "raw.add.piped": raw.add_piped},
        )
    return [*_rates(runs), against(runs, "redis.enqueue.many", "raw.add.piped", "redis.enqueue.many.ratio")]


def process(stage: Stage) -> list[Found]:
    """One full lane, and lanes that change after each job, beside the two ways to read a stream; the raw
    loops that give the pace of the machine take turns with them."""
    with Ours(stage.redis.own_url, stage.redis.client) as ours:
        raw = RawLoops(stage.redis.client, stage.stream())
        runs = contest(
            stage.sizes,
            {
                "redis.process": ours.fill_and_process,
                "turns": partial(ours.fill_and_process, lanes=_TURN_LANES),
                "raw.window": raw.read_window,
                "raw.one": raw.read_one,
                "raw.add.one": raw.add_one,
                "raw.add.piped": raw.add_piped,
            },
        )
    paces = pace.of_cpu(runs)
    marks = pace.by_mark(runs) if paces else {}
    at_pace = partial(_cpu, paces=paces, witnesses=tuple(marks.values()))
    told = ", ".join(f"{name} {value:.2f}" for name, value in marks.items())
    return [
        *_rates({name: runs[name] for name in ("redis.process", "raw.window", "raw.one")}),
        against(runs, "redis.process", "raw.window", "redis.process.ratio"),
        against(runs, "redis.process", "raw.one", "redis.process.raw.ratio"),
        *at_pace(runs["redis.process"], "redis.cpu.worker", "redis.cpu.server"),
        *at_pace(runs["turns"], "redis.cpu.worker.turn", "redis.cpu.server.turn"),
        *_cpu(runs["raw.window"], "raw.cpu.worker", "raw.cpu.server"),
        Reading("raw.pace.cpu", paces, note=told) if paces else Absent("raw.pace.cpu", _UNTOLD),
    ]


def emptied(ours: Ours, enqueue: Callable[[int], Timed]) -> Callable[[int], Timed]:
    """The same, and the queue is empty again afterwards."""

    def run(jobs: int) -> Timed:
        taken = enqueue(jobs)
        ours.purge()
        return taken

    return run


def contest(sizes: Sizes, contestants: Mapping[str, Callable[[int], Timed]]) -> dict[str, list[Timed]]:
    """Each with as many jobs as it does in the time of a round."""
    pass_seconds = sizes.seconds / PASSES
    sized = {name: partial(run, enough_jobs(run, pass_seconds)) for name, run in contestants.items()}
    return by_passes(sized, sizes.rounds)


def _rates(runs: Mapping[str, Sequence[Timed]]) -> list[Found]:
    return [Reading(name, tuple(run.rate for run in timed)) for name, timed in runs.items()]


def _cpu(
    runs: Sequence[Timed],
    client: str,
    server: str,
    *,
    paces: tuple[float, ...] = (),
    witnesses: tuple[float, ...] = (),
) -> list[Found]:
    sides = {client: [run.client_micros for run in runs], server: [run.server_micros for run in runs]}
    return [Reading(key, tuple(micros), paces=paces, witnesses=witnesses) for key, micros in sides.items()]


def against(runs: Mapping[K, Sequence[Timed]], ours: K, theirs: K, key: str, note: str = "") -> Reading:
    """How much faster ours was than theirs, round by round."""
    mine, others = ([run.rate for run in runs[name]] for name in (ours, theirs))
    return Reading(key, tuple(ratios(mine, others)), note)
