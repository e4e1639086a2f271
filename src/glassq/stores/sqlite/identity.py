"""Which files a database was when it was opened, and whether others have their names by now."""

from __future__ import annotations

import os
from pathlib import Path

from glassq.errors import StorageUnavailable

_BESIDE = ("-wal", "-shm")
"""What SQLite keeps beside the file and finds by its name: the log of commits and the index of that log."""


class Identity:
    """The file of one path and what lies beside it, as they were opened. In memory (None) nothing moves."""

    def __init__(self, path: Path | None) -> None:
        self._path = None if path is None else str(path)
        self._database: tuple[int, int] | None = None
        self._beside: dict[str, tuple[int, int]] = {}

    def replaced(self) -> bool:
        """Whether another file has the name of the one that was opened, or none has. Costs about 1 µs."""
        if self._database is None or self._path is None:
            return False
        try:
            found = os.stat(self._path)  # noqa: PTH116 - half the price of the method, and paid by every call
        except OSError:
            return True
        return (found.st_dev, found.st_ino) != self._database

    def present(self) -> tuple[int, int] | None:
        """The file that has the name now, for `note`."""
        return _file_at(self._path)

    def note(self, before: tuple[int, int] | None) -> None:
        """The file that was `present` before is open by now; its log stays there for as long as it is."""
        if self._path is None:
            return
        if before is None or _file_at(self._path) != before:
            raise StorageUnavailable(f"{self._path} was replaced while it was being opened; try again", "io")
        self._database = before
        found = {name: _file_at(name) for name in self._names_beside()}
        self._beside = {name: file for name, file in found.items() if file is not None}

    def refuse_remains(self) -> None:
        """`StorageUnavailable` when the log of the file that was opened still lies there, under the name of
        another's: SQLite would copy the commits of the one into the other, which destroys it."""
        remains = [name for name, file in self._beside.items() if _file_at(name) == file]
        if remains:
            raise StorageUnavailable(
                f"{self._path} was replaced or taken away while in use, and its log is still there "
                f"({', '.join(remains)}): whoever opens another file with that destroys it. Stop all users, "
                "take -wal and -shm away, and start them again",
                "io",
            )

    def forget(self) -> None:
        """Nothing is open any more."""
        self._database, self._beside = None, {}

    def _names_beside(self) -> list[str]:
        return [f"{self._path}{suffix}" for suffix in _BESIDE]


def _file_at(path: str | None) -> tuple[int, int] | None:
    """Which file has this name; None when there is none."""
    if path is None:
        return None
    try:
        found = Path(path).stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
