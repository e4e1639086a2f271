"""Contestants take turns: a machine that slows down slows all of them, and ratios stay true."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping
from typing import TypeVar

from glassq.cli.bench.meters import Timed, added_up

K = TypeVar("K")
R = TypeVar("R")

_LEAST = 200

PASSES = 4
"""Short runs that make up a long one. Each contestant has as many before as after the others, so a machine
that gets slower or quicker within a round does so for all."""


def alternate(contestants: Mapping[K, Callable[[], R]], rounds: int) -> dict[K, list[R]]:
    """Run each contestant once a round, every other round in reverse; their results by name."""
    results: dict[K, list[R]] = {name: [] for name in contestants}
    for number in range(rounds):
        order = list(contestants) if number % 2 == 0 else list(contestants)[::-1]
        for name in order:
            results[name].append(contestants[name]())
    return results


def by_passes(
    contestants: Mapping[K, Callable[[], Timed]], rounds: int, passes: int = PASSES
) -> dict[K, list[Timed]]:
    """The same with so many runs of each contestant a round, there and back, which are added up."""
    return {
        name: [added_up(runs[first : first + passes]) for first in range(0, len(runs), passes)]
        for name, runs in alternate(contestants, rounds * passes).items()
    }


def enough_passes(contestants: Mapping[K, Callable[[], Timed]], seconds: float) -> int:
    """How many passes a round has in which contestants take about so long on average: there and back, or only
    there. The runs that find out are the warm-up, too."""
    took = statistics.mean(run().seconds for run in contestants.values())
    return max(1, 2 * round(seconds / took / 2))


def enough_jobs(
    run: Callable[[int], Timed], seconds: float, *, least: int = _LEAST, most: int = 1_000_000
) -> int:
    """How many jobs `run` needs to take about so long. The runs that find out are the warm-up, too."""
    jobs = least
    while True:
        took = run(jobs)
        wanted = max(least, min(most, int(took.rate * seconds)))
        if took.seconds >= seconds / 4 or wanted <= jobs or jobs >= most:
            return wanted
        jobs = min(wanted, jobs * 10)
