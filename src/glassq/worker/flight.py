"""Settlements nobody waits for: sent in their order, heard of in their order, repeated in their order."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable

import msgspec

from glassq.errors import StorageError
from glassq.model.leases import Leaving, Settled, Settlement, SettleStatus
from glassq.shielding import Log
from glassq.storage import Settling
from glassq.worker.attempt import Ended
from glassq.worker.holdings import HeldLane
from glassq.worker.settle import Settler

log = Log("glassq.worker")


class _Sent(msgspec.Struct, frozen=True):
    """A settlement on its way, with the attempt it ends. `at` is when it was sent, by the local clock."""

    ended: Ended
    settlement: Settlement
    settling: Settling
    at: float


class InFlight:
    """One lane's settlements that were sent and not heard of yet, oldest first.

    `hear` is called with each answer, and when what it answers was sent. A lane that is lost meanwhile is
    marked so, and what is left then is reported as abandoned. Belongs to the lane's thread.
    """

    def __init__(
        self, settler: Settler, lane: HeldLane, *, most: int, hear: Callable[[Settled, float], None]
    ) -> None:
        self._settler = settler
        self._lane = lane
        self._most = most
        self._hear = hear
        self._sent: deque[_Sent] = deque()
        self._gives_up = False

    def send(self, ended: Ended, settlement: Settlement, at: float) -> None:
        """Put one more on the wire, once no more than the most are on their way with it, and take in the
        answers that are there by then."""
        while len(self._sent) >= self._most:
            self._hear_oldest()
        if self._lane.lost:
            self._settler.abandoned(self._lane, ended)
            return
        # order: on the wire when this returns, in this thread, before the lane's next job begins.
        self._gives_up = settlement.leaving is Leaving.YIELD
        self._lane.leaving = True  # a store that settles at once may give the lane up
        self._sent.append(_Sent(ended, settlement, self._settler.send(settlement), at))
        self.hear_arrived()
        self._lane.leaving = self._gives_up or (self._lane.leaving and not self._sent)

    @property
    def empty(self) -> bool:
        """Whether all that was sent has been answered."""
        return not self._sent

    def hear_arrived(self) -> None:
        """Take in the answers that are there."""
        while self._sent and self._sent[0].settling.arrived():
            self._hear_oldest()

    def hear_all(self) -> None:
        """Take in all answers, waiting for them."""
        while self._sent:
            self._hear_oldest()

    def abandon(self) -> None:
        """The lane is lost: take in what has been answered, and report the rest as what may run again."""
        self.hear_arrived()
        while self._sent:
            self._settler.abandoned(self._lane, self._sent.popleft().ended)

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
        self._hear(answer, sent.at)
