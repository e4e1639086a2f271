"""What a worker with assigned keys asks for."""

from __future__ import annotations

from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from glassq import Glassq
from glassq.errors import BadOption
from glassq.model.leases import Claimed, Grant, Lease
from glassq.policy.assignment import fits, fits_any, is_pattern
from glassq.testing.clock import FakeClock
from glassq.worker.assignment import PATIENCE, Assignment
from glassq.worker.options import WorkerOptions


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"assigned": "tenant-1"}, "assigned: is a list of keys and patterns, got 'tenant-1'"),
        ({"assigned": {"a"}}, "assigned: is a list"),
        ({"steal_from": None}, "steal_from: is a list"),
        ({"assigned": [7]}, r"assigned: has 7; an ordering key is text, got int; use str\(\.\.\.\)"),
        ({"steal_from": [""]}, "steal_from: has ''; an ordering key has 1 to 512 characters"),
        ({"assigned": ["a", "b", "a"]}, "assigned: names 'a' twice"),
        ({"assigned": ["a"], "steal_from": ["b", "a"]}, "names 'a', which is assigned to this worker"),
        ({"assigned": ["a"], "steal_from": ["b"], "exclusive": True}, "exclude each other"),
        ({"exclusive": True}, r"needs assigned=\[\.\.\.\]"),
        ({"assigned": ["a"], "exclusive": 1}, "True or False, got 1"),
        ({"assigned": [f"{n}*" for n in range(21)]}, "at most 1,000 entries, 20 of them with a"),
        ({"steal_from": [str(n) for n in range(1001)]}, "at most 1,000 entries"),
        ({"asigned": ["a"]}, "did you mean 'assigned'"),
    ],
)
def test_nonsense_is_refused(options: dict[str, Any], message: str) -> None:
    """When the worker is made, with what is wrong and what to do."""
    with Glassq("sqlite://", registry=CollectorRegistry()) as app, pytest.raises(BadOption, match=message):
        app.worker(**options)


def test_a_key_may_be_assigned_out_of_a_pattern_to_steal_from() -> None:
    """What is assigned is this worker's own, whatever it fits besides."""
    assert WorkerOptions(assigned=("a-1",), steal_from=("a-*",)).steal_from == ("a-*",)


@pytest.mark.parametrize(
    ("entry", "key", "expected"),
    [
        ("a", "a", True),
        ("a", "ab", False),
        ("*", "", True),
        ("a*", "a", True),
        ("*a", "ba", True),
        ("a*a", "a", False),
        ("a*a", "aa", True),
        ("a*b*c", "axbxc", True),
        ("a*b*c", "acb", False),
        ("a**b", "ab", True),
        ("*ab*ab", "ab", False),
        ("*ab*ab", "abab", True),
        ("a?c", "abc", False),
        ("[a]*", "a", False),
    ],
)
def test_a_star_stands_for_any_text(entry: str, key: str, *, expected: bool) -> None:
    """And nothing else for anything but itself."""
    assert fits(key, entry) is expected
    assert fits_any(key, ["nothing", entry]) is expected
    assert is_pattern(entry) == ("*" in entry)


def test_many_stars_cost_no_more() -> None:
    """A pattern that nearly fits is seen through in one way alone."""
    assert not fits("a" * 400, "*a" * 200 + "*b")


class Desk:
    """A worker's assignment, and what its claims get."""

    def __init__(self, **options: Any) -> None:
        self.clock = FakeClock()
        self.assignment = Assignment(WorkerOptions(**options), self.clock)

    def grant(self, *lanes: str, looked: str = "") -> None:
        """A claim gets these."""
        grants = tuple(Grant(lease=Lease("q", lane, 1), jobs=()) for lane in lanes)
        self.assignment.look(Claimed(grants=grants, now=0.0, looked={"q": looked}))


def test_keys_and_patterns_are_told_apart() -> None:
    """A store finds keys by their names."""
    choice = Desk(assigned=("a", "b-*"), steal_from=("c", "d-*")).assignment.choice("q")
    assert (choice.assigned, choice.patterns, choice.steal_from) == (("a",), ("b-*",), ("c", "d-*"))
    assert (choice.patience, choice.stays, choice.exclusive) == (PATIENCE, 30.0, False)


def test_what_is_not_assigned_and_was_had_is_remembered() -> None:
    """By queue, and no more than a hundred of them."""
    desk = Desk(assigned=("a", "b-*"))
    desk.grant("a", "b-1", "c", "d")
    assert desk.assignment.choice("q").lately == ("c", "d")
    assert desk.assignment.choice("other").lately == ()
    desk.grant(*(f"x{number}" for number in range(99)), "d")
    assert desk.assignment.choice("q").lately == (*(f"x{number}" for number in range(99)), "d")


def test_more_keys_than_go_into_a_claim_are_asked_for_in_turn() -> None:
    """Each with one of three claims here."""
    keys = tuple(f"k{number}" for number in range(250))
    desk = Desk(assigned=keys, steal_from=tuple(f"s{number}" for number in range(150)))
    asked: list[tuple[str, ...]] = []
    for _ in range(3):
        choice = desk.assignment.choice("q")
        assert len(choice.assigned) == len(choice.steal_from) == 100
        asked.append(choice.assigned)
        desk.grant()
    assert {key for each in asked for key in each} == set(keys)


def test_a_look_goes_on_and_begins_anew_once_in_a_while() -> None:
    """Lanes that were passed as another's may be free by now."""
    desk = Desk(assigned=("a-*",), lease_seconds=10)
    desk.grant(looked="1:2:life")
    assert desk.assignment.choice("q").after == {"q": "1:2:life"}
    desk.clock.advance(21)
    assert desk.assignment.choice("q").after == {}
