"""Events that are told together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, TypeVar

from glassq.model.events import Event
from glassq.model.several import Given, Several

E = TypeVar("E", bound=Event)

_NOTHING: Final[Mapping[str, float]] = {}


class Run(Several[E]):
    """Events of one kind, at least one, oldest first."""

    kind: type[E]
    """What they are."""

    def any(self, field: str) -> bool:
        """Whether one field says something in any of them."""
        return any(self.column(field))

    def total(self, field: str) -> Mapping[str, float]:
        """Of a field that says how much of each there was, or nothing: the sums over all of them."""
        sums: dict[str, float] = {}
        for amounts in self.column(field):
            for each, amount in (amounts or _NOTHING).items():
                sums[each] = sums.get(each, 0.0) + amount
        return sums


class Listed(Given[E], Run[E]):
    """Those that were made already."""

    def __init__(self, events: Sequence[E]) -> None:
        super().__init__(events)
        self.kind = type(events[0])
