"""What this process has just steered: when a settlement is better waited for."""

from __future__ import annotations

import time
from typing import Final

_FRESH: Final = 1.0
"""Seconds for which lanes of quick jobs may not have heard of what this process did to their queue."""


class Steering:
    """Remembers for a moment which queues this process paused or changed otherwise. Thread-safe."""

    def __init__(self) -> None:
        self._until: dict[str, float] = {}
        self.has_steered = False
        """Whether it ever changed any: asked for with each job."""

    def note(self, queue: str) -> None:
        """It is about to change something of this queue."""
        self._until[queue] = time.monotonic() + _FRESH
        self.has_steered = True

    def is_fresh(self, queue: str) -> bool:
        """Whether it did so a moment ago."""
        return time.monotonic() < self._until.get(queue, 0.0)
