"""From files to a history: every line checked, every half line found."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import TypeVar

import msgspec

from glassq.errors import ConfigurationError
from glassq.observe.history import CUT, FORMAT, SUFFIX
from glassq.testing.history.lines import PLACE_BITS, AnyLine, Begin, Incomplete, LeaseLine, Line

L = TypeVar("L", bound=Line)

_NUMBER = (1 << PLACE_BITS) - 1


class UnreadableHistory(ConfigurationError):
    """When files are no histories, or not ones that this version reads."""


class File(msgspec.Struct, frozen=True):
    """One file: one process, or a part of its life."""

    path: str
    host: str
    pid: int


class History:
    """All lines of all files, by their type."""

    def __init__(self) -> None:
        self.files: list[File] = []
        self.torn: list[str] = []
        self._lines: dict[type[Line], list[Line]] = {}
        self._texts: dict[str, str] = {}

    def of(self, kind: type[L]) -> list[L]:
        """The lines of one type, file by file in the order they were written."""
        return self._lines.get(kind, [])  # type: ignore[return-value]

    def all(self) -> Iterator[Line]:
        """Every line, type by type."""
        return chain.from_iterable(self._lines.values())

    def add(self, line: Line) -> None:
        """Take a line in."""
        if isinstance(line, LeaseLine):
            # The same few texts come back in every line of a job: each is kept once.
            share = self._texts.setdefault
            line.queue, line.lane = share(line.queue, line.queue), share(line.lane, line.lane)
            known = getattr(line, "id", None)
            if known is not None:
                line.id = share(known, known)  # type: ignore[attr-defined]
        self._lines.setdefault(type(line), []).append(line)

    def place(self, line: Line) -> str:
        """Where a line stands, for people."""
        return f"{self.files[line.file].path}:{line.where & _NUMBER}"

    @property
    def complete(self) -> bool:
        """Whether no process had to leave events out."""
        cut = any(file.path.endswith(f"{CUT}{SUFFIX}") for file in self.files)
        return not cut and not self.of(Incomplete)

    @property
    def one_clock(self) -> bool:
        """Whether all lines were written on one host, since its last start: only then their times compare."""
        return len({file.host for file in self.files if file.host}) <= 1

    def __len__(self) -> int:
        return sum(map(len, self._lines.values()))


def read(paths: Iterable[str | os.PathLike[str]]) -> History:
    """The history in these files and directories (all `*.jsonl` in them).

    The last line of a file may be torn: its writer was killed. `UnreadableHistory` names what is wrong and
    where.
    """
    history = History()
    for path in _files(paths):
        _read_file(history, path)
    return history


def _files(paths: Iterable[str | os.PathLike[str]]) -> list[Path]:
    found: dict[Path, None] = {}
    for each in map(Path, paths):
        if each.is_dir():
            inside = sorted(each.glob(f"*{SUFFIX}"))
            if not inside:
                raise UnreadableHistory(
                    f"{each} has no *{SUFFIX} files; give the directory that Glassq(history=...) was given"
                )
            found.update(dict.fromkeys(inside))
        else:
            found[each] = None
    if not found:
        raise UnreadableHistory("no history was given; name files or a directory")
    return list(found)


def _read_file(history: History, path: Path) -> None:
    number, position = len(history.files), 0
    try:
        with path.open("rb") as file:
            for position, text in enumerate(file, 1):
                line = _parsed(history, path, position, text)
                if line is None:
                    break
                if position == 1:
                    history.files.append(_file(path, line))
                line.where = number << PLACE_BITS | position
                history.add(line)
    except OSError as error:
        raise UnreadableHistory(f"{path} cannot be read: {error.strerror}") from error
    if len(history.files) == number:  # killed before its first line was whole: it did nothing yet
        history.files.append(File(str(path), "", 0))


def _parsed(history: History, path: Path, position: int, text: bytes) -> Line | None:
    """One line; None for one that was being written when its process was killed."""
    try:
        line: Line = _decode(text)
    except msgspec.MsgspecError as error:
        if not text.endswith(b"\n"):
            history.torn.append(f"{path}:{position}")
            return None
        raise UnreadableHistory(f"{path}:{position} is no line of a history: {error}") from error
    return line


_decode = msgspec.json.Decoder(AnyLine).decode


def _file(path: Path, line: Line) -> File:
    if not isinstance(line, Begin):
        raise UnreadableHistory(f"{path} does not begin as a history does; is it one?")
    if line.v != FORMAT:
        raise UnreadableHistory(
            f"{path} has format {line.v}, this glassq reads {FORMAT}; use the glassq that recorded it"
        )
    return File(str(path), line.host, line.pid)
