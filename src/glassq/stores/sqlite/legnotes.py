"""Where it is noted that jobs of legs have ended: a file beside the database, which is only ever added to.

The least that SQLite commits is a page, which goes into its log and from there into the database. A note is a
record of 32 bytes, and as safe when a process dies: it is in the file before the next job begins.

fence: the kernel puts each record behind all that are there (`O_APPEND`), so all of them have one order.
Whoever ends the legs of other processes first adds that they are over, then reads what was noted before. And
whoever adds a note sees where it came: where anything came between it and the one before, it may be void. So
nobody waits for anybody, whoever is stopped or killed in the middle; and a note either counts for whoever
ends the leg, or is refused to the one who made it.

Legs begin and are ended under the write lock of the database. Where the file is lost nothing was noted.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from struct import Struct
from typing import NamedTuple

from glassq.errors import StorageUnavailable

_RECORD = Struct("=QQQQ")
_SIZE = _RECORD.size
_LONGEST = 1 << 20
"""Bytes. Then a new file is begun, when no leg is under way."""
_NEW = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
_THERE = os.O_RDWR | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC


class LegsAreOver(Exception):
    """When a note cannot be made, or is void: somebody may have ended all legs."""


class Note(NamedTuple):
    """What was noted last of a leg: how many of its jobs have ended, the last of them, and when it did.

    The leg's number comes last, so that nothing is ever made up of the halves of two. One of 0 says that all
    legs are over.
    """

    ended: int
    till_seq: int
    at: int
    number: int


_OVER = _RECORD.pack(0, 0, 0, 0)


class LegNotes:
    """The file of one database, as a process has it."""

    def __init__(self, database: Path) -> None:
        self._path = str(database) + "-legs"
        self._file: int | None = None
        self._end = 0

    def begin(self, number: int, *, first: bool, anew: bool = False) -> int | None:
        """Begin a leg, inside of a transaction; where its notes begin, None when there cannot be any.
        `first`: there is no other leg by now, of any process; `anew`: nor was there one before this
        transaction, so that what is noted will not be asked for even if this is not committed."""
        try:
            if first:
                self._take_up(anew=anew)
            self.add(number, 0, 0, 0)
        except (OSError, LegsAreOver):
            return None
        return self._end - _SIZE

    def add(self, number: int, ended: int, till_seq: int, at: int) -> None:
        """Note that so many jobs of a leg have ended. `LegsAreOver` when that is not, or may not be, so."""
        file = self._file
        if file is None:
            raise LegsAreOver
        try:
            written = os.write(file, _RECORD.pack(ended, till_seq, at, number))
            begin = os.lseek(file, 0, os.SEEK_CUR) - _SIZE
            if begin != self._end and (written < _SIZE or _are_over(file, self._end, begin)):
                raise LegsAreOver
        except OSError as error:
            raise LegsAreOver from error
        self._end = begin + _SIZE

    def finish(self, legs: Sequence[tuple[int, int]]) -> dict[int, Note]:
        """End legs, by their numbers and where their notes begin; what was noted of them. Nothing is any
        more, of any leg. `StorageUnavailable` when that cannot be said in the file."""
        with self._reading() as file:
            if file is None:
                return {}
            _write_whole(file, _OVER)
            return _read(file, legs, os.lseek(file, 0, os.SEEK_CUR))

    def noted(self, legs: Sequence[tuple[int, int]]) -> dict[int, Note]:
        """What was noted last of these legs, whoever's, by now; nothing of one that is over for long."""
        with self._reading() as file:
            return {} if file is None else _read(file, legs, os.fstat(file).st_size)

    def close(self) -> None:
        """Let go of the file. No leg of this process is under way any more."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _take_up(self, *, anew: bool) -> None:
        """Have the file open that has the name, and know its end. If it may be, one that is too long, or ends
        in the middle of a record, is left for a new one."""
        file = self._file
        if file is None or not _is_at(file, self._path):
            file = self._open()
        self._end = os.fstat(file).st_size
        if anew and (self._end > _LONGEST or self._end % _SIZE):
            os.unlink(self._path)  # noqa: PTH108 - a plain name, as everywhere here
            self._open()
            self._end = 0

    def _open(self) -> int:
        self.close()
        self._file = file = os.open(self._path, _NEW, 0o600)
        return file

    @contextmanager
    def _reading(self) -> Iterator[int | None]:
        """The file that has the name now, None when there is none."""
        try:
            file = os.open(self._path, _THERE)
        except FileNotFoundError:
            yield None
            return
        except OSError as error:
            raise self._unavailable(error) from error
        try:
            yield file
        except OSError as error:
            raise self._unavailable(error) from error
        finally:
            os.close(file)

    def _unavailable(self, error: OSError) -> StorageUnavailable:
        reason = "enospc" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "io"
        return StorageUnavailable(f"cannot use {self._path}: {error.strerror}", reason)


def _write_whole(file: int, record: bytes) -> None:
    if os.write(file, record) < len(record):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _are_over(file: int, begin: int, end: int) -> bool:
    return any(number == 0 for *_, number in _records(file, begin, end))


def _read(file: int, legs: Sequence[tuple[int, int]], end: int) -> dict[int, Note]:
    """What was noted last of each leg, before anybody said that they are over; nothing of one that did not
    begin here."""
    found: dict[int, Note] = {}
    for number, begin in legs:
        notes = map(Note._make, _records(file, begin, end))
        first = next(notes, None)
        if first is None or first.number != number:
            continue
        found[number] = first
        for note in notes:
            if note.number == 0:
                break
            if note.number == number:
                found[number] = note
    return found


def _records(file: int, begin: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """Whole records from here to there."""
    found = os.pread(file, max(0, end - begin), begin)
    return _RECORD.iter_unpack(found[: len(found) // _SIZE * _SIZE])


def _is_at(file: int, path: str) -> bool:
    """Whether this open file has the name still."""
    try:
        return os.path.samestat(os.fstat(file), os.stat(path))  # noqa: PTH116
    except FileNotFoundError:
        return False
