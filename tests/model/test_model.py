"""The model against both stores: random calls, the same answers, the same dumps after each.

A failure tells its seed, and the calls it shrank to. `GLASSQ_TEST_SEED=<seed>` runs the same calls again;
`--hypothesis-profile=chaos` runs ten times as many.
"""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest
from hypothesis import HealthCheck, seed, settings
from hypothesis.stateful import run_state_machine_as_test

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


def test_both_stores_mean_what_the_model_means(server: str, share: int, tmp_path: Path) -> None:
    """Whatever is called in whatever order, at whatever time."""
    chosen = int(os.environ.get("GLASSQ_TEST_SEED", "0")) or random.randrange(1, 1 << 32)
    targets = [f"sqlite:///{tmp_path}/jobs.db", server]
    examples = share * settings().max_examples
    before = Machine.count
    Machine.met.clear()
    try:
        run_state_machine_as_test(
            seed(chosen)(lambda: Machine(targets)),  # type: ignore[arg-type]
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
    assert Machine.count - before >= examples
    assert set(+Machine.met) >= MUST_BE_MET, f"GLASSQ_TEST_SEED={chosen} met {Machine.met}"
