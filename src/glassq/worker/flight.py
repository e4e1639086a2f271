"""Settlements nobody waits for: sent in their order, heard of in their order, repeated in their order."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from itertools import starmap
from math import inf
from operator import itemgetter
from typing import Final, TypeAlias

import msgspec
from msgspec.structs import replace

from glassq.errors import StorageError
from glassq.model.leases import Leaving, Settled, Settlement, SettleStatus
from glassq.settling import Course, Settling, known_by, settled_before
from glassq.shielding import Log
from glassq.worker.attempt import Ended, Success
from glassq.worker.holdings import HeldLane
from glassq.worker.settle import Settler

log = Log("glassq.worker")

_LATE = 0.005
"""Seconds after which a settlement that was answered is told, with the next one at the latest."""

_TOGETHER: Final = 112
"""From so many on they are told together, which is more than a window has. With those on their way, as many
as have their spans remembered."""


_Gone: TypeAlias = tuple[Success, str, float]
"""A settlement that was sent on a course: the attempt it ends, the id of the job that is next, and when it
was sent, by the local clock. It says of its job what the others on it say of theirs. (Made for every job: a
plain tuple costs least.)"""


_SUCCESS: Callable[[_Gone], Success] = itemgetter(0)


class _Told(msgspec.Struct, frozen=True):
    """A settlement that was sent, with the attempt it ends: `like` this one, but for the jobs."""

    like: Settlement
    success: Success
    next_id: str | None
    at: float

    @property
    def ended(self) -> Ended:
        """The attempt, in full."""
        return self.success.ended()

    @property
    def settlement(self) -> Settlement:
        """The settlement, in full."""
        return replace(self.like, job_id=self.success.job.id, next_id=self.next_id)


class _Sent(_Told, frozen=True):
    """One on its way. Its answer tells of those `before` it, too, which have none of their own; it was asked
    for at `asked`: later than it was sent at first, where it was repeated to ask."""

    settling: Settling
    asked: float
    before: Sequence[_Told] = ()

    def all(self) -> Sequence[_Told]:
        """All that its answer tells of."""
        return (*self.before, self)


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

    Of what was sent on a course last, nobody may have asked what became of it. Whatever is sent next tells,
    as the store settles a lane's jobs in their order or not at all.
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
        self._unasked: list[_Told] = []
        self._unheard = 0
        self._latest: tuple[Ended | None, Settled | None] = (None, None)
        self._settled = 0
        self._gives_up = False
        self.asked = asked
        """When that was sent which was answered last."""
        self.is_on_course = False
        """Whether settlements like that of `begin` go on a course now."""
        self._course: Course | None = None
        self._like: Settlement | None = None
        self._tell_begun: Callable[[], None] = _tell_nothing
        self._gone: list[_Gone] = []
        self._untold: list[_Gone] = []
        self._tell_by = inf

    def begin(
        self, course: Course | None, like: Settlement, tell_begun: Callable[[], None] = _tell_nothing
    ) -> None:
        """Send what is `like` this settlement on a course from now on, as nothing else is on its way. Before
        it is told what ended on it, `tell_begun` is called."""
        self._course, self._like, self._tell_begun = course, like, tell_begun
        self.is_on_course = course is not None

    def go_on(self, success: Success, next_id: str, at: float) -> bool:
        """Put one more on the wire, as `send` does, on the course. False when it has ended, and nothing was
        sent."""
        course, gone = self._course, self._gone
        if course is None or (len(gone) >= self._most and not self._has_room(course)):
            return False
        # order: on the wire when this returns, in this thread, before the lane's next job begins.
        heard = None if self._lane.lost else course.send(success.job.id, next_id)
        if heard is None:
            self._leave_course()
            return False
        gone.append((success, next_id, at))
        if heard:
            self._pass(heard)
            if course.is_over:
                self._hear_what_came()
                return True
        if at > self._tell_by:
            self._tell()
        return True

    def _has_room(self, course: Course) -> bool:
        """Wait until fewer than the most are on their way; False when the course ends by that."""
        while len(self._gone) >= self._most and (heard := course.hear()):
            self._pass(heard)
        if course.is_over:
            self._leave_course()
        return not course.is_over

    def send(self, ended: Ended, settlement: Settlement, at: float) -> None:
        """Put one more on the wire, once no more than the most are on their way with it, and take in the
        answers that are there by then."""
        self._send(ended, settlement, at, gives_up=settlement.leaving is Leaving.YIELD)

    def settle(self, ended: Ended, settlement: Settlement, at: float) -> Settled | None:
        """Put one more on the wire, and take in all answers, waiting for them. One round trip. Returns what
        it was answered itself; None when it is not settled, as far as is known."""
        self._send(ended, settlement, at, gives_up=True)  # perhaps: its answer says so
        self.hear_all()
        self._gives_up = False
        latest, answer = self._latest
        if latest is not ended or answer is None:
            return None
        self._lane.leaving = not answer.held
        return answer

    def _send(self, ended: Ended, settlement: Settlement, at: float, *, gives_up: bool) -> None:
        if self._course is not None:
            self._leave_course()
        while self._sent and self._unheard >= self._most:
            self._hear_oldest()
        if self._lane.lost:
            self._settler.abandoned(self._lane, ended)
            return
        # order: on the wire when this returns, in this thread, before the lane's next job begins.
        self._gives_up = gives_up
        self._lane.leaving = True  # a store that settles at once may give the lane up
        self._unheard += 1
        self._expect(_Told(settlement, ended, settlement.next_id, at), self._settler.send(settlement), at)
        self._hear_what_came()

    def take_on(self, ended: Ended, settlement: Settlement, settling: Settling, at: float) -> None:
        """Hear of what somebody else has sent, as the last thing in this lane so far."""
        if self._course is not None:
            self._leave_course()
        self._gives_up = not settlement.begun
        self._unheard += 1
        self._expect(_Told(settlement, ended, settlement.next_id, at), settling, at)

    @property
    def empty(self) -> bool:
        """Whether all that was sent has been answered."""
        return not self._unheard and not self._gone

    def has_unasked(self) -> bool:
        """Whether anything was sent of which only a later answer will tell. Leaves the course."""
        if self._course is not None:
            self._leave_course()
        return bool(self._unasked)

    def hear_arrived(self) -> None:
        """Take in the answers that are there, and see to it that everything has one."""
        if self._course is not None:
            self._leave_course()
        self._ask()
        self._hear_sent()

    def hear_all(self) -> None:
        """Take in all answers, waiting for them."""
        while self._course is not None and (heard := self._course.hear()):
            self._pass(heard)
        if self._course is not None:
            self._leave_course()
        self._ask()
        while self._sent:
            self._hear_oldest()

    def abandon(self) -> None:
        """The lane is lost: take in what has been answered, and report the rest as what may run again."""
        if self._course is not None:
            self._leave_course()
        self._hear_sent()
        for told in self._take_unheard():
            self._settler.abandoned(self._lane, told.ended)

    def _expect(self, told: _Told, settling: Settling, asked: float) -> None:
        """The answer to this one comes next, and tells of those nobody has asked about."""
        before, self._unasked = self._unasked, []
        self._sent.append(_Sent(told.like, told.success, told.next_id, told.at, settling, asked, before))

    def _ask(self) -> None:
        """Ask what became of those nobody has asked about, by repeating the last: that changes nothing."""
        if self._unasked and not self._lane.lost:
            last = self._unasked.pop()
            self._expect(last, self._settler.send(last.settlement), self._lane.now())

    def _take_unheard(self) -> list[_Told]:
        """All that is on its way, oldest first, which is not looked for any more."""
        unheard = [told for sent in self._sent for told in sent.all()] + self._unasked
        self._sent.clear()
        self._unasked, self._unheard = [], 0
        return unheard

    def _hear_what_came(self) -> None:
        """Before the next job begins."""
        if self._course is not None:
            self._leave_course()
        self._hear_sent()
        self._lane.leaving = self._gives_up or (self._lane.leaving and not self._sent)

    def _hear_sent(self) -> None:
        while self._sent and self._sent[0].settling.arrived():
            self._hear_oldest()

    def _pass(self, heard: int) -> None:
        """So many routine answers more were heard."""
        if heard < 0:
            return
        untold, gone = self._untold, self._gone
        if not untold:
            self._tell_by = gone[0][2] + _LATE
        untold += gone[:heard]
        del gone[:heard]
        self.asked = untold[-1][2]
        if len(untold) >= _TOGETHER:
            self._tell_by = 0.0

    def _tell(self) -> None:
        """Tell of the settlements whose routine answers were heard."""
        self._tell_begun()
        course, (untold, self._untold), self._tell_by = self._course, (self._untold, []), inf
        if course is not None and untold:
            answers = course.answers()
            self._settled = answers[-1].ordinal
            self._settler.settled_together(self._lane, list(map(_SUCCESS, untold)), answers)

    def _leave_course(self) -> None:
        """What is on its way on the course is heard from now on like any other."""
        course, like = self._course, self._like
        if course is None or like is None:
            return
        self._tell()
        self._course = self._like = None
        self.is_on_course = False
        left = [*starmap(partial(_Told, like), self._gone)]
        self._gone.clear()
        self._unheard += len(left)
        told = 0
        for settling, count in course.leave():
            told += count
            self._unasked += left[told - count : told]
            last = self._unasked.pop()
            self._expect(last, settling, last.at)
        self._unasked += left[told:]

    def _hear_oldest(self) -> None:
        sent = self._sent[0]
        try:
            answer = sent.settling.answer()
        except StorageError as error:
            log.warning("settling %s: %s", sent.settlement.job_id, error)
            self._repeat()
        else:
            self._sent.popleft()
            self._unheard -= len(sent.before) + 1
            self._hear_of(sent, answer, sent.asked, sent.before)

    def _repeat(self) -> None:
        """Tell the store again, from the oldest on, and wait each time.

        It goes by order: had a later one got through while an earlier one was lost, it would have been
        refused. So what became of the later ones is of no interest, but must not come afterwards. But where
        the last one gave the lane up, if it got there, the store knows of no others any more.
        """
        later = list(self._sent)[1:]
        unheard = self._take_unheard()
        for told in unheard:
            self._settler.delayed(told.settlement)
        for sent in later:
            with contextlib.suppress(StorageError):
                sent.settling.answer()
        if not unheard[-1].settlement.begun and self._ends_with(unheard):
            return
        for told in unheard:
            answer = None if self._lane.lost else self._settler.move_on(self._lane, told.settlement)
            if answer is None:
                self._settler.abandoned(self._lane, told.ended)
            else:
                self._take_in(told, answer, told.at)

    def _ends_with(self, unheard: Sequence[_Told]) -> bool:
        """Whether the last of these is settled, or the lane is lost; then all is known of the others. It is
        refused, and changes nothing, while any of them is not settled."""
        *before, last = unheard
        if not before or self._lane.lost:
            return False
        try:
            answer = self._settler.insist(self._lane, last.settlement)
        except StorageError:
            return False
        self._hear_of(last, answer, last.at, before)
        return True

    def _hear_of(self, last: _Told, answer: Settled, asked: float, before: Sequence[_Told]) -> None:
        """This was answered when it was asked for; it tells of those before it."""
        if answer.status is SettleStatus.FENCED:
            self._settler.fenced(self._lane)
            for told in (*before, last):
                self._settler.abandoned(self._lane, told.ended)
            return
        if before:
            self._tell_of(before, answer, asked)
        self._take_in(last, answer, asked)

    def _take_in(self, told: _Told, answer: Settled, asked: float) -> None:
        self._lane.leaving = self._gives_up or not answer.held
        late, ended = asked - told.at, told.ended
        self._settler.settled(self._lane, ended, replace(answer, now=answer.now - late) if late else answer)
        self._latest, self._settled = (ended, answer), answer.ordinal or settled_before(answer)
        self.asked = asked
        self._hear(answer)

    def _tell_of(self, before: Sequence[_Told], answer: Settled, asked: float) -> None:
        """Tell of those that have no answer of their own: all were on a course."""
        # When one was settled is known by the time since it was sent: a long job may have come between.
        answers = [
            replace(known, now=answer.now - (asked - told.at))
            for told, known in zip(before, known_by(answer, len(before), self._settled), strict=True)
        ]
        ends = [told.success for told in before]
        self._settler.settled_together(self._lane, ends, answers)
        # The lane says that it has changed, too, where others are to hear of an end elsewhere.
        if answer.change != before[0].like.change:
            self._settler.relay(self._lane)
