"""The whole table of decisions."""

from __future__ import annotations

from itertools import product
from typing import get_args

import pytest

from glassq.model.verdicts import Action, Outcome, Verdict
from glassq.policy.decide import FinalAction, Rules, decide
from glassq.policy.retry import Backoff

ENDS: tuple[FinalAction, ...] = get_args(FinalAction)
RETRYABLE = {Outcome.EXCEPTION, Outcome.TIMEOUT}
ENDED = {
    Outcome.EXPIRED: Action.EXPIRE,
    Outcome.CANCELLED: Action.CANCEL,
    Outcome.INTERRUPTED: Action.DROP,
}
UNREADABLE = {Outcome.UNDECODABLE, Outcome.UNKNOWN_TASK}

EVERYTHING = list(product(Outcome, [-1, 0, 1, 3], ENDS, ENDS, [0, 1, 2, 3, 4, 1000], [True, False]))


def expected(outcome: Outcome, rules: Rules, failures: int, *, holds_lease: bool) -> tuple[Action, str]:
    """The contract, row by row and in other words than the code."""
    if outcome is Outcome.LEASE_LOST or not holds_lease:
        return Action.DROP, "lease_lost"
    if outcome is Outcome.SUCCEEDED:
        return Action.ACK, ""
    if outcome in ENDED:
        return ENDED[outcome], outcome.value
    if outcome in UNREADABLE:
        return Action(rules.on_unknown), outcome.value
    retries_left = rules.max_retries == -1 or rules.max_retries - failures > 0
    if outcome in RETRYABLE and retries_left:
        return Action.RETRY, outcome.value
    return Action(rules.on_exhausted), outcome.value


@pytest.mark.parametrize(
    ("outcome", "max_retries", "on_exhausted", "on_unknown", "failures", "holds_lease"), EVERYTHING
)
def test_every_row_of_the_table(
    outcome: Outcome,
    max_retries: int,
    on_exhausted: FinalAction,
    on_unknown: FinalAction,
    failures: int,
    holds_lease: bool,
) -> None:
    """Each outcome under each rule has one verdict, with its reason; when it retries, a wait and a number."""
    rules = Rules(max_retries=max_retries, retry_wait=7.0, on_exhausted=on_exhausted, on_unknown=on_unknown)
    verdict = decide(outcome, rules, failures=failures, holds_lease=holds_lease, random=0.5)
    action, reason = expected(outcome, rules, failures, holds_lease=holds_lease)
    retries = (7.0, failures + 1) if action is Action.RETRY else ()
    assert verdict == Verdict(action, reason, *retries)
    assert verdict.final is (action in (Action.BURY, Action.HALT))


@pytest.mark.parametrize("max_retries", [0, 1, 2, 5])
def test_retries_are_attempts_less_one(max_retries: int) -> None:
    """`max_retries=2` is three attempts: two verdicts to retry, then the end."""
    rules = Rules(max_retries=max_retries)
    actions = [
        decide(Outcome.EXCEPTION, rules, failures=failures, holds_lease=True, random=0.0).action
        for failures in range(max_retries + 1)
    ]
    assert actions == [Action.RETRY] * max_retries + [Action.BURY]


def test_the_wait_follows_the_back_off() -> None:
    """The number of failures and the injected chance reach the back-off; nothing else is random."""
    rules = Rules(max_retries=-1, retry_wait=Backoff(first=2, factor=3, cap=100, jitter=0.5))
    waits = [
        decide(Outcome.TIMEOUT, rules, failures=failures, holds_lease=True, random=0.5).wait
        for failures in range(5)
    ]
    assert waits == [1.5, 4.5, 13.5, 40.5, 75.0]


def test_the_defaults_are_the_documented_ones() -> None:
    """Three retries of ten seconds, then bury; what cannot be read halts its lane."""
    assert Rules() == Rules(max_retries=3, retry_wait=10.0, on_exhausted="bury", on_unknown="halt")
