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
        self.alike = {"store": store, "operation": _OPERATION, "error": None}
        self._seconds = seconds

    def make(self, index: int) -> StorageCalled:
        """See `Run.make`."""
        return StorageCalled(seconds=self._seconds[index], **self.alike)

    def column(self, field: str) -> list[Any]:
        """See `Run.column`. What is counted of all costs no events."""
        return [*self._seconds] if field == "seconds" else super().column(field)

    def __len__(self) -> int:
        return len(self._seconds)
