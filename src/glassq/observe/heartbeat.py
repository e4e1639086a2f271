"""The heartbeat file: the worker's health for probes that must not cost an HTTP server or a heavy import.

`glassq health` reads it with nothing but the standard library.
"""

from __future__ import annotations

import os
import secrets
import time
from pathlib import Path

import msgspec

from glassq.observe.health import Health

FORMAT = 1


class HeartbeatFile:
    """A small JSON file that is replaced whole: a reader sees the old or the new one, never half of one.

    A write costs two system calls and a rename; `OSError` when the directory cannot be written.
    """

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)

    def write(self, health: Health) -> None:
        """Write down the wall time, the process and the two statuses that probes ask for."""
        content = msgspec.json.encode(
            {
                "format": FORMAT,
                "wall": time.time(),
                "pid": os.getpid(),
                "live": health.live().status,
                "ready": health.ready().status,
            }
        )
        # A name nobody can guess, made new: a link planted in a shared directory is never followed.
        temporary = self._path.with_name(f".{self._path.name}.{secrets.token_hex(8)}")
        descriptor = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
            temporary.replace(self._path)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise

    def remove(self) -> None:
        """Take the file away when the worker ends, so that a probe does not believe the dead."""
        self._path.unlink(missing_ok=True)
