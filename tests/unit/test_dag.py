"""The order of things that wait for one another, and what is said when there is none."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as some

from glassq.policy.dag import Parents, children_of, find_cycle, topological


@some.composite
def graphs(draw: some.DrawFn) -> list[list[int]]:
    """Any graph of up to 12 places, with cycles or without."""
    count = draw(some.integers(0, 12))
    places = some.integers(0, max(0, count - 1))
    return [sorted(draw(some.sets(places, max_size=4))) for _ in range(count)]


@some.composite
def acyclic_graphs(draw: some.DrawFn) -> list[list[int]]:
    """Graphs whose edges follow some hidden order of their places."""
    count = draw(some.integers(0, 12))
    hidden = draw(some.permutations(range(count)))
    parents: list[list[int]] = [[] for _ in range(count)]
    for at in range(1, count):
        parents[hidden[at]] = sorted(draw(some.sets(some.sampled_from(hidden[:at]), max_size=4)))
    return parents


@given(acyclic_graphs())
def test_every_place_comes_after_what_it_waits_for(parents: Parents) -> None:
    """Whatever the graph, all of it is in the order, once, and there is no cycle in it."""
    order = topological(parents)
    at = {place: index for index, place in enumerate(order)}
    assert sorted(order) == list(range(len(parents)))
    assert all(at[parent] < at[place] for place, before in enumerate(parents) for parent in before)
    assert find_cycle(parents) == []


@given(graphs())
def test_a_graph_has_an_order_or_a_cycle_that_is_named(parents: Parents) -> None:
    """What is called a cycle leads along edges back to where it begins, and passes no place twice."""
    way = find_cycle(parents)
    assert bool(way) == (len(topological(parents)) < len(parents))
    assert len(set(way)) == len(way)
    for place, following in zip(way, [*way[1:], *way[:1]], strict=True):
        assert place in parents[following]


@given(acyclic_graphs())
def test_the_order_given_is_kept_as_far_as_it_can_be(parents: Parents) -> None:
    """Of what may come next it is always the lowest place: no other order is before this one."""
    order = topological(parents)
    done: set[int] = set()
    for place in order:
        assert place == min(each for each in set(order) - done if done.issuperset(parents[each]))
        done.add(place)


def test_a_cycle_is_told_by_its_shortest_way() -> None:
    """0 >> 1 >> 2 >> 0 with a way of two around it: the two are told, from the lowest on."""
    assert find_cycle([[2, 3], [0], [1], [0]]) == [0, 3]
    assert find_cycle([[0]]) == [0]
    assert find_cycle([[], [3], [1], [2], [3]]) == [1, 2, 3]  # 4 is behind the cycle, not on it


def test_children_are_parents_the_other_way_round() -> None:
    """In the order of their places."""
    assert children_of([[], [0], [0, 1]]) == [[1, 2], [2], []]


def test_a_chain_of_many_is_no_matter_of_recursion() -> None:
    """100,000 in a row, and in a circle."""
    count = 100_000
    assert topological([[], *([place] for place in range(count - 1))]) == list(range(count))
    assert len(find_cycle([[count - 1], *([place] for place in range(count - 1))])) == count
