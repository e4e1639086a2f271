"""A clock that stands still until a test moves it."""

from __future__ import annotations

import threading

DAWN = 1_750_000_000.0
"""Where the wall clock of a `FakeClock` begins, in epoch seconds (June 2025)."""


class FakeClock:
    """`glassq.model.clock.Clock` under a test's hand. Thread-safe; several stores may share one."""

    def __init__(self, wall: float = DAWN, monotonic: float = 1_000.0) -> None:
        self._lock = threading.Lock()
        self._wall = wall
        self._monotonic = monotonic

    def wall(self) -> float:
        """Seconds since the Unix epoch, as the test has it."""
        with self._lock:
            return self._wall

    def monotonic(self) -> float:
        """Seconds that never go back."""
        with self._lock:
            return self._monotonic

    def sleep(self, seconds: float) -> None:
        """Return at once, with both times moved on."""
        self.advance(seconds)

    def advance(self, seconds: float) -> None:
        """Let time pass: both clocks move on by `seconds`, which is not negative."""
        if seconds < 0:
            raise ValueError("time does not go back; set the wall clock back with step_wall")
        with self._lock:
            self._wall += seconds
            self._monotonic += seconds

    def step_wall(self, seconds: float) -> None:
        """Set the wall clock forward or back, as an administrator or NTP does: no time passes."""
        with self._lock:
            self._wall += seconds
