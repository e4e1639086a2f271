"""A course that is timed, and watched for a loss of data."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Sequence
from time import perf_counter

from glassq.model.leases import Settled
from glassq.settling import Course, Settling
from glassq.stores.remembering import Known


class TimedCourse:
    """A course whose settlements are timed and learned from, as those are that are sent one by one."""

    def __init__(
        self,
        inner: Course,
        known: Callable[[], Known],
        answered: Callable[[Sequence[float], Sequence[Known], Sequence[Settled]], None],
        heard: Callable[[Settling, Known, float], Settling],
    ) -> None:
        self._inner = inner
        self._known = known
        self._answered = answered
        self._as_heard = heard
        self.is_over = False
        """See `Course.is_over`."""
        self._before = known()
        self._sent: deque[tuple[Known, float, float]] = deque()
        self._heard: list[tuple[Known, float]] = []

    def send(self, job_id: str, next_id: str) -> int | None:
        """See `Course.send`."""
        started = perf_counter()
        heard = self._inner.send(job_id, next_id)
        if heard is not None:
            now = perf_counter()
            self._sent.append((self._before, started, now))
            self._note(heard, now)
        return heard

    def hear(self) -> int:
        """See `Course.hear`."""
        heard = self._inner.hear()
        self._note(heard, perf_counter())
        return heard

    def _note(self, heard: int, now: float) -> None:
        self.is_over = self._inner.is_over
        sent = self._sent
        for _ in range(heard):
            before, started, _ = sent.popleft()
            self._heard.append((before, now - started))

    def answers(self) -> list[Settled]:
        """See `Course.answers`."""
        heard, self._heard = self._heard, []
        answers = self._inner.answers()
        if answers:
            before, seconds = zip(*heard, strict=True)
            self._answered(seconds, before, answers)
            # What is known is asked for as often as something is learned. To know less than there is to know
            # is as good: what was acknowledged before that is what an answer is compared with.
            self._before = self._known()
        return answers

    def leave(self) -> list[tuple[Settling, int]]:
        """See `Course.leave`."""
        told: list[tuple[Settling, int]] = []
        for sent, count in self._inner.leave():
            *before, last = [self._sent.popleft() for _ in range(count)]
            self._tell_unanswered(before)
            told.append((self._as_heard(sent, *last[:2]), count))
        self._tell_unanswered(self._sent)
        return told

    def _tell_unanswered(self, sent: Collection[tuple[Known, float, float]]) -> None:
        """Each is a call of the store that has no answer of its own, timed until it was sent."""
        if sent:
            self._answered([at - started for _, started, at in sent], (), ())
