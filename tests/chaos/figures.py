"""What a run of the suite measured: counts and times per test, and over all."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from statistics import median
from typing import Any

from tests.chaos.sizes import Sizes


class Figures:
    """What one test counted and timed."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.seconds: dict[str, list[float]] = {}

    def count(self, **counts: int) -> None:
        """Add to counts, `kills=1`."""
        self.counts.update(counts)

    def add(self, counts: Mapping[str, Any]) -> None:
        """Add a report's figures, the greatest of those named `max_`; what is not a number is left out."""
        for name, value in counts.items():
            if isinstance(value, int):
                known = self.counts[name]
                self.counts[name] = max(known, value) if name.startswith("max_") else known + value

    def time(self, name: str, seconds: Iterable[float]) -> None:
        """Add measured times; p50 and the worst are shown."""
        self.seconds.setdefault(name, []).extend(seconds)

    def as_json(self) -> dict[str, Any]:
        """Everything, times by their median, worst and number."""
        times = {
            name: {"p50": round(median(values), 4), "max": round(max(values), 4), "n": len(values)}
            for name, values in self.seconds.items()
            if values
        }
        return {**dict(sorted(self.counts.items())), **times}


class Summary:
    """The figures of all tests of a run."""

    def __init__(self, sizes: Sizes) -> None:
        self._sizes = sizes
        self._tests: dict[str, Figures] = {}

    def figures(self, test: str) -> Figures:
        """The figures of one test."""
        return self._tests.setdefault(test, Figures())

    def as_json(self) -> dict[str, Any]:
        """Mode, seed, each test and the sums."""
        total = Figures()
        for figures in self._tests.values():
            total.add(figures.counts)
            for name, seconds in figures.seconds.items():
                total.time(name, seconds)
        return {
            "mode": self._sizes.mode,
            "seed": self._sizes.seed,
            "tests": {test: figures.as_json() for test, figures in self._tests.items()},
            "total": total.as_json(),
        }

    def write(self, path: Path) -> None:
        """As a JSON file."""
        path.write_text(json.dumps(self.as_json(), indent=2) + "\n")

    def lines(self) -> list[str]:
        """For the end of a run: a line per test, then the sums."""
        found = self.as_json()
        rows = [*found["tests"].items(), ("in all", found["total"])]
        return [f"{name}: {_line(figures)}" for name, figures in rows if figures]


def _line(figures: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{name} p50 {value['p50']} max {value['max']} s (n={value['n']})"
        if isinstance(value, dict)
        else f"{name} {value}"
        for name, value in figures.items()
        if value
    )
