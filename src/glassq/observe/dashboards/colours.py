"""Colours that mean the same on every dashboard: green goes on, orange waits, red needs a human."""

from __future__ import annotations

from collections.abc import Mapping

from glassq.observe.dashboards.schema import Threshold, Thresholds

GREEN, BLUE, YELLOW, ORANGE, RED, PURPLE, GREY = (
    "green",
    "blue",
    "yellow",
    "orange",
    "red",
    "purple",
    "#8e8e8e",
)

STATES: Mapping[str, str] = {
    "leased": GREEN,
    "ready": BLUE,
    "waiting_retry": ORANGE,
    "halted": RED,
    "paused": PURPLE,
    "scheduled": "super-light-blue",
    "deferred": "light-purple",
}
"""Of jobs and lanes."""

WORKFLOWS: Mapping[str, str] = {"succeeded": GREEN, "failed": RED, "cancelled": GREY}
"""How they ended."""

CAUSES: Mapping[str, str] = {
    "behind_lane": BLUE,
    "no_worker": RED,
    "backoff": ORANGE,
    "paused": PURPLE,
    "halted": "dark-red",
    "fairness": YELLOW,
}
"""Why a job waited."""

OUTCOMES: Mapping[str, str] = {
    "succeeded": GREEN,
    "buried": RED,
    "expired": ORANGE,
    "cancelled": GREY,
}
"""How jobs ended."""

QUANTILES: Mapping[str, str] = {"p50": GREEN, "p95": YELLOW, "p99": ORANGE}


def steps(first: str, *rest: tuple[float, str]) -> Thresholds:
    """The colour from the beginning, and further ones from their values on."""
    return Thresholds(
        steps=(
            Threshold(color=first, value=None),
            *(Threshold(color=colour, value=value) for value, colour in rest),
        )
    )


PLAIN = steps(BLUE)
"""No value is better than another."""
MUST_BE_ZERO = steps(GREEN, (1, RED))
SHOULD_BE_ZERO = steps(GREEN, (1, ORANGE))
MUST_BE_ONE = steps(RED, (1, GREEN))
WITHIN_OBJECTIVE = steps(GREEN, (0.8, ORANGE), (1, RED))
"""Of a share of what the application promised: the limit itself stands in the application's code."""
