"""Figures out of repeated measurements: the middle, the spread, and how late the latest were."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

NOISE_BOUND = 0.25
"""A row whose spread is above this is too noisy to be judged, unless every round says the same."""


def spread(values: Sequence[float]) -> float:
    """The middle half of the values, as a share of their median; 0 for a single one.

    Not the whole range: one round in which the machine did something else must not decide.
    """
    if len(values) < 2:
        return 0.0
    middle = statistics.median(values)
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    if middle == 0:
        return 0.0 if high == low else math.inf
    return (high - low) / abs(middle)


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` (0 to 1) of all values do not exceed."""
    ranked = sorted(values)
    return ranked[max(0, math.ceil(share * len(ranked)) - 1)]


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    """Ours over theirs, round by round: what slows a whole round down slows both."""
    return [mine / other for mine, other in zip(ours, theirs, strict=True)]
