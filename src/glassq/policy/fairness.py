"""Who gets how much: jobs of a lane's turn, slots of a worker's queues."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

MAX_WEIGHT = 100
"""A turn of a heavy lane is so many plain ones at most: everybody else waits for it."""
MAX_TURN = 10_000

Weights = Mapping[str, int] | Callable[[str | None], int]
"""Turns of a key for one of others: by key, or by a callable that is given the key (None: no key)."""


def is_weight(value: object) -> bool:
    """Whether it is a weight: a whole number from 1 to `MAX_WEIGHT`."""
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= MAX_WEIGHT


def weight_of(weights: Weights | None, key: str | None) -> int:
    """The weight of a key, 1 unless told otherwise. Raises what a callable raises, and `ValueError` for what
    it returns and is no weight."""
    if weights is None:
        return 1
    if not callable(weights):
        return 1 if key is None else weights.get(key, 1)
    weight = weights(key)
    if not is_weight(weight):
        raise ValueError(f"a weight is a whole number from 1 to {MAX_WEIGHT}, got {weight!r}")
    return weight


def slots_of(slots: int | None, *, all_slots: int, queues: int) -> int:
    """How many of a worker's slots one of its queues may have. Unless told, all but one where there are
    other queues: those never wait for the end of a slow job to get their first slot."""
    if slots is not None:
        return min(slots, all_slots)
    return all_slots - 1 if queues > 1 and all_slots > 1 else all_slots


def in_need(queues: Iterable[str], held: Mapping[str, int], served: Mapping[str, int]) -> list[str]:
    """Queues in the order in which they are to get a slot: first those that hold the fewest, and of these
    the one that was `served` longest ago."""
    return sorted(queues, key=lambda queue: (held.get(queue, 0), served.get(queue, 0)))


def should_yield(
    queue: str, waiting: Iterable[str], held: Mapping[str, int], slots: Mapping[str, int]
) -> bool:
    """Whether a lane of this queue makes room for one of another queue: one in which lanes wait, which holds
    fewer slots, and may have more."""
    mine = held.get(queue, 0)
    return any(other != queue and held.get(other, 0) < min(mine, slots.get(other, mine)) for other in waiting)
