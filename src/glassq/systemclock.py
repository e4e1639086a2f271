"""The real clock."""

from __future__ import annotations

import time
from functools import partial

# CLOCK_BOOTTIME counts while the machine is suspended, CLOCK_MONOTONIC does not: a lease that ran out
# during a suspension must look run out to its owner.
_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class SystemClock:
    """The operating system's clocks."""

    def wall(self) -> float:
        """Seconds since the Unix epoch."""
        return time.time()

    # Asked several times per job, so no function of Python's stands between.
    monotonic = staticmethod(partial(time.clock_gettime, _CLOCK))
    """Seconds since boot."""

    def sleep(self, seconds: float) -> None:
        """Block the calling thread."""
        time.sleep(seconds)
