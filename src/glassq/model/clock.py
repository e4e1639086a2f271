"""Time as a protocol, so that tests can move it."""

from __future__ import annotations

from typing import Protocol


class Clock(Protocol):
    """Two kinds of time, named apart on purpose: only `wall` may be stored, only `monotonic` subtracted."""

    def wall(self) -> float:
        """Seconds since the Unix epoch."""
        ...

    def monotonic(self) -> float:
        """Seconds that never go back; counts time the machine was suspended where the system can."""
        ...

    def sleep(self, seconds: float) -> None:
        """Block the calling thread for this long."""
        ...
