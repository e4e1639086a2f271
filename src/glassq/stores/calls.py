"""Calls of a store that are told together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from glassq.model.events import StorageCalled
from glassq.model.runs import Run

_OPERATION: Final = "settle"


class Settles(Run[StorageCalled]):
    """Settlements that were answered."""

    kind = StorageCalled
    """See `Run.kind`."""

    def __init__(self, store: str, seconds: Sequence[float]) -> None:
        self._store = store
        self._seconds = seconds

    def make(self, index: int) -> StorageCalled:
        """See `Run.make`."""
        return StorageCalled(store=self._store, operation=_OPERATION, seconds=self._seconds[index])

    def first(self, field: str) -> Any:
        """See `Run.first`."""
        match field:
            case "store":
                return self._store
            case "operation":
                return _OPERATION
        return super().first(field)

    def column(self, field: str) -> list[Any]:
        """See `Run.column`. What is counted of all costs no events."""
        match field:
            case "seconds":
                return [*self._seconds]
            case "error":
                return [None] * len(self._seconds)
        return super().column(field)

    def __len__(self) -> int:
        return len(self._seconds)
