"""From an outcome to a verdict. A new kind of failure is a new row here, never a new path elsewhere."""

from __future__ import annotations

from typing import Literal

import msgspec

from glassq.model.verdicts import Action, Outcome, Verdict
from glassq.policy.retry import Backoff, retry_delay

FinalAction = Literal["bury", "halt"]


class Rules(msgspec.Struct, frozen=True):
    """What the task and its queue say about failing. `max_retries=-1` retries for ever."""

    max_retries: int = 3
    retry_wait: float | Backoff = 10.0
    on_exhausted: FinalAction = "bury"
    on_unknown: FinalAction = "halt"


ACKED = Verdict(Action.ACK)
"""The verdict for an attempt that succeeded in a lane that is held."""
_ENDINGS = {
    Outcome.SUCCEEDED: ACKED,
    Outcome.EXPIRED: Verdict(Action.EXPIRE, Outcome.EXPIRED),
    Outcome.CANCELLED: Verdict(Action.CANCEL, Outcome.CANCELLED),
    Outcome.INTERRUPTED: Verdict(Action.DROP, Outcome.INTERRUPTED),
}
"""Outcomes whose verdict is the same whatever the rules say."""


_DROPPED = Verdict(Action.DROP, Outcome.LEASE_LOST)


def end(outcome: Outcome, *, holds_lease: bool) -> Verdict | None:
    """The verdict where no rules are asked: the lane is not this worker's any more as far as it knows, or the
    outcome ends the job whatever the rules say."""
    if not holds_lease or outcome is Outcome.LEASE_LOST:
        return _DROPPED
    return _ENDINGS.get(outcome)


def decide(outcome: Outcome, rules: Rules, *, failures: int, holds_lease: bool, random: float) -> Verdict:
    """The verdict for an attempt; total over every outcome.

    `failures` counts the failed attempts of this job before this one, `holds_lease` says whether the
    lane is still this worker's as far as it knows, `random` in [0, 1) feeds the jitter.
    """
    ended = end(outcome, holds_lease=holds_lease)
    if ended is not None:
        return ended
    if outcome in (Outcome.UNDECODABLE, Outcome.UNKNOWN_TASK):
        return Verdict(Action(rules.on_unknown), outcome)
    may_retry = outcome in (Outcome.EXCEPTION, Outcome.TIMEOUT)
    if may_retry and (rules.max_retries < 0 or failures < rules.max_retries):
        wait = retry_delay(rules.retry_wait, failures, random)
        return Verdict(Action.RETRY, outcome, wait, failures + 1)
    return Verdict(Action(rules.on_exhausted), outcome)
