"""What is known about every customer's lane while the demo runs, and how it is drawn."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping, Sequence

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from glassq.cli.demo.eventlog import Event
from glassq.cli.demo.ledger import Delivery

_BAR = 30
_NARROW_BAR = 12
_WIDE = 100
"""Columns from which the long bar fits beside what a lane is doing."""


class Glyphs(msgspec.Struct, frozen=True):
    """The signs the demo draws with."""

    bar: str = "━"
    ahead: str = "·"
    kept: str = "✓"
    broken: str = "✗"

    @classmethod
    def of(cls, console: Console) -> Glyphs:
        """Signs that this console's encoding can show."""
        if console.encoding.lower().startswith("utf"):
            return cls()
        return cls(bar="=", ahead=".", kept="ok", broken="FAILED")


class Lane(msgspec.Struct):
    """One customer's lane, as far as the receiver and the producer can tell."""

    total: int
    enqueued: int = 0
    accepted: int = 0
    last: Delivery | None = None


class Lanes:
    """The state of all lanes. `enqueued` may be called from any thread."""

    def __init__(self, events: Sequence[Event], totals: Mapping[str, int]) -> None:
        self._customer = {event.id: event.customer for event in events}
        self._totals = dict(totals)
        self._lock = threading.Lock()
        self._enqueued: Counter[str] = Counter()

    def enqueued(self, event_id: str) -> None:
        """The producer has enqueued this event."""
        with self._lock:
            self._enqueued[self._customer[event_id]] += 1

    def read(self, deliveries: Sequence[Delivery]) -> dict[str, Lane]:
        """Every lane by customer, from what the receiver saw so far."""
        with self._lock:
            lanes = {
                name: Lane(total=total, enqueued=self._enqueued[name]) for name, total in self._totals.items()
            }
        taken: set[str] = set()
        for delivery in deliveries:
            lane = lanes[delivery.event.customer]
            lane.last = delivery
            if delivery.accepted and delivery.event.id not in taken:
                taken.add(delivery.event.id)
                lane.accepted += 1
        return lanes


def tally(seconds: float, lanes: Mapping[str, Lane], deliveries: Sequence[Delivery]) -> str:
    """The whole run in one line."""
    total = sum(lane.total for lane in lanes.values())
    enqueued = sum(lane.enqueued for lane in lanes.values())
    accepted = sum(lane.accepted for lane in lanes.values())
    refused = sum(each.refused for each in deliveries)
    waiting = sum(_waits(lane) for lane in lanes.values())
    return (
        f"{seconds:5.1f} s   enqueued {enqueued:>3}/{total}   accepted {accepted:>3}/{total}   "
        f"503: {refused:>2}   waiting lanes: {waiting}"
    )


def board(lanes: Mapping[str, Lane], names: Mapping[int, str], glyphs: Glyphs, columns: int) -> Table:
    """One row per customer; `names` are the workers' names by process id."""
    width = _BAR if columns >= _WIDE else _NARROW_BAR
    grid = Table.grid(padding=(0, 2))
    for least in (16, width, 5):
        grid.add_column(min_width=least, no_wrap=True)
    grid.add_column(no_wrap=True, max_width=columns - width - 28, overflow="ellipsis")
    for customer, lane in lanes.items():
        count = Text(f"{lane.accepted}/{lane.total}", "green" if lane.accepted == lane.total else "")
        grid.add_row(f"  {customer}", _bar(lane, glyphs, width), count, _state(lane, names, glyphs))
    return grid


def _bar(lane: Lane, glyphs: Glyphs, width: int) -> Text:
    done = width * lane.accepted // lane.total
    queued = max(width * lane.enqueued // lane.total - done, 0)
    bar = Text(glyphs.bar * done, "green")
    bar.append(glyphs.bar * queued, "yellow")
    bar.append(glyphs.ahead * (width - done - queued), "bright_black")
    return bar


def _state(lane: Lane, names: Mapping[int, str], glyphs: Glyphs) -> Text:
    if lane.accepted == lane.total:
        return Text(f"{glyphs.kept} all accepted", "green")
    if lane.last is None:
        return Text()
    event = lane.last.event
    if _waits(lane):
        return Text(f"503: #{event.n} {event.type} waits", "bold yellow")
    if lane.last.status is None:
        return Text(f"{names.get(lane.last.worker, '?')}: #{event.n} {event.type}", "cyan")
    return Text(f"#{event.n} {event.type}", "bright_black")


def _waits(lane: Lane) -> bool:
    return lane.last is not None and lane.last.refused
