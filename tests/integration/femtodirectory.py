"""A directory as femtoqueue leaves it, and a clock that a test moves."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path

import pytest


class Clock:
    """What `time.time` and `time.monotonic` say, in seconds."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, now: float) -> None:
        self.now = now
        monkeypatch.setattr(time, "time", lambda: self.now)
        monkeypatch.setattr(time, "monotonic", lambda: self.now)


def written(data: bytes) -> bytes:
    """A task's file: its version, 7 empty bytes, its MD5, itself."""
    return bytes([1, *[0] * 7]) + hashlib.md5(data).digest() + data


class Directory:
    """A directory of femtoqueue, with the folders it always makes."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for folder in ("creating", "pending", "done", "failed", "scheduled"):
            (root / folder).mkdir(parents=True)

    def put(self, folder: str, time_us: int, data: bytes, *, whole: bool = True) -> Path:
        """A task's file in a folder; not whole: the end of it is missing."""
        file = self.root / folder / f"{time_us}_<built-in method hex of bytes object at 0x7f0>"
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(written(data) if whole else written(data)[:-1])
        return file

    def files(self, *folders: str) -> list[str]:
        """The files in these folders, as `folder/time`."""
        return sorted(
            f"{folder}/{file.name.partition('_')[0]}"
            for folder in folders
            if (self.root / folder).is_dir()
            for file in (self.root / folder).iterdir()
        )
