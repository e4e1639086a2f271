"""The order of things that wait for one another: pure, by their places.

A graph is given by what each place waits for: `parents[place]` are other places.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence

Parents = Sequence[Sequence[int]]


def topological(parents: Parents) -> list[int]:
    """All places, each after what it waits for; the lowest possible one first, so that the order given is
    kept as far as it can be. Places on a cycle, and those behind one, are left out."""
    waits = [len(each) for each in parents]
    children = children_of(parents)
    free = [place for place, count in enumerate(waits) if not count]  # ascending, so it is a heap
    found = []
    while free:
        place = heapq.heappop(free)
        found.append(place)
        for child in children[place]:
            waits[child] -= 1
            if not waits[child]:
                heapq.heappush(free, child)
    return found


def children_of(parents: Parents) -> list[list[int]]:
    """The same graph the other way round: who waits for each place."""
    children: list[list[int]] = [[] for _ in parents]
    for place, before in enumerate(parents):
        for parent in before:
            children[parent].append(place)
    return children


def find_cycle(parents: Parents) -> list[int]:
    """A shortest way round from the lowest place that is on a cycle, in the order things would run, that
    place first and not again at the end. Empty when there is none."""
    left = set(range(len(parents))).difference(topological(parents))
    children = children_of(parents)
    for start in sorted(left):
        if way := _way_round(start, children, left):
            return way
    return []


def _way_round(start: int, children: Sequence[Sequence[int]], among: set[int]) -> list[int]:
    """A shortest way from `start` back to it, breadth first; empty when there is none."""
    came_from: dict[int, int] = {}
    front = [start]
    while front:
        following = []
        for place in front:
            for child in children[place]:
                if child == start:
                    return _traced(place, start, came_from)
                if child in among and child not in came_from:
                    came_from[child] = place
                    following.append(child)
        front = following
    return []


def _traced(last: int, start: int, came_from: dict[int, int]) -> list[int]:
    way = [last]
    while way[-1] != start:
        way.append(came_from[way[-1]])
    return way[::-1]
