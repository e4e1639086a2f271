"""Who counts as alive. A worker that stops without a word is forgotten some time later; when is free."""

from __future__ import annotations

from collections.abc import Iterable

from glassq.model.leases import Owner
from tests.model.lanes import micros

SURELY_ALIVE = micros(59)
"""For this long after its report a worker counts; a store may count it longer."""


class Workers:
    """By queue, who said to serve it, and until when that is certainly believed."""

    def __init__(self) -> None:
        self._until: dict[tuple[Owner, str], int] = {}
        self._heard: set[tuple[Owner, str]] = set()

    def report(self, now: int, owner: Owner, queues: Iterable[str]) -> None:
        """It serves these from now on, and perhaps no others any more."""
        for mark in [mark for mark in self._until if mark[0] == owner]:
            del self._until[mark]
        for queue in queues:
            self._until[owner, queue] = now + SURELY_ALIVE
            self._heard.add((owner, queue))

    def leave(self, owner: Owner, queues: Iterable[str]) -> None:
        """It says goodbye, and at once counts no more in the queues it listened to."""
        self._until = {mark: ends for mark, ends in self._until.items() if mark[0] != owner}
        self._heard -= {(owner, queue) for queue in queues}

    def count(self, now: int, queue: str) -> tuple[int, int]:
        """The least and the most that may be counted. Who was once silent too long is uncertain until
        it reports, also when the clock is set back."""
        self._until = {mark: ends for mark, ends in self._until.items() if ends > now}
        return sum(name == queue for _, name in self._until), sum(name == queue for _, name in self._heard)
