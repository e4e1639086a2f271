"""The directory of a femtoqueue: one file per task, in a folder that says how far the task is.

Nothing here writes. A file is 24 bytes (the version in the first, an MD5 of the task in the last 16) and then
the task; its name begins with a time in microseconds.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from glassq.errors import ConfigurationError, CorruptRecord

PENDING, SCHEDULED, FAILED, CREATING, DONE = "pending", "scheduled", "failed", "creating", "done"
RESERVED: Final = frozenset({PENDING, SCHEDULED, FAILED, CREATING, DONE})
"""Folders that are no node's."""
MOVED: Final = "imported"
"""Where files lie whose tasks are in the store by now."""

_HEADER = 24
_VERSION = 1
_NAME = re.compile(r"(-?\d+)_")


class TaskFile(msgspec.Struct, frozen=True, order=True):
    """A task's file. They sort by the time in their names, as their queue would have served them."""

    time_us: int
    name: str
    folder: str
    root: Path

    @property
    def path(self) -> Path:
        """Where it is."""
        return self.root / self.folder / self.name

    @property
    def shown(self) -> str:
        """Its place below the directory, for people."""
        return f"{self.folder}/{self.name}"

    def read(self) -> bytes:
        """The task. `CorruptRecord` says what is wrong with a file that is none; `OSError`."""
        written = self.path.read_bytes()
        if len(written) < _HEADER:
            raise CorruptRecord(f"{len(written)} bytes are no task, its header has {_HEADER}")
        if written[0] != _VERSION:
            raise CorruptRecord(f"it claims to be of version {written[0]}, only {_VERSION} is known")
        data = written[_HEADER:]
        if hashlib.md5(data, usedforsecurity=False).digest() != written[_HEADER - 16 : _HEADER]:
            raise CorruptRecord("its checksum does not match: it was cut off or changed")
        return data


def task_files(root: Path, folder: str) -> Iterator[TaskFile]:
    """The tasks' files in one folder, unsorted. What is not named like one is somebody else's."""
    try:
        entries = os.scandir(root / folder)
    except FileNotFoundError:
        return
    with entries:
        for entry in entries:
            named = _NAME.match(entry.name)
            if named and entry.is_file(follow_symlinks=False):
                yield TaskFile(int(named[1]), entry.name, folder, root)


def nodes(root: Path) -> list[str]:
    """The folders of nodes, each with what that node had begun. A node may even be called `imported`: what
    was put aside there lies in folders of its own."""
    try:
        entries = os.scandir(root)
    except FileNotFoundError:
        return []
    with entries:
        folders = {entry.name for entry in entries if entry.is_dir(follow_symlinks=False)}
    return sorted(folders - RESERVED)


def require_femtoqueue(root: Path) -> None:
    """`ConfigurationError` when no femtoqueue was ever opened there."""
    if not (root / PENDING).is_dir():
        raise ConfigurationError(f"{root} is no directory of femtoqueue: it has no folder {PENDING}")


def refuse_unmoved(root: Path) -> None:
    """`ConfigurationError` when tasks are in files that nobody would ever run. Damaged ones never run."""
    for folder in (PENDING, SCHEDULED, *nodes(root)):
        for file in task_files(root, folder):
            if _whole(file):
                raise ConfigurationError(
                    f"{root} holds tasks of femtoqueue in files, for example {file.shown}; stop all programs "
                    f"that use them, then move them with: glassq import-femtoqueue {root}"
                )


def _whole(file: TaskFile) -> bool:
    try:
        file.read()
    except (CorruptRecord, OSError):
        return False
    return True
