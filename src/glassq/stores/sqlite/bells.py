"""Doorbells between processes of one host, which also tell when their owner died.

Each worker makes a FIFO beside the database and keeps its reading end open. Whoever makes a lane ready
writes a byte into every FIFO: that wakes a waiting worker without polling. The kernel closes the reading
end when the worker's process ends in any way, and a writer sees that at once (`POLLERR`), so the same file
tells standbys that an owner died. Unlike a process id it cannot be reused, survives no reboot, and means the
same in every container that shares the directory. See docs/explanation/decisions/0001.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import select
import stat
import threading
import time
from pathlib import Path

_CLOSED = -1
_MOMENT = 0.0005
"""Seconds. A ring is one write that does not block."""
_DEAD = select.POLLERR | select.POLLHUP | select.POLLNVAL


class Bell:
    """The reading side: one waiting worker. Also keeps a writing end, so that the FIFO never looks closed."""

    def __init__(self, database: Path | None) -> None:
        self.name: str | None = None
        self._path: Path | None = None
        if database is not None:
            self._path = database.with_name(f"{database.name}-bell-{secrets.token_hex(8)}")
        if self._path is not None and _made_fifo(self._path):
            self.name = self._path.name
            self._reader, self._writer = _both_ends(self._path)
        else:
            self._path = None
            self._reader, self._writer = os.pipe()
            os.set_blocking(self._reader, False)
            os.set_blocking(self._writer, False)
        self._ringing: list[int] = []

    def ring(self) -> None:
        """Wake the waiter. A full FIFO is a ring that was not heard yet.

        Takes no lock: it is called from signal handlers, and at moments at which a process forks.
        """
        thread = threading.get_ident()
        self._ringing.append(thread)  # before the look at the end: whoever closes it sees one or the other
        try:
            writer = self._writer
            if writer != _CLOSED:
                _write(writer)
        finally:
            self._ringing.remove(thread)

    def wait(self, timeout: float | None, watched: dict[str, int]) -> tuple[bool, set[str]]:
        """Whether it rang within `timeout` seconds, and which `watched` writing ends lost their reader."""
        poll = select.poll()
        poll.register(self._reader, select.POLLIN)
        for descriptor in watched.values():
            poll.register(descriptor, 0)
        ready = dict(poll.poll(None if timeout is None else max(0, int(timeout * 1000) + 1)))
        rang = ready.get(self._reader, 0) & select.POLLIN != 0
        if rang:
            with contextlib.suppress(BlockingIOError):
                os.read(self._reader, 65536)
        return rang, {name for name, descriptor in watched.items() if ready.get(descriptor, 0) & _DEAD}

    def close(self, *, unlink: bool = True) -> None:
        """Stop being alive. A forked child closes its copies without taking the parent's file away."""
        reader, writer = self._reader, self._writer
        self._reader = self._writer = _CLOSED
        if reader == _CLOSED:
            return
        if unlink:
            self._let_rings_end()
        os.close(reader)
        os.close(writer)
        if unlink and self._path is not None:
            self._path.unlink(missing_ok=True)

    def _let_rings_end(self) -> None:
        """A thread that is about to write would write into whatever is opened next under the same number.

        Whoever closes in a signal handler, in the middle of its own ring, need not wait for itself; and in a
        forked child nobody else rings.
        """
        own = threading.get_ident()
        while any(thread != own for thread in self._ringing.copy()):
            time.sleep(_MOMENT)


class Ringers:
    """The writing side: cached ends of other workers' bells, by name. Not thread-safe by itself."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._ends: dict[str, int] = {}

    def ring(self, name: str) -> None:
        """Wake the worker behind this bell, if it still lives and can be reached: a ring is a hint."""
        with contextlib.suppress(OSError):
            end = self.end(name)
            if end is not None and not _write(end):
                self.forget(name)

    def alive(self, name: str) -> bool:
        """Whether the process that reads this bell still lives; True when that cannot be found out."""
        try:
            end = self.end(name)
        except OSError:  # out of descriptors, say: not knowing is no reason to take anybody's lanes
            return True
        if end is None:
            return False
        poll = select.poll()
        poll.register(end, 0)
        if any(events & _DEAD for _, events in poll.poll(0)):
            self.forget(name)
            return False
        return True

    def end(self, name: str) -> int | None:
        """A writing end of this bell; None when nobody reads it any more."""
        known = self._ends.get(name)
        if known is not None:
            return known
        try:
            descriptor = os.open(self._directory / name, os.O_WRONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
        except OSError as error:
            if error.errno in (errno.ENXIO, errno.ENOENT):
                return None
            raise
        if not stat.S_ISFIFO(os.fstat(descriptor).st_mode):  # something else was put in its place
            os.close(descriptor)
            return None
        self._ends[name] = descriptor
        return descriptor

    def forget(self, name: str) -> None:
        """Close the end of a bell that is gone."""
        descriptor = self._ends.pop(name, None)
        if descriptor is not None:
            os.close(descriptor)

    def keep(self, names: set[str]) -> None:
        """Close the ends of all other bells."""
        for name in set(self._ends) - names:
            self.forget(name)

    def remove(self, name: str) -> None:
        """Take a dead worker's file away."""
        self.forget(name)
        with contextlib.suppress(OSError):
            (self._directory / name).unlink()


def _both_ends(path: Path) -> tuple[int, int]:
    """A reading and a writing end; the file is taken away again when there are no descriptors for them."""
    try:
        reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        try:
            return reader, os.open(path, os.O_WRONLY | os.O_NONBLOCK)
        except BaseException:
            os.close(reader)
            raise
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def _made_fifo(path: Path) -> bool:
    try:
        os.mkfifo(path, 0o600)
    except (OSError, NotImplementedError):  # a filesystem without FIFOs: leases and timeouts do the work
        return False
    return True


def _write(descriptor: int) -> bool:
    try:
        os.write(descriptor, b"!")
    except BlockingIOError:
        return True
    except OSError:
        return False
    return True
