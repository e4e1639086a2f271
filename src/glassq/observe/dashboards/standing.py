"""What holds a queue at a moment: one word for a person, made from what the store says about its lanes."""

from __future__ import annotations

from glassq.observe.dashboards.colours import GREEN, ORANGE, PURPLE, RED, YELLOW
from glassq.observe.dashboards.looks import Verdict
from glassq.observe.dashboards.queries import Where, gathered, objective, series, value

IDLE, MOVES, RETRIES, PAUSED, BLOCKED, HALTED, ABANDONED = range(7)

VERDICTS = (
    Verdict(IDLE, "nothing to do", "dark-green"),
    Verdict(MOVES, "moves", GREEN),
    Verdict(RETRIES, "a head is retried", YELLOW),
    Verdict(PAUSED, "paused", PURPLE),
    Verdict(BLOCKED, "blocked too long", ORANGE),
    Verdict(HALTED, "a lane is halted", RED),
    Verdict(ABANDONED, "no worker", "dark-red"),
)
"""From the best to the worst; a queue is shown as the worst that is true of it."""


def standing() -> str:
    """The worst that is true of each queue, as the number of its verdict."""
    verdicts = (
        _verdict(MOVES, f"{_lanes(('ready', 'leased'))} > bool 0"),
        _verdict(RETRIES, f"{_lanes('waiting_retry')} > bool 0"),
        _verdict(PAUSED, f"({_lanes('paused')} > bool 0) or {series('queue_paused')}"),
        _verdict(BLOCKED, f"{block_against_objective()} > bool 1"),
        _verdict(HALTED, f"{_lanes('halted')} > bool 0"),
        _verdict(ABANDONED, abandoned()),
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


def _lanes(state: Where) -> str:
    return series("queue_lanes", state=state)


def _verdict(number: int, holds: str) -> str:
    """Its number where it holds, else 0. The label keeps verdicts about one queue apart for `or`."""
    return f'label_replace({number} * ({holds}), "verdict", "{number}", "", "")'
