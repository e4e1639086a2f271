"""The list of queues: kept beside them, since nothing is ever searched for."""

from __future__ import annotations

from glassq.errors import StorageUnavailable
from glassq.stores.redis.commands import Commands


class Register:
    """The set of all queues that were used. Asked once for each queue, never in a job's path."""

    def __init__(self, commands: Commands, key: str) -> None:
        self._commands = commands
        self._key = key
        self._entered: set[str] = set()

    def enter(self, queue: str) -> None:
        """Before the first job is in, so that no queue with jobs is missing from the list."""
        if queue not in self._entered:
            self._commands.add_member(self._key, queue)
            self._entered.add(queue)

    def enter_again(self, queue: str) -> None:
        """Perhaps the server lost everything, this list included."""
        try:
            self._commands.add_member(self._key, queue)
        except StorageUnavailable:  # the jobs are in: their receipts must not be lost with this
            self._entered.discard(queue)

    def strike(self, queue: str) -> None:
        """The queue is gone."""
        self._entered.discard(queue)
        self._commands.remove_member(self._key, queue)

    def all(self) -> list[str]:
        """All of them, sorted. One round trip."""
        return self._commands.members(self._key)
