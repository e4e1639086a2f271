"""The event log that ships with the package: what a dozen shops did in eight weeks."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

import msgspec


class Event(msgspec.Struct, frozen=True):
    """One thing that happened to one customer. `n` counts that customer's events from 1, without gaps:
    it is how the receiver can tell whether they arrive in order."""

    id: str
    type: str
    customer: str
    n: int
    at: str
    data: dict[str, Any]


def read_events() -> list[Event]:
    """All events, in the order they happened."""
    lines = files(__package__).joinpath("events.jsonl").read_bytes().splitlines()
    return [msgspec.json.decode(line, type=Event) for line in lines]


def customers(events: list[Event]) -> dict[str, int]:
    """Every customer with the number of its events, by name."""
    counts: dict[str, int] = {}
    for event in events:
        counts[event.customer] = counts.get(event.customer, 0) + 1
    return dict(sorted(counts.items()))
