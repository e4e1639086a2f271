"""Events that are told together."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from operator import attrgetter
from typing import Any, Final, TypeVar, overload

from glassq.model.events import Event

E = TypeVar("E", bound=Event)

_NOTHING: Final[Mapping[str, float]] = {}


class Run(Sequence[E]):
    """Events of one kind, at least one, oldest first. Each is made when somebody asks for it: who only wants
    to know one field of all of them asks for its `column`."""

    kind: type[E]
    """What they are."""
    alike: Mapping[str, Any] = {}
    """What is the same in all of them, by its field, where that is known without a look at any."""

    @abstractmethod
    def make(self, index: int) -> E:
        """The event at this place."""

    def column(self, field: str) -> list[Any]:
        """One field of all of them."""
        alike = self.alike
        return [alike[field]] * len(self) if field in alike else list(map(attrgetter(field), self))

    def first(self, field: str) -> Any:
        """One field of the oldest: of all of them, where that is the same in all."""
        alike = self.alike
        return alike[field] if field in alike else getattr(self[0], field)

    def common(self, field: str) -> Any:
        """One field of all of them; None where they differ."""
        alike = self.alike
        if field in alike:
            return alike[field]
        column = self.column(field)
        return column[0] if column.count(column[0]) == len(column) else None

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

    @overload
    def __getitem__(self, index: int) -> E: ...

    @overload
    def __getitem__(self, index: slice) -> list[E]: ...

    def __getitem__(self, index: int | slice) -> E | list[E]:
        places = range(len(self))[index]
        return self.make(places) if isinstance(places, int) else list(map(self.make, places))

    def __iter__(self) -> Iterator[E]:
        return map(self.make, range(len(self)))


class Listed(Run[E]):
    """Those that were made already."""

    def __init__(self, events: Sequence[E]) -> None:
        self.kind = type(events[0])
        self._events = events

    def make(self, index: int) -> E:
        """See `Run.make`."""
        return self._events[index]

    def __len__(self) -> int:
        return len(self._events)

    def __iter__(self) -> Iterator[E]:
        return iter(self._events)
