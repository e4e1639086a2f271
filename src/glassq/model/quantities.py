"""Numbers people give: lengths of time, counts, levels."""

from __future__ import annotations

from glassq.errors import BadOption
from glassq.model.jobs import Priority

CENTURY = 100 * 365.25 * 86400
"""Seconds. No job waits longer; stores count microseconds in 64 bits."""
YEAR_9999 = 253_402_300_800.0
"""Epoch seconds at the end of the calendar."""


def check_seconds(option: str, value: object, *, above_zero: bool = False, at_most: float = CENTURY) -> float:
    """A length of time in seconds, 0 or more; `BadOption` otherwise. Infinity and NaN are none."""
    least = "above 0" if above_zero else "from 0 up"
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not 0 <= value <= at_most or (above_zero and value == 0):  # type: ignore[operator]
        raise BadOption(option, f"is seconds {least}, at most {at_most:,.0f}; got {value!r}")
    return float(value)  # type: ignore[arg-type]


def check_count(option: str, value: object) -> int:
    """A whole number from 1 up; `BadOption` otherwise."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise BadOption(option, f"is a whole number from 1 up, got {value!r}")
    return value


def check_priority(option: str, value: object) -> int:
    """One of the six levels; `BadOption` otherwise."""
    if isinstance(value, bool) or not isinstance(value, int) or value not in tuple(Priority):
        names = ", ".join(f"{level.name}={level.value}" for level in Priority)
        raise BadOption(option, f"is a Priority ({names}), got {value!r}")
    return int(value)
