"""Contestants take turns: a machine that slows down slows all of them, and ratios stay true."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

from glassq.cli.bench.meters import Timed

K = TypeVar("K")
R = TypeVar("R")

_LEAST = 200


def alternate(contestants: Mapping[K, Callable[[], R]], rounds: int) -> dict[K, list[R]]:
    """Run each contestant once a round, every other round in reverse; their results by name."""
    results: dict[K, list[R]] = {name: [] for name in contestants}
    for number in range(rounds):
        order = list(contestants) if number % 2 == 0 else list(contestants)[::-1]
        for name in order:
            results[name].append(contestants[name]())
    return results


def enough_jobs(run: Callable[[int], Timed], seconds: float, most: int = 1_000_000) -> int:
    """How many jobs `run` needs to take about so long. The runs that find out are the warm-up, too."""
    jobs = _LEAST
    while True:
        took = run(jobs)
        wanted = max(_LEAST, min(most, int(took.rate * seconds)))
        if took.seconds >= seconds / 4 or wanted <= jobs or jobs >= most:
            return wanted
        jobs = min(wanted, jobs * 10)
