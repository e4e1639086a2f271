"""What a queue is declared to keep: the thresholds of its alerts."""

from __future__ import annotations

from glassq.errors import BadOption
from glassq.model.quantities import check_seconds

WAIT_BOUNDS = (
    0.005,
    0.01,
    0.05,
    0.1,
    0.5,
    1.0,
    5.0,
    10.0,
    30.0,
    60.0,
    300.0,
    900.0,
    3600.0,
    14400.0,
    86400.0,
)
"""Seconds: the bounds that waiting times are counted between."""


def check_latency(option: str, value: object) -> None:
    """A length of time that a histogram of waiting times can tell from a longer one, or None; `BadOption`
    otherwise. Between two bounds nobody could say how many jobs were late."""
    if value is None:
        return
    seconds = check_seconds(option, value, above_zero=True)
    if seconds not in WAIT_BOUNDS:
        close = min(WAIT_BOUNDS, key=lambda bound: abs(bound - seconds))
        bounds = ", ".join(f"{bound:g}" for bound in WAIT_BOUNDS)
        raise BadOption(
            option,
            f"is a bound that waiting times are counted between, got {value!r}; the nearest is {close:g} "
            f"(there are {bounds})",
        )


def check_limit(option: str, value: object) -> None:
    """A length of time above 0, or None; `BadOption` otherwise."""
    if value is not None:
        check_seconds(option, value, above_zero=True)
