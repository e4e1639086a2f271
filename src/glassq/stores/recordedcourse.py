"""Settlements on a course, written down like those that are sent one by one."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, MutableMapping, Sequence
from contextlib import suppress
from functools import partial
from typing import TypeVar

import msgspec

from glassq.errors import StorageError
from glassq.model.leases import Lease, Settled, Settlement, SettleStatus
from glassq.settling import Course, Settling, known_by
from glassq.stores.instrumented import Heard

H = TypeVar("H", int, int | None)
Write = Callable[[Sequence[Settlement], Callable[[], list[Settled]]], list[Settled]]
"""Writes down what became of settlements: what the call returns, or that it failed."""


class RecordedCourse:
    """A course whose settlements are written down when they are sent, and the answers when they are there.

    Those nobody has asked about when it is left are in `unanswered`, by their lease: the next answer in it
    tells of them.
    """

    def __init__(
        self,
        inner: Course,
        like: Settlement,
        settling: Callable[[Sequence[Settlement]], None],
        write: Write,
        unanswered: MutableMapping[Lease, Sequence[Settlement]],
    ) -> None:
        self._inner = inner
        self._like = like
        self._settling = settling
        self._write = write
        self._unanswered = unanswered
        self._sent: deque[Settlement] = deque()
        self._answers: list[Settled] = []

    @property
    def is_over(self) -> bool:
        """See `Course.is_over`."""
        return self._inner.is_over

    def send(self, job_id: str, next_id: str) -> int | None:
        """See `Course.send`. Written down before, as it may be carried out at once."""
        what = msgspec.structs.replace(self._like, job_id=job_id, next_id=next_id)
        self._settling([what])
        self._sent.append(what)
        heard = self._inner.send(job_id, next_id)
        if heard is None:
            # It is asked for again in another way; without this it would be on its way for ever.
            write_what_is_known(self._write, [self._sent.pop()], None)
        return self._write_down(heard)

    def hear(self) -> int:
        """See `Course.hear`."""
        return self._write_down(self._inner.hear())

    def _write_down(self, heard: H) -> H:
        if heard and heard > 0:
            answers = self._inner.answers()
            self._answers += self._write([self._sent.popleft() for _ in answers], lambda: answers)
        return heard

    def answers(self) -> list[Settled]:
        """See `Course.answers`."""
        answers, self._answers = self._answers, []
        return answers

    def leave(self) -> list[tuple[Settling, int]]:
        """See `Course.leave`."""
        told: list[tuple[Settling, int]] = []
        for sent, count in self._inner.leave():
            whats = [self._sent.popleft() for _ in range(count)]
            told.append((Heard(sent.arrived, partial(self._take_in, sent, whats)), count))
        if self._sent:
            self._unanswered[self._like.lease] = tuple(self._sent)
        return told

    def _take_in(self, sent: Settling, whats: Sequence[Settlement]) -> Settled:
        *before, last = whats
        try:
            [answer] = self._write([last], lambda: [sent.answer()])
        except BaseException:
            write_what_is_known(self._write, before, None)
            raise
        write_what_is_known(self._write, before, answer)
        return answer


def write_what_is_known(write: Write, whats: Sequence[Settlement], answer: Settled | None) -> None:
    """Write down what became of settlements without answers of their own, by the one behind them: they are
    settled if that was not refused. If it was, or failed, nobody knows."""
    if not whats:
        return
    if answer is not None and answer.status is not SettleStatus.FENCED:
        write(whats, lambda: known_by(answer, len(whats), 0))
        return
    with suppress(StorageError):
        write(whats, _not_answered)


def _not_answered() -> list[Settled]:
    raise StorageError("nothing was answered")
