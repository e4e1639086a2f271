"""The store's clock, as the answers show it: whether it was set while something is judged by ours."""

from __future__ import annotations

from collections.abc import Iterable

_SLACK = 0.01
"""Seconds by which two clocks may run apart without one of them having been set."""

Reading = tuple[float, float, float]
"""When a call was sent and answered by our clock, and the time at the store in between."""


class StoreClock:
    """Finds the moments at which the store's clock jumped against the one of the histories."""

    def __init__(self, readings: Iterable[Reading]) -> None:
        self._jumps: list[tuple[float, float]] = []
        together: list[Reading] = []
        low, high = float("-inf"), float("inf")
        for reading in sorted(readings, key=lambda each: each[1]):
            least, most = _ahead(reading)
            if least > high or most < low:
                self._jumps.append((_last_before(together, least, most), reading[1]))
                together, low, high = [], float("-inf"), float("inf")
            together.append(reading)
            low, high = max(low, least), min(high, most)

    def jumped_between(self, earlier: float, later: float) -> bool:
        """Whether it was perhaps set in this time."""
        return any(start <= later and end >= earlier for start, end in self._jumps)


def _ahead(reading: Reading) -> tuple[float, float]:
    """How far the store's clock is ahead of ours: at least, and at most."""
    asked, answered, now = reading
    return now - answered - _SLACK, now - asked + _SLACK


def _last_before(together: list[Reading], least: float, most: float) -> float:
    """When the last call was sent whose answer surely was of the time before a jump."""
    for reading in reversed(together):
        low, high = _ahead(reading)
        if least > high or most < low:
            return reading[0]
    return together[0][0]
