"""A worker or producer whose system clock is set forwards and backwards while it runs.

`CHAOS_CLOCK` names a file with an offset in seconds that is added to what `time.time` says. It is one file
for all processes that are to share a clock, as those of one host do.
"""

from __future__ import annotations

import mmap
import struct
import time
from pathlib import Path

_OFFSET = struct.Struct("d")


def set_clock(path: Path, offset: float) -> None:
    """Set the clock of all processes that follow this file, at once."""
    if not path.exists():
        path.write_bytes(_OFFSET.pack(0.0))
    with path.open("r+b") as file:
        file.write(_OFFSET.pack(offset))


def follow(path: Path) -> None:
    """From here on this process's wall clock follows the file."""
    with path.open("rb") as file:
        shared = mmap.mmap(file.fileno(), _OFFSET.size, access=mmap.ACCESS_READ)
    true_time, true_nanoseconds = time.time, time.time_ns

    def offset() -> float:
        (found,) = _OFFSET.unpack_from(shared)
        return float(found)

    time.time = lambda: true_time() + offset()
    time.time_ns = lambda: true_nanoseconds() + int(offset() * 1e9)
