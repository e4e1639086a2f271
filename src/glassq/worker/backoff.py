"""Pauses between tries while the store is away."""

from __future__ import annotations

from collections.abc import Callable

from glassq.model.clock import Clock
from glassq.policy.retry import full_jitter


class RetryPause:
    """Growing pauses with full jitter, 50 ms to 5 s."""

    def __init__(self, clock: Clock, random: Callable[[], float]) -> None:
        self._clock = clock
        self._random = random
        self._tries = 0

    def next(self) -> float:
        """The next pause in seconds."""
        self._tries += 1
        return full_jitter(self._tries, self._random())

    def wait(self) -> None:
        """Sleep for the next pause."""
        self._clock.sleep(self.next())

    def reset(self) -> None:
        """The store answered: begin again with short pauses."""
        self._tries = 0
