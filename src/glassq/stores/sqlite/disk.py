"""Room on the disk: appends stop before it is full, settlements go on when it is.

A DELETE needs space too (in the write-ahead log), so a full disk would stop the very settlements that make
room. A preallocated file is the answer: it is given back to the disk when a settlement finds it full.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from time import monotonic

from glassq.errors import StorageUnavailable

RESERVE_BYTES = 16 << 20
"""Appends are refused when less than this is free."""

BALLAST_BYTES = 4 << 20
"""One write-ahead log, as long as it gets before it goes into the file."""

_PLENTY_BYTES = 256 << 20
_PLENTY_SECONDS = 0.01
"""With so much more than the reserve free, a disk is not looked at again for so long: nothing fills it
sooner."""


class Disk:
    """The disk that holds one database file."""

    def __init__(self, database: Path) -> None:
        self._directory = str(database.parent)
        self._ballast = database.with_name(database.name + "-ballast")
        self._free = 0
        self._look_at = 0.0

    def require_room(self, size: int) -> None:
        """`StorageUnavailable("enospc")` unless `size` bytes fit above the reserve."""
        now = monotonic()
        if now < self._look_at and self._free > RESERVE_BYTES + _PLENTY_BYTES:
            return
        status = os.statvfs(self._directory)
        self._free = free = status.f_bavail * status.f_frsize
        self._look_at = now + _PLENTY_SECONDS
        if free < RESERVE_BYTES + size:
            raise StorageUnavailable(
                f"only {free >> 20} MiB are free in {self._directory}, {RESERVE_BYTES >> 20} MiB are kept "
                "for settling what is queued; free some space, nothing was enqueued",
                "enospc",
            )
        if free > RESERVE_BYTES + 2 * BALLAST_BYTES and not os.access(self._ballast, os.F_OK):
            self.lay_ballast()

    def lay_ballast(self) -> None:
        """Set the reserve for settlements aside. Without it the store works, so failing here is no error."""
        with contextlib.suppress(OSError):
            flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW
            descriptor = os.open(self._ballast, flags, 0o600)
            try:
                os.write(descriptor, bytes(BALLAST_BYTES))  # real blocks: a sparse file reserves nothing
            except OSError:
                self._ballast.unlink()
            finally:
                os.close(descriptor)

    def drop_ballast(self) -> None:
        """Give the reserve back to the disk, unless it was spent already."""
        with contextlib.suppress(OSError):
            self._ballast.unlink()
