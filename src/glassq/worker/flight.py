"""Settlements nobody waits for: sent in their order, heard of in their order, repeated in their order."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable

import msgspec

from glassq.errors import StorageError
from glassq.model.leases import Leaving, Settled, Settlement, SettleStatus
from glassq.settling import Course, Settling
from glassq.shielding import Log
from glassq.worker.attempt import Ended
from glassq.worker.holdings import HeldLane
from glassq.worker.settle import Settler

log = Log("glassq.worker")

_LATE = 0.005
"""Seconds after which a settlement that was answered is told, with the next one at the latest."""


class _Sent(msgspec.Struct, frozen=True):
    """A settlement on its way, with the attempt it ends. `at` is when it was sent, by the local clock."""

    ended: Ended
    settlement: Settlement
    settling: Settling
    at: float


class _Gone(msgspec.Struct, frozen=True):
    """The same of one that was sent on a course: it says of its job what the others on it say of theirs."""

    ended: Ended
    next_id: str
    at: float


def _tell_nothing() -> None:
    """Where nothing that began is told late."""


class InFlight:
    """One lane's settlements that were sent and not heard of yet, oldest first.

    `hear` is called with each answer that may say something new. A lane that is lost meanwhile is
    marked so, and what is left then is reported as abandoned. Belongs to the lane's thread.

    While a lane is run ahead and nothing happens, settlements go on a course (`begin`, `go_on`). Before the
    next job begins it is looked whether an answer is there, and routine. What it says is taken in, and told,
    for several together: done many times in a row that costs half of what it does when everything else comes
    in between. Whatever is not routine ends the course, and what is on its way then is heard like any other.
    """

    def __init__(
        self,
        settler: Settler,
        lane: HeldLane,
        *,
        most: int,
        hear: Callable[[Settled], None],
        asked: float = 0.0,
    ) -> None:
        self._settler = settler
        self._lane = lane
        self._most = most
        self._hear = hear
        self._sent: deque[_Sent] = deque()
        self._gives_up = False
        self.asked = asked
        """When that was sent which was answered last."""
        self._course: Course | None = None
        self._like: Settlement | None = None
        self._tell_begun: Callable[[], None] = _tell_nothing
        self._gone: deque[_Gone] = deque()
        self._untold: list[_Gone] = []

    @property
    def is_on_course(self) -> bool:
        """Whether settlements like that of `begin` go on a course now."""
        return self._course is not None

    def begin(
        self, course: Course | None, like: Settlement, tell_begun: Callable[[], None] = _tell_nothing
    ) -> None:
        """Send what is `like` this settlement on a course from now on, as nothing else is on its way. Before
        it is told what ended on it, `tell_begun` is called."""
        self._course, self._like, self._tell_begun = course, like, tell_begun

    def go_on(self, ended: Ended, next_id: str, at: float) -> bool:
        """Put one more on the wire, as `send` does, on the course. False when it has ended, and nothing was
        sent."""
        course, gone = self._course, self._gone
        if course is None:
            return False
        while len(gone) >= self._most and not course.is_over:
            self._pass(course.hear())
        heard = None
        if not (self._lane.lost or course.is_over):
            # order: on the wire when this returns, in this thread, before the lane's next job begins.
            heard = course.send(ended.job.id, next_id)
        if heard is None:
            self._leave_course()
            return False
        gone.append(_Gone(ended, next_id, at))
        if heard:
            self._pass(heard)
        if course.is_over:
            self._hear_what_came()
        elif self._untold and (len(self._untold) >= self._most or at - self._untold[0].at > _LATE):
            self._tell()
        return True

    def send(self, ended: Ended, settlement: Settlement, at: float) -> None:
        """Put one more on the wire, once no more than the most are on their way with it, and take in the
        answers that are there by then."""
        if self._course is not None:
            self._leave_course()
        while len(self._sent) >= self._most:
            self._hear_oldest()
        if self._lane.lost:
            self._settler.abandoned(self._lane, ended)
            return
        # order: on the wire when this returns, in this thread, before the lane's next job begins.
        self._gives_up = settlement.leaving is Leaving.YIELD
        self._lane.leaving = True  # a store that settles at once may give the lane up
        self._sent.append(_Sent(ended, settlement, self._settler.send(settlement), at))
        self._hear_what_came()

    def take_on(self, ended: Ended, settlement: Settlement, settling: Settling, at: float) -> None:
        """Hear of what somebody else has sent, as the last thing in this lane."""
        self._gives_up = True
        self._sent.append(_Sent(ended, settlement, settling, at))

    @property
    def empty(self) -> bool:
        """Whether all that was sent has been answered."""
        return not self._sent and not self._gone

    def hear_arrived(self) -> None:
        """Take in the answers that are there."""
        if self._course is not None:
            self._leave_course()
        while self._sent and self._sent[0].settling.arrived():
            self._hear_oldest()

    def hear_all(self) -> None:
        """Take in all answers, waiting for them."""
        while self._course is not None and self._gone and not self._course.is_over:
            self._pass(self._course.hear())
        if self._course is not None:
            self._leave_course()
        while self._sent:
            self._hear_oldest()

    def abandon(self) -> None:
        """The lane is lost: take in what has been answered, and report the rest as what may run again."""
        self.hear_arrived()
        while self._sent:
            self._settler.abandoned(self._lane, self._sent.popleft().ended)

    def _hear_what_came(self) -> None:
        """Before the next job begins."""
        self.hear_arrived()
        self._lane.leaving = self._gives_up or (self._lane.leaving and not self._sent)

    def _pass(self, heard: int) -> None:
        """So many routine answers more were heard."""
        if heard:
            for _ in range(heard):
                self._untold.append(self._gone.popleft())
            self.asked = self._untold[-1].at

    def _tell(self) -> None:
        """Tell of the settlements whose routine answers were heard."""
        self._tell_begun()
        course, (untold, self._untold) = self._course, (self._untold, [])
        if course is not None and untold:
            ends = [gone.ended for gone in untold]
            self._settler.settled_together(self._lane, zip(ends, course.answers(), strict=True))

    def _leave_course(self) -> None:
        """What is on its way on the course is heard from now on like any other."""
        course, like = self._course, self._like
        if course is None or like is None:
            return
        self._tell()
        self._course = self._like = None
        for gone, settling in zip(self._gone, course.leave(), strict=True):
            settlement = msgspec.structs.replace(like, job_id=gone.ended.job.id, next_id=gone.next_id)
            self._sent.append(_Sent(gone.ended, settlement, settling, gone.at))
        self._gone.clear()

    def _hear_oldest(self) -> None:
        try:
            answer = self._sent[0].settling.answer()
        except StorageError as error:
            log.warning("settling %s: %s", self._sent[0].settlement.job_id, error)
            for sent in self._sent:
                self._settler.delayed(sent.settlement)
            self._repeat()
        else:
            self._take_in(self._sent.popleft(), answer)

    def _repeat(self) -> None:
        """Tell the store again, from the oldest on, and wait each time.

        It goes by order: had a later one got through while an earlier one was lost, it would have been
        refused. So what became of the later ones is of no interest, but must not come afterwards.
        """
        for later in list(self._sent)[1:]:
            with contextlib.suppress(StorageError):
                later.settling.answer()
        while self._sent:
            again = self._sent.popleft()
            answer = None if self._lane.lost else self._settler.move_on(self._lane, again.settlement)
            if answer is None:
                self._settler.abandoned(self._lane, again.ended)
            else:
                self._take_in(again, answer)

    def _take_in(self, sent: _Sent, answer: Settled) -> None:
        if answer.status is SettleStatus.FENCED:
            self._settler.fenced(self._lane)
            self._settler.abandoned(self._lane, sent.ended)
            return
        self._lane.leaving = self._gives_up or not answer.held
        self._settler.settled(self._lane, sent.ended, answer)
        self.asked = sent.at
        self._hear(answer)
