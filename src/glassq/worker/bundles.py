"""Ends of short turns that are sent together: a message for several lanes, where one for each costs more."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Final, Protocol

import msgspec

from glassq.errors import StorageError
from glassq.model.clock import Clock
from glassq.model.leases import Lease, Leaving, Settled, Settlement, SettleStatus
from glassq.model.verdicts import Action
from glassq.settling import Settling, Together
from glassq.storage import KEPT_SETTLEMENTS
from glassq.worker.attempt import Ended, Success
from glassq.worker.begun import Begun, Untold
from glassq.worker.holdings import HeldLane
from glassq.worker.options import WorkerOptions
from glassq.worker.settle import Settler

BRIEF: Final = 0.001
"""Seconds: a job that ran for longer is settled by itself, and no end waits for longer while others run."""
_MOST: Final = 16
"""Ends in one message. More would save little, and as many lanes run their job again after a kill."""


_ACK, _YIELD = Action.ACK, Leaving.YIELD


class Stay(Protocol):
    """A stay in a lane, as far as the end of its turn goes."""

    ran: float
    paused: bool

    @property
    def held(self) -> HeldLane:
        """The lane."""
        ...

    @property
    def sent_before(self) -> bool:
        """Whether settlements were sent in it before its end, of which it has to hear first."""
        ...

    def abandon(self, ended: Ended) -> None:
        """Its lane is lost, and its end was not sent."""
        ...

    def hear_of(self, ended: Ended, settlement: Settlement, settling: Settling, at: float) -> None:
        """Hear by itself what was sent together, and see to whatever that was."""
        ...


class Left(Protocol):
    """Lanes of one queue that were left, and of whose ends something is still to be heard."""

    @property
    def stays(self) -> Sequence[Stay]:
        """Which they are."""
        ...

    @property
    def lease(self) -> Lease:
        """That of one of them."""
        ...

    @property
    def paused(self) -> bool:
        """Whether the store has said that nothing more of the queue is to begin."""
        ...

    def heard(self) -> bool:
        """Whether all that was sent has been answered. Does not wait."""
        ...

    def leave(self) -> None:
        """Hear of everything that was sent, and see to whatever that was."""
        ...


class _End(msgspec.Struct, frozen=True):
    """The end of a lane's turn: its last job has succeeded, at this time by the local clock."""

    stay: Stay
    ended: Success
    at: float


_STAY: Callable[[_End], Stay] = attrgetter("stay")
_HELD: Callable[[_End], HeldLane] = attrgetter("stay.held")
_SENT_BEFORE: Callable[[Stay], bool] = attrgetter("sent_before")
_LOST: Callable[[_End], bool] = attrgetter("stay.held.lost")
_LEASE_AND_JOB: Callable[[_End], tuple[Lease, str]] = attrgetter("stay.held.lease", "ended.job.id")
_SUCCESS: Callable[[_End], Success] = attrgetter("ended")


class Bundle:
    """One thread's lanes of which each ran one plain job that was quick and succeeded: their turns are over,
    and the ends not sent yet.

    All are of one queue, in the order in which they ran. The death of the worker is blamed on all that began
    in a bundle (`Terms.together`), so the store need not be told before each. The thread puts them in, and
    sends before it does anything else; while it is in user code, another one sends what is due.
    """

    def __init__(self, settler: Settler, clock: Clock, most: int, left: deque[Left]) -> None:
        self._settler = settler
        self._clock = clock
        self._most = most
        self._left = left
        self._lock = threading.Lock()
        self.untold = Untold()
        """The jobs that began, of which those who are patient are told later."""
        self.ends: list[_End] = []
        """What is to be sent."""
        self.is_due = False
        """Whether it is full, or has waited for long enough."""

    def begun(self, attempts: Sequence[Begun]) -> None:
        """A job has begun that may come into it: those who are patient are told later."""
        self.untold += attempts

    def put(self, stay: Stay, ended: Success, at: float) -> None:
        """Keep the end of a turn, whose last job has succeeded, of which no more is to be told."""
        with self._lock:
            ends = self.ends
            ends.append(_End(stay, ended, at))
            self.is_due = len(ends) >= self._most or at - ends[0].at >= BRIEF

    def takes(self, queue: str) -> bool:
        """Whether the end of a turn in this queue may come to what there is: it is of the same queue, and not
        due."""
        ends = self.ends
        return not ends or (not self.is_due and ends[0].stay.held.lease.queue == queue)

    def send(self, begins: Callable[[str], Lease | None] | None = None) -> None:
        """Send what there is, and tell what began; `begins` says which lane of the queue begins with that."""
        with self._lock:  # also to see what another thread has sent
            if self.ends:
                self._send(begins)
        self.tell()

    def send_if_old(self, patience: float) -> bool:
        """Send what has waited for so many seconds, in place of the thread it belongs to; whether anything is
        still to be sent."""
        with self._lock:
            if self.ends and self._clock.monotonic() - self.ends[0].at >= patience:
                self._send(None)
            return bool(self.ends)

    def tell(self) -> None:
        """Tell the patient observers what began."""
        if self.untold:
            begun = self.untold.copy()
            self.untold.clear()
            self._settler.begun_together(begun)

    def _send(self, begins: Callable[[str], Lease | None] | None) -> None:
        ends, self.ends, self.is_due = self.ends, [], False
        if any(map(_LOST, ends)):  # as whatever ends in a lane that is no longer this worker's
            lost = [end for end in ends if end.stay.held.lost]
            self._left.append(Message(self._settler, lost, (), None))
            ends = [end for end in ends if end not in lost]
        if not ends:
            return
        settlements = [
            Settlement(lease=lease, job_id=job_id, action=_ACK, leaving=_YIELD)
            for lease, job_id in map(_LEASE_AND_JOB, ends)
        ]
        begun = None if begins is None else begins(settlements[-1].lease.queue)
        if begun is not None:
            settlements[-1] = msgspec.structs.replace(settlements[-1], begins=begun)
        for held in map(_HELD, ends):
            held.leaving = True  # a store that settles at once gives the lane up
        # order: on the wire when this returns; before that nobody can be given any of these lanes.
        sent = self._settler.send_together(settlements)
        self._left.append(Message(self._settler, ends, settlements, sent))


class Message:
    """Ends of turns that were sent together, or not at all. Belongs to the thread whose lanes they are of."""

    def __init__(
        self,
        settler: Settler,
        ends: Sequence[_End],
        settlements: Sequence[Settlement],
        sent: Together | None,
    ) -> None:
        self._settler = settler
        self._ends = ends
        self._settlements = settlements
        self._sent = sent
        self.stays = list(map(_STAY, ends))
        self.lease = self.stays[0].held.lease
        self.paused = False

    def heard(self) -> bool:
        """See `Left.heard`."""
        return self._sent is None or self._sent.arrived()

    def leave(self) -> None:
        """See `Left.leave`. Routine answers are told together; where one is not, each lane hears its own."""
        if self._sent is None:
            for end in self._ends:
                end.stay.abandon(end.ended.ended())
            return
        alone: Sequence[int] = range(len(self._ends))
        answers = self._answers(self._sent)
        if answers and _are_routine(answers):
            self.paused = any(map(_PAUSED, answers))
            before = list(map(_SENT_BEFORE, self.stays))
            alone = [place for place in alone if before[place]] if any(before) else ()
            self._tell(answers, alone)
        for place in alone:
            end = self._ends[place]
            end.stay.hear_of(end.ended.ended(), self._settlements[place], self._sent[place], end.at)
            self.paused = self.paused or end.stay.paused

    def _tell(self, answers: Sequence[Settled], alone: Sequence[int]) -> None:
        """Tell of all but those that hear of it alone."""
        ends = self._ends
        if alone:
            together = [place for place in range(len(ends)) if place not in alone]
            ends, answers = [ends[place] for place in together], [answers[place] for place in together]
        if ends:
            self._settler.settled_each([*map(_HELD, ends)], [*zip(map(_SUCCESS, ends), answers, strict=True)])

    @staticmethod
    def _answers(sent: Together) -> Sequence[Settled]:
        """What was answered, waited for; nothing where that failed: each lane meets the failure itself."""
        try:
            return sent.answers()
        except StorageError:
            return ()


_STATUS, _PAUSED = attrgetter("status"), attrgetter("paused")
_RELAY, _ENDED = attrgetter("relay"), attrgetter("ended")
_DONE = SettleStatus.DONE


def _are_routine(answers: Sequence[Settled]) -> bool:
    """Whether each says of its job that it is settled, and nothing else that somebody has to be told."""
    done = list(map(_STATUS, answers)).count(_DONE) == len(answers)
    return done and not (any(map(_RELAY, answers)) or any(map(_ENDED, answers)))


class Bundles:
    """The bundles of one worker. A thread's bundle is sent by another one when it has become old.

    A thread has no more lanes of which it has not heard than `most_left`: half of them may be in its bundle
    while the other half is on its way.
    """

    def __init__(self, settler: Settler, clock: Clock, options: WorkerOptions) -> None:
        self._settler = settler
        self._clock = clock
        self.most_left = max(1, min(2 * options.max_in_flight, KEPT_SETTLEMENTS // options.concurrency))
        self._most = max(1, min(self.most_left // 2, _MOST))
        self._lock = threading.Lock()
        self._open: set[Bundle] = set()

    def begin(self, left: deque[Left]) -> Bundle:
        """A thread's bundle, from which messages come to what was `left`."""
        bundle = Bundle(self._settler, self._clock, self._most, left)
        with self._lock:
            self._open.add(bundle)
        return bundle

    def end(self, bundle: Bundle) -> None:
        """Its thread is done."""
        with self._lock:
            self._open.discard(bundle)

    def send_old(self, patience: float = BRIEF) -> bool:
        """Send what has waited for so many seconds; whether anything is still to be sent."""
        with self._lock:
            bundles = tuple(self._open)
        waiting = [bundle.send_if_old(patience) for bundle in bundles if bundle.ends]
        return any(waiting)
