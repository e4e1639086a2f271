"""How long a lane waits before its head is tried again."""

from __future__ import annotations

import math

import msgspec

from glassq.errors import BadOption
from glassq.model.quantities import CENTURY


class Backoff(msgspec.Struct, frozen=True):
    """Exponential waits with a cap: `min(cap, first * factor ** failures)`, thinned by jitter.

    `jitter` is the part of each wait that is random (0 = none, 1 = "full jitter" as AWS calls it):
    the wait lies between `(1 - jitter) * w` and `w`. All times are seconds.
    """

    first: float = 1.0
    factor: float = 2.0
    cap: float = 300.0
    jitter: float = 0.0

    def __post_init__(self) -> None:
        waits = all(0 <= each <= CENTURY for each in (self.first, self.cap))
        if not (waits and math.isfinite(self.factor) and self.factor >= 1 and 0 <= self.jitter <= 1):
            raise BadOption(
                "retry_wait",
                "Backoff needs first and cap from 0 s to a century, finite factor >= 1, and 0 <= jitter <= 1",
            )


def full_jitter(tries: int, random: float, *, first: float = 0.05, cap: float = 5.0) -> float:
    """Seconds to wait before try number `tries + 1` at a resource that was not there, at least `first`.

    Doubling bounds with "full jitter": the wait lies anywhere below the bound, so that many processes do not
    come back at once. Source: AWS Architecture Blog, "Exponential Backoff And Jitter".
    """
    bound = min(cap, first * float(2 ** min(tries, 32)))
    return max(first, bound * random)


def retry_delay(wait: float | Backoff, failures: int, random: float) -> float:
    """Seconds until the next attempt after `failures` earlier failures; `random` lies in [0, 1)."""
    if not isinstance(wait, Backoff):
        return float(wait)
    try:
        full = min(wait.cap, wait.first * float(wait.factor) ** failures)
    except OverflowError:  # jobs that retry for ever get here, and steep factors soon
        full = wait.cap if wait.first else 0.0
    return full * (1 - wait.jitter * random)
