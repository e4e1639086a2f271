"""A worker's doorbell on the SQLite store: waits for rings and watches other workers' lives."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from glassq.stores.sqlite.bells import Bell, Ringers
from glassq.stores.sqlite.connection import Connections
from glassq.stores.sqlite.liveness import Liveness

_LOOK: Final = 5.0
"""Seconds after which a worker that other processes cannot ring for looks by itself."""


class SqliteDoorbell:
    """See `glassq.storage.Doorbell`. `wait` belongs to one thread, `ring` to any."""

    def __init__(
        self,
        owner: str,
        bell: Bell,
        liveness: Liveness,
        connections: Connections,
        database: Path | None,
        *,
        leave: Callable[[str], None],
    ) -> None:
        self._leave = leave
        self._owner = owner
        self._bell = bell
        self._liveness = liveness
        self._connections = connections
        # Ends of its own: another thread closing one in the middle of a poll would have it watch a stranger.
        self._watched = Ringers(database.parent) if database else None
        self._is_deaf = self._watched is not None and bell.name is None

    def wait(self, timeout: float | None) -> bool:
        """Until a ring, the death of another worker's process, or the timeout."""
        watched, silent = self._look_around()
        if silent:
            return True
        looks = self._is_deaf and (timeout is None or timeout >= _LOOK)
        rang, died = self._bell.wait(_LOOK if looks else timeout, watched)
        for name in died:
            self._liveness.suspect(name)
        return rang or bool(died) or looks

    def ring(self) -> None:
        """Wake the waiter."""
        self._bell.ring()

    def attend(self, queues: Sequence[str]) -> None:
        """Nothing to do: whatever rings in this file rings every worker."""

    def close(self) -> None:
        """Not alive any more. The row goes first, so that nobody takes the silent bell for a crash."""
        try:
            self._leave(self._owner)
        finally:
            self._liveness.dismiss(self._owner)
            if self._watched is not None:
                self._watched.keep(set())

    def _look_around(self) -> tuple[dict[str, int], bool]:
        """Ends of all other workers' bells, and whether one of them is silent already."""
        if self._watched is None:
            return {}, False
        with self._connections.reading() as cx:
            names = {
                name
                for (name,) in cx.execute(
                    "SELECT bell FROM workers WHERE owner <> ? AND bell IS NOT NULL", (self._owner,)
                )
            }
        self._watched.keep(names)
        ends, silent = {}, False
        for name in names:
            if self._liveness.suspected(name):
                continue
            try:
                end = self._watched.end(name)
            except OSError:  # cannot be watched this time; its lease will tell
                continue
            if end is None:
                self._liveness.suspect(name)
                silent = True
            else:
                ends[name] = end
        return ends, silent
