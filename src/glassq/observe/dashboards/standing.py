"""What holds a queue at a moment: one word for a person, made from what the store says about its lanes."""

from __future__ import annotations

from glassq.observe.dashboards.colours import BLUE, GREEN, ORANGE, PURPLE, RED
from glassq.observe.dashboards.looks import Verdict
from glassq.observe.dashboards.queries import Where, gathered, objective, series, value

IDLE, MOVES, RETRIES, PAUSED, HALTED, ABANDONED = range(6)

VERDICTS = (
    Verdict(IDLE, "nothing to do", BLUE),
    Verdict(MOVES, "moves", GREEN),
    Verdict(RETRIES, "a head is retried", ORANGE),
    Verdict(PAUSED, "paused", PURPLE),
    Verdict(HALTED, "a lane is halted", RED),
    Verdict(ABANDONED, "no worker", "dark-red"),
)
"""From the best to the worst; a queue is shown as the worst that is true of it."""


def standing() -> str:
    """The worst that is true of each queue, as the number of its verdict."""
    verdicts = (
        _while_lanes(MOVES, ("ready", "leased")),
        _while_lanes(RETRIES, "waiting_retry"),
        _while_lanes(PAUSED, "paused"),
        _while_lanes(HALTED, "halted"),
        f"{ABANDONED} * ({abandoned()})",
    )
    return gathered("max", ("queue",), " or ".join(verdicts))


def abandoned() -> str:
    """1 for each queue that has jobs to run and no worker, 0 for the others."""
    lanes = f"sum by (queue) ({value('queue_lanes', 'queue', 'state')})"
    return f"({value('queue_workers', 'queue')} == bool 0) * ({lanes} > bool 0)"


def age_against_objective() -> str:
    """The oldest job's age as a share of what was promised."""
    return f"{value('queue_oldest_job_age_seconds', 'queue')} / {objective('max_age')}"


def block_against_objective() -> str:
    """How long the worst head has held up its lane, as a share of what was promised."""
    return f"{value('queue_head_blocked_seconds', 'queue')} / {objective('max_blocked')}"


def _while_lanes(verdict: int, state: Where) -> str:
    return f"{verdict} * ({series('queue_lanes', state=state)} > bool 0)"
