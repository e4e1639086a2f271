"""A course that is timed, and watched for a loss of data."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Sequence
from itertools import repeat
from operator import sub
from time import perf_counter

from glassq.model.leases import Settled
from glassq.settling import Course, Settling
from glassq.stores.remembering import Known


class TimedCourse:
    """A course whose settlements are timed and learned from, as those are that are sent one by one. The time
    of one ends when it is known what became of it, or when the course is left.

    What answers are compared with is what was known when the first that is told with them was sent. To know
    less than there is to know is as good, so it is asked for as often as something is learned.
    """

    def __init__(
        self,
        inner: Course,
        known: Callable[[], Known],
        answered: Callable[[Sequence[float], Known, Sequence[Settled]], None],
        heard: Callable[[Settling, Known, float], Settling],
    ) -> None:
        self._inner = inner
        self._send = inner.send
        self._known = known
        self._answered = answered
        self._as_heard = heard
        self._told = 0
        self._known_from: deque[tuple[int, Known]] = deque([(0, known())])
        self._sent: list[float] = []
        self._note_sent = self._sent.append
        self._heard: list[float] = []

    @property
    def is_over(self) -> bool:
        """See `Course.is_over`."""
        return self._inner.is_over

    def send(self, job_id: str, next_id: str) -> int | None:
        """See `Course.send`."""
        started = perf_counter()
        heard = self._send(job_id, next_id)
        if heard is None:
            return None
        self._note_sent(started)
        if heard:
            self._note(heard)
        return heard

    def hear(self) -> int:
        """See `Course.hear`."""
        heard = self._inner.hear()
        self._note(heard)
        return heard

    def _note(self, heard: int) -> None:
        if heard > 0:
            self._heard += map(sub, repeat(perf_counter()), self._sent[:heard])
            del self._sent[:heard]

    def answers(self) -> list[Settled]:
        """See `Course.answers`."""
        seconds, self._heard = self._heard, []
        answers = self._inner.answers()
        if answers:
            self._answered(seconds, self._before(), answers)
            self._told += len(answers)
            self._known_from.append((self._told + len(self._sent), self._known()))
        return answers

    def _before(self) -> Known:
        """What was known when the oldest was sent that is not told yet."""
        known = self._known_from
        while len(known) > 1 and known[1][0] <= self._told:
            known.popleft()
        return known[0][1]

    def leave(self) -> list[tuple[Settling, int]]:
        """See `Course.leave`."""
        told: list[tuple[Settling, int]] = []
        for sent, count in self._inner.leave():
            *before, last = self._sent[:count]
            del self._sent[:count]
            self._tell_unanswered(before)
            told.append((self._as_heard(sent, self._before(), last), count))
        self._tell_unanswered(self._sent)
        return told

    def _tell_unanswered(self, sent: Collection[float]) -> None:
        """Each is a call of the store that has no answer of its own, timed until now."""
        if sent:
            self._answered([*map(sub, repeat(perf_counter()), sent)], self._before(), ())
