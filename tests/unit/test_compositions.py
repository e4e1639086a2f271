"""What `>>`, `<<` and `|` mean, whatever they are put between."""

from __future__ import annotations

import operator
from collections.abc import Callable
from functools import reduce

import pytest

from glassq.model.compositions import Composable, Step, TooManyEdges, chain, parallel, plan_of
from glassq.model.edges import EdgePolicy


class Named(Step):
    """A step that tests can tell apart."""

    def __init__(self, name: str) -> None:
        self.name = name


A, B, C, D, E = (Named(name) for name in "abcde")


def edges(whole: Composable) -> set[str]:
    """Its edges, each as "parent>child"."""
    plan = plan_of(whole, max_edges=1000)
    names = [step.name for step in plan.steps if isinstance(step, Named)]
    return {
        f"{names[parent]}>{names[child]}" for child, parents in enumerate(plan.parents) for parent in parents
    }


@pytest.mark.parametrize(
    ("whole", "expected"),
    [
        pytest.param(A >> B >> C, {"a>b", "b>c"}, id="a chain"),
        pytest.param(C << B << A, {"a>b", "b>c"}, id="the other way round"),
        pytest.param(A >> (B | C) >> D, {"a>b", "a>c", "b>d", "c>d"}, id="fan-out and fan-in"),
        pytest.param((A >> B) | C, {"a>b"}, id="side by side keeps what is inside"),
        pytest.param(((A >> B) | C) >> D, {"a>b", "b>d", "c>d"}, id="only the last steps are waited for"),
        pytest.param(A >> ((B >> C) | D), {"a>b", "b>c", "a>d"}, id="only the first steps wait"),
        pytest.param((A | B) >> (C | D), {"a>c", "a>d", "b>c", "b>d"}, id="each for each"),
        pytest.param(A >> (B | (C >> (D | E))), {"a>b", "a>c", "c>d", "c>e"}, id="nested"),
        pytest.param((A >> B) | (A >> C), {"a>b", "a>c"}, id="one object is one step"),
        pytest.param((A >> B) >> A, {"a>b", "b>a"}, id="which may close a circle"),
        pytest.param(D << (B | C) << A, {"a>b", "a>c", "b>d", "c>d"}, id="groups the other way round"),
        pytest.param(chain(A, B | C, D), {"a>b", "a>c", "b>d", "c>d"}, id="chain()"),
        pytest.param(parallel(A, B >> C, D) >> E, {"b>c", "a>e", "c>e", "d>e"}, id="parallel()"),
        pytest.param(parallel(A), set(), id="of one"),
        pytest.param(A | A, set(), id="the same one twice"),
    ],
)
def test_operators(whole: Composable, expected: set[str]) -> None:
    """What waits for what."""
    assert edges(whole) == expected


def test_steps_are_in_the_order_they_were_written() -> None:
    """Also those that were written in reverse: what runs first comes first."""
    assert plan_of((B | C) << A, max_edges=9).steps == [A, B, C]
    assert plan_of(A >> (C | B) >> D, max_edges=9).steps == [A, C, B, D]
    assert plan_of(parallel(A, B, C, D, E), max_edges=9).steps == [A, B, C, D, E]


def test_a_failure_policy_belongs_to_the_edges_it_is_said_of() -> None:
    """`then` says it; an edge that is there twice has what was said of it, wherever that stands."""
    plan = plan_of((A >> C) | (A | B).then(C, on_failure="run") | (A >> C), max_edges=9)
    assert plan.parents[plan.steps.index(C)] == {0: EdgePolicy.RUN, 2: EdgePolicy.RUN}
    with pytest.raises(ValueError, match="sometimes"):
        A.then(B, on_failure="sometimes")


@pytest.mark.parametrize("put", [operator.rshift, operator.lshift, operator.or_])
def test_only_steps_can_be_put_together(put: Callable[[object, object], object]) -> None:
    """Python's own error for anything else."""
    with pytest.raises(TypeError, match="unsupported operand"):
        put(A, "b")


@pytest.mark.parametrize("put", [operator.rshift, operator.or_])
def test_depth_is_no_matter_of_recursion(put: Callable[[Composable, Composable], Composable]) -> None:
    """Thousands put together one by one, in a loop."""
    many: list[Composable] = [Named(str(number)) for number in range(5000)]
    plan = plan_of(reduce(put, many), max_edges=5000)
    assert len(plan.steps) == 5000


def test_edges_are_counted_before_they_are_made() -> None:
    """A thousand times a thousand is refused at once."""
    many = [parallel(*(Named(str(number)) for number in range(1000))) for _ in range(2)]
    with pytest.raises(TooManyEdges):
        plan_of(many[0] >> many[1], max_edges=10_000)
