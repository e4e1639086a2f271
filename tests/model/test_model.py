"""The model against the stores: random calls, the same answers, the same dumps after each.

A failure tells its seed, and the calls it shrank to. `GLASSQ_TEST_SEED=<seed>` runs the same calls again;
`--hypothesis-profile=chaos` runs ten times as many.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar, Protocol

import pytest
from hypothesis import HealthCheck, seed, settings
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test

from tests.model.ahead import RunningAhead
from tests.model.machine import Machine

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

MUST_BE_MET = {
    "a ring that had to come",
    "a scheduled job looked at",
    "an append refused",
    "lanes of two queues claimed",
    "leases of two queues renewed",
    "settlements in two queues",
}
"""What the calls must have come to, so that the comparison was one."""


MUST_BE_MET_AHEAD = {
    "a job asked that may have begun",
    "jobs begun ahead of the store",
    "settlements repeated",
}
"""The same where lanes are run ahead."""


def test_both_stores_mean_what_the_model_means(server: str, share: int, tmp_path: Path) -> None:
    """Whatever is called in whatever order, at whatever time."""
    targets = [f"sqlite:///{tmp_path}/jobs.db", server]
    assert_alike(lambda: Machine(targets), share, MUST_BE_MET)


def test_a_store_that_answers_later_is_run_ahead(server: str) -> None:
    """Settlements are on their way, there and back, while anything else happens."""
    assert_alike(lambda: RunningAhead(server), 2, MUST_BE_MET_AHEAD)


def test_a_store_that_answers_at_once_is_never_run_ahead(tmp_path: Path) -> None:
    """The same calls: each settlement says at once what is next."""
    assert_alike(lambda: RunningAhead(f"sqlite:///{tmp_path}/jobs.db"), 1, set())


class Counted(Protocol):
    """What machines count over all examples: these, and what they came to."""

    count: int
    met: ClassVar[Counter[str]]


def assert_alike(
    machine: Callable[[], RuleBasedStateMachine],
    share: float,
    must_be_met: set[str],
    kind: type[Counted] = Machine,
) -> None:
    """Run that many examples, which have to come to all this."""
    chosen = int(os.environ.get("GLASSQ_TEST_SEED", "0")) or random.randrange(1, 1 << 32)
    examples = int(share * settings().max_examples)
    before = kind.count
    kind.met.clear()
    try:
        run_state_machine_as_test(
            seed(chosen)(machine),  # type: ignore[arg-type]
            settings=settings(
                max_examples=examples,
                stateful_step_count=40,
                deadline=None,
                derandomize=False,
                database=None,  # what failed is repeated by its seed, here and anywhere
                suppress_health_check=list(HealthCheck),
            ),
        )
    except Exception as error:
        error.add_note(f"again: GLASSQ_TEST_SEED={chosen}, with as many examples ({examples})")
        raise
    assert kind.count - before >= examples
    assert set(+kind.met) >= must_be_met, f"GLASSQ_TEST_SEED={chosen} met {kind.met}"
