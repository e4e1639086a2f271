"""Waiting for a worker that has nothing left to do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from glassq.model.clock import Clock
from glassq.worker.holdings import Holdings

_LOOK: Final = 0.2
"""Seconds between two looks at what other processes still run."""


def wait_until_idle(is_idle: Callable[[], bool], holdings: Holdings, clock: Clock, timeout: float) -> bool:
    """Return True once it is idle; False after `timeout` seconds."""
    deadline = clock.monotonic() + timeout
    while not is_idle():
        remaining = deadline - clock.monotonic()
        if remaining <= 0:
            return False
        if len(holdings):
            holdings.wait_until_empty(remaining)
        else:
            clock.sleep(min(remaining, _LOOK))
    return True
