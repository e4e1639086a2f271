"""Records that are much alike: made one by one only for whoever wants them so."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from operator import attrgetter
from typing import Any, TypeVar, overload

T = TypeVar("T")


class Several(Sequence[T]):
    """Records of one kind. Each is made when somebody asks for it: who only wants to know one field of all of
    them asks for its `column`."""

    alike: Mapping[str, Any] = {}
    """What is the same in all of them, by its field, where that is known without a look at any."""

    @abstractmethod
    def make(self, index: int) -> T:
        """The record at this place."""

    def column(self, field: str) -> list[Any]:
        """One field of all of them."""
        alike = self.alike
        return [alike[field]] * len(self) if field in alike else list(map(attrgetter(field), self))

    def first(self, field: str) -> Any:
        """One field of the first: of all of them, where that is the same in all."""
        alike = self.alike
        return alike[field] if field in alike else getattr(self[0], field)

    def common(self, field: str) -> Any:
        """One field of all of them; None where they differ."""
        alike = self.alike
        if field in alike:
            return alike[field]
        column = self.column(field)
        return column[0] if column.count(column[0]) == len(column) else None

    @overload
    def __getitem__(self, index: int) -> T: ...

    @overload
    def __getitem__(self, index: slice) -> list[T]: ...

    def __getitem__(self, index: int | slice) -> T | list[T]:
        places = range(len(self))[index]
        return self.make(places) if isinstance(places, int) else list(map(self.make, places))

    def __iter__(self) -> Iterator[T]:
        return map(self.make, range(len(self)))


class Given(Several[T]):
    """Those that were made already."""

    def __init__(self, records: Sequence[T]) -> None:
        self._records = records

    def make(self, index: int) -> T:
        """See `Several.make`."""
        return self._records[index]

    def __len__(self) -> int:
        return len(self._records)

    def __iter__(self) -> Iterator[T]:
        return iter(self._records)


def several(records: Sequence[T]) -> Several[T]:
    """These, to be asked for their columns."""
    return records if isinstance(records, Several) else Given(records)
