"""How long a lane waits."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glassq.errors import BadOption
from glassq.policy.retry import Backoff, retry_delay

waits = st.floats(0, 1e9)
chances = st.floats(0, 1, exclude_max=True)
backoffs = st.builds(Backoff, first=waits, factor=st.floats(1, 1e300), cap=waits, jitter=st.floats(0, 1))


@given(wait=waits | st.integers(0, 1000), failures=st.integers(0, 10**9), random=chances)
def test_a_number_is_the_wait(wait: float, failures: int, random: float) -> None:
    """A constant wait depends on nothing."""
    assert retry_delay(wait, failures, random) == wait


def test_the_wait_grows_to_its_cap() -> None:
    """The first wait times factor ** failures, then the cap for ever."""
    backoff = Backoff(first=1, factor=2, cap=10)
    assert [retry_delay(backoff, failures, 0.5) for failures in range(6)] == [1, 2, 4, 8, 10, 10]


def test_a_slow_factor_reaches_its_cap_too() -> None:
    """No hidden bound stops the growth before the cap."""
    assert retry_delay(Backoff(first=1, factor=1.01, cap=300), 1000, 0.0) == 300


@pytest.mark.parametrize("factor", [2, 2.0, 10**6, 1e300])
@pytest.mark.parametrize("failures", [65, 5000, 10**12])
def test_retrying_for_ever_never_overflows(factor: float, failures: int) -> None:
    """`max_retries=-1` leads to any number of failures; the wait is the cap, and is computed at once."""
    assert retry_delay(Backoff(first=1, factor=factor, cap=300), failures, 0.0) == 300
    assert retry_delay(Backoff(first=0, factor=factor, cap=300), failures, 0.0) == 0


@given(backoff=backoffs, failures=st.integers(0, 10**6), random=chances)
def test_jitter_only_shortens_within_its_part(backoff: Backoff, failures: int, random: float) -> None:
    """The wait lies between (1 - jitter) * w and w, and w never exceeds the cap."""
    full = retry_delay(backoff, failures, 0.0)
    wait = retry_delay(backoff, failures, random)
    assert full <= backoff.cap
    assert 0 <= wait <= full
    assert wait >= full * (1 - backoff.jitter) * (1 - 1e-12)


@given(backoff=backoffs, failures=st.integers(0, 10**4))
def test_the_wait_never_shrinks_with_more_failures(backoff: Backoff, failures: int) -> None:
    """One more failure never makes the lane try sooner."""
    assert retry_delay(backoff, failures + 1, 0.0) >= retry_delay(backoff, failures, 0.0)


@pytest.mark.parametrize(
    "options",
    [{"first": -1}, {"cap": -0.1}, {"factor": 0.5}, {"jitter": -0.1}, {"jitter": 1.1}]
    + [{name: bad} for name in ("first", "factor", "cap", "jitter") for bad in (math.nan, math.inf)],
)
def test_a_backoff_without_meaning_is_refused(options: dict[str, Any]) -> None:
    """Negative, shrinking, not finite: said when it is declared, not when a lane fails at night."""
    with pytest.raises(BadOption, match=r"^retry_wait: "):
        Backoff(**options)
