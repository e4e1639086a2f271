"""RESP2, the server's protocol: requests to bytes, and bytes to answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

from redis import exceptions

Command = Sequence[str | bytes | float]

NOTHING: Final = object()
"""Stands for an answer that is not there yet: None is one."""

_BULK, _INTEGER, _ARRAY, _SIMPLE, _ERROR = b"$:*+-"
_MINUS: Final = ord("-")
_SEVERAL: Final = 8
"""Texts from which on to look at what has come as lines costs less than to go from one to the next."""
_END = b"\r\n"


def packed(command: Command) -> bytes:
    """A command as it is sent. The client library's own packing is built for what may be anything, and took a
    third of an enqueue."""
    return b"*%d\r\n%b" % (len(command), parts(command))


def parts(command: Command) -> bytes:
    """Some parts of a command as they are sent."""
    return b"".join(
        [
            b"$%d\r\n%b\r\n" % (len(part), part)
            if type(part) is bytes
            else b"$%d\r\n%d\r\n" % (len(str(part)), part)
            if type(part) is int
            else text(part)
            for part in command
        ]
    )


@lru_cache(maxsize=4096, typed=True)
def text(part: str | float) -> bytes:
    """Text as it is sent. Kept, because most of it is the same in every request: names, lanes, digests."""
    told = str(part).encode()
    return b"$%d\r\n%b\r\n" % (len(told), told)


class _Lengths(dict[int, str]):
    """What says that a text of so many bytes comes; kept, as there are not many."""

    def __missing__(self, length: int) -> str:
        told = self[length] = f"${length}\r\n"
        return told


LENGTHS: Final[Mapping[int, str]] = _Lengths()
"""For whoever packs many short texts."""


class Answers:
    """Takes answers out of bytes as they come: any number at once, or a part of one.

    `refusal` makes of the server's words what a refusal is: a value like others, for whoever asked.
    """

    def __init__(self, refusal: Callable[[str], Exception]) -> None:
        self._refusal = refusal
        self._data = b""
        self._at = 0
        self.left = False
        """Whether something was fed that is not a part of an answer that was taken."""
        self._open: list[tuple[list[Any], int]] = []  # arrays that are not whole yet, outermost first

    def feed(self, data: bytes) -> None:
        """These bytes have come."""
        self._data = self._data[self._at :] + data if self.left else data
        self._at = 0
        self.left = True

    def take(self) -> Any:
        """The next answer, or `NOTHING` while it is not whole. `InvalidResponse` when this is no RESP2."""
        data = self._data
        while True:
            at = self._at
            end = data.find(_END, at)
            if end < 0:
                return NOTHING
            kind, begin = data[at], end + 2
            if kind == _BULK and data[at + 1] != _MINUS:
                stop = begin + int(data[at + 1 : end])
                if stop + 2 > len(data):
                    return NOTHING
                self._at = stop + 2
                value: Any = data[begin:stop]
            else:
                self._at = begin
                value = self._line(kind, data[at + 1 : end])
            if self._open:
                value = self._put(value)
                if value is NOTHING:
                    self._take_texts(*self._open[-1])  # as nearly all in a window are
                    continue
            if value is not NOTHING:
                self.left = self._at < len(data)
                return value

    def _take_texts(self, items: list[Any], size: int) -> None:
        """Put the texts that come next into the array that is open, but for its last item: as many as are
        whole."""
        if size >= _SEVERAL and not items:
            self._take_plain_texts(items, size)
        data, at, most = self._data, self._at, len(self._data) - 2
        find = data.find
        for _ in range(size - len(items) - 1):
            end = find(_END, at)
            if end < 0 or data[at] != _BULK:
                break
            begin = end + 2
            stop = begin + int(data[at + 1 : end])
            if not begin <= stop <= most:
                break
            items.append(data[begin:stop])
            at = stop + 2
        self._at = at

    def _take_plain_texts(self, items: list[Any], size: int) -> None:
        """The same of an array that has begun, all at once: where no line ends within any of them, each is a
        line, behind one that says its length."""
        lines = self._data[self._at :].split(_END, 2 * (size - len(items) - 1))
        texts = lines[1:-1:2]
        lengths = list(map(b"$%d".__mod__, map(len, texts)))
        if lengths == lines[:-1:2]:
            items += texts
            self._at += sum(map(len, lengths)) + sum(map(len, texts)) + 2 * len(_END) * len(texts)

    def _put(self, value: Any) -> Any:
        """Put a value into the array that is open; the outermost one when it is whole with it."""
        while self._open:
            items, size = self._open[-1]
            if value is not NOTHING:
                items.append(value)
            if len(items) < size:
                return NOTHING
            value = self._open.pop()[0]
        return value

    def _line(self, kind: int, told: bytes) -> Any:
        """A value of one line; `NOTHING` for an array that begins with it, which is open then."""
        if kind == _INTEGER:
            return int(told)
        if kind == _SIMPLE:
            return told
        if kind == _ERROR:
            return self._refusal(told.decode("utf-8", errors="replace"))
        if kind in (_BULK, _ARRAY) and told == b"-1":
            return None
        if kind != _ARRAY:
            raise exceptions.InvalidResponse(f"{chr(kind)!r} begins nothing in RESP2")
        if told == b"0":
            return []
        self._open.append(([], int(told)))
        return NOTHING
