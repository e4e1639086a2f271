"""Steps put together by `>>`, `<<` and `|`: what each of them waits for. Nothing is checked here, as parts of
a whole may be put together in any order; whoever takes the whole does that.
"""

from __future__ import annotations

import msgspec

from glassq.model.edges import EdgePolicy


class Composable:
    """What can be put together with others: a step, or what was put together before."""

    def __rshift__(self, other: object) -> Composition:
        """`a >> b`: every first step of `b` waits for every last step of `a`."""
        if not isinstance(other, Composable):
            return NotImplemented
        return Composition(self, other, in_turn=True)

    def __lshift__(self, other: object) -> Composition:
        """`b << a`: the same as `a >> b`."""
        if not isinstance(other, Composable):
            return NotImplemented
        return Composition(other, self, in_turn=True)

    def __or__(self, other: object) -> Composition:
        """`a | b`: both, without waiting for each other; what each has inside stays."""
        if not isinstance(other, Composable):
            return NotImplemented
        return Composition(self, other, in_turn=False)

    def then(self, other: Composable, *, on_failure: EdgePolicy | str | None = None) -> Composition:
        """`a >> b`, saying what becomes of the first steps of `b` when a last step of `a` does not succeed:
        "cancel", "run" or "wait"."""
        policy = None if on_failure is None else EdgePolicy(on_failure)
        return Composition(self, other, in_turn=True, policy=policy)


class Step(Composable):
    """One thing to do. The object itself is the node: used twice, it is the same one."""


class Composition(Composable):
    """Two parts put together: one after the other (`in_turn`), or side by side."""

    __slots__ = ("in_turn", "left", "policy", "right")

    def __init__(
        self, left: Composable, right: Composable, *, in_turn: bool, policy: EdgePolicy | None = None
    ) -> None:
        self.left = left
        self.right = right
        self.in_turn = in_turn
        self.policy = policy

    def __repr__(self) -> str:
        return "<steps of a workflow>"  # writing them out would recurse as deep as a chain is long


def chain(first: Composable, *more: Composable) -> Composable:
    """`a >> b >> c` of any number of parts."""
    for each in more:
        first = first >> each
    return first


def parallel(first: Composable, *more: Composable) -> Composable:
    """`a | b | c` of any number of parts."""
    parts = [first, *more]
    while len(parts) > 1:  # pairs of pairs: what is united step by step would be copied each time
        pairs = [left | right for left, right in zip(parts[::2], parts[1::2], strict=False)]
        parts = [*pairs, parts[-1]] if len(parts) % 2 else [*pairs]
    return parts[0]


class Plan(msgspec.Struct):
    """A composition taken apart: its steps in the order they were written, and what each waits for, by their
    places, with what becomes of it if that fails (None: nothing was said)."""

    steps: list[Step]
    parents: list[dict[int, EdgePolicy | None]]


class TooManyEdges(Exception):
    """When a plan has more edges than it may have."""


def plan_of(whole: Composable, *, max_edges: int) -> Plan:
    """The plan of a composition, however deep it is. `TooManyEdges` before memory is spent on them."""
    planning = _Planning(max_edges)
    planning.take_apart(whole)
    return planning.plan


Ends = tuple[tuple[int, ...], tuple[int, ...]]
"""The first and the last places of a part."""


class _Planning:
    """One walk through a composition, without recursion: a chain is as deep as it is long."""

    def __init__(self, max_edges: int) -> None:
        self.plan = Plan([], [])
        self._places: dict[int, int] = {}
        self._left = max_edges

    def take_apart(self, whole: Composable) -> None:
        todo: list[tuple[Composable, bool]] = [(whole, False)]
        ends: list[Ends] = []
        while todo:
            part, visited = todo.pop()
            if not isinstance(part, Composition):
                place = self._place_of(part)
                ends.append(((place,), (place,)))
            elif visited:
                right, left = ends.pop(), ends.pop()
                ends.append(self._join(part, left, right))
            else:
                todo += ((part, True), (part.right, False), (part.left, False))

    def _place_of(self, step: Composable) -> int:
        if not isinstance(step, Step):
            raise TypeError(f"a workflow is made of signatures, got {type(step).__name__}")
        place = self._places.setdefault(id(step), len(self.plan.steps))
        if place == len(self.plan.steps):
            self.plan.steps.append(step)
            self.plan.parents.append({})
        return place

    def _join(self, part: Composition, left: Ends, right: Ends) -> Ends:
        if not part.in_turn:
            return _united(left[0], right[0]), _united(left[1], right[1])
        for child in right[0]:
            parents = self.plan.parents[child]
            for parent in left[1]:
                if parent not in parents:
                    self._left -= 1
                    if self._left < 0:
                        raise TooManyEdges
                parents[parent] = part.policy or parents.get(parent)
        return left[0], right[1]


def _united(some: tuple[int, ...], others: tuple[int, ...]) -> tuple[int, ...]:
    if len(others) == 1:  # one more to many: nothing is made anew but the tuple
        return some if others[0] in some else some + others
    return tuple(dict.fromkeys((*some, *others)))
