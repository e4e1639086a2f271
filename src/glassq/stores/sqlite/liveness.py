"""Which workers live: this process's own, by their bells, and those of other processes, by theirs."""

from __future__ import annotations

import threading
from pathlib import Path
from sqlite3 import Connection

from glassq.stores.sqlite.bells import Bell, Ringers
from glassq.stores.sqlite.serving import note_gone


class Liveness:
    """Knows every bell of one database: rings them, and finds out whose process ended."""

    def __init__(self, database: Path | None) -> None:
        self._directory = database.parent if database else None
        # Re-entrant, because a signal handler may ring while its own thread does.
        self._lock = threading.RLock()
        self._own: dict[str, Bell] = {}
        self._disowned: set[str] = set()
        self._silent: set[str] = set()
        self._learned: tuple[str, ...] = ()
        self._ringers = Ringers(self._directory) if self._directory else None

    # -- this process's workers ----------------------------------------------------------------------------

    def adopt(self, owner: str, bell: Bell) -> None:
        """A worker of this process listens from now on."""
        with self._lock:
            self._own[owner] = bell

    def dismiss(self, owner: str) -> None:
        """A worker of this process does not listen any more."""
        with self._lock:
            bell = self._own.pop(owner, None)
        if bell is not None:
            bell.close()

    def bell_of(self, owner: str) -> str | None:
        """The bell's name of a worker of this process."""
        bell = self._own.get(owner)
        return bell.name if bell else None

    def disowned(self, owner: str) -> bool:
        """Whether `owner` works in the process this one was forked from: nothing may be done in its name."""
        return owner in self._disowned

    # -- ringing -------------------------------------------------------------------------------------------

    def learn(self, cx: Connection) -> None:
        """Read the bells of all processes' workers, for the ring that follows the commit."""
        rows = cx.execute("SELECT bell FROM workers WHERE bell IS NOT NULL")
        with self._lock:
            self._learned = tuple(name for (name,) in rows)

    def ring_all(self) -> None:
        """Wake every worker that was learned of, and those of this process."""
        for bell in list(self._own.values()):
            bell.ring()
        if self._ringers is None:
            return
        with self._lock:
            own = {bell.name for bell in self._own.values()}
            for name in self._learned:
                if name not in own:
                    self._ringers.ring(name)
            self._ringers.keep(set(self._learned))

    # -- dying ---------------------------------------------------------------------------------------------

    def suspect(self, name: str) -> None:
        """Nobody reads this bell any more: its worker's lanes are free at the next claim."""
        with self._lock:
            self._silent.add(name)

    def suspected(self, name: str) -> bool:
        """Whether this bell is known to be silent and not yet cleared away."""
        return name in self._silent

    def departed(self, cx: Connection, holders: set[str]) -> set[str]:
        """Owners whose process ended: those `holders` and suspects that nobody reads the bell of."""
        gone: set[str] = set()
        if not holders and not self._silent:
            return gone
        rows = cx.execute("SELECT owner, bell FROM workers WHERE bell IS NOT NULL").fetchall()
        with self._lock:
            for owner, name in rows:
                asked = owner in holders or name in self._silent
                if asked and owner not in self._own and self._ringers and not self._ringers.alive(name):
                    gone.add(owner)
                    self._silent.discard(name)
            # A bell that was cleared away by another process needs no suspicion any more.
            self._silent &= {name for _, name in rows}
        return gone

    def clear_away(self, cx: Connection, owner: str, now: int) -> None:
        """Forget a worker that died, and take its FIFO away."""
        row = cx.execute("SELECT bell FROM workers WHERE owner = ?", (owner,)).fetchone()
        note_gone(cx, owner, now, died=True)
        if row is not None and row[0] is not None and self._ringers is not None:
            with self._lock:
                self._ringers.remove(row[0])

    # -- endings -------------------------------------------------------------------------------------------

    def forked(self) -> None:
        """In the child: close the copies, or the parent's death would go unnoticed."""
        own, ringers = dict(self._own), self._ringers
        self._lock = threading.RLock()
        self._disowned |= set(own)
        self._own = {}
        self._ringers = Ringers(self._directory) if self._directory else None
        for bell in own.values():
            bell.close(unlink=False)
        if ringers is not None:
            ringers.keep(set())

    def close(self) -> None:
        """Silence everything of this process."""
        for owner in list(self._own):
            self.dismiss(owner)
        if self._ringers is not None:
            with self._lock:
                self._ringers.keep(set())
