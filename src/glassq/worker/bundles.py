"""Ends of short turns that are sent together: a message for several lanes, where one for each costs more."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from itertools import compress
from operator import not_
from typing import Final, Protocol

import msgspec

from glassq.errors import StorageError
from glassq.model.clock import Clock
from glassq.model.leases import Lease, Settled, Settlement, SettleStatus
from glassq.model.several import Given, Several
from glassq.model.turnends import TurnEnds
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
"""Ends in one message. More would cost less, but so many lanes run their job again after a kill."""


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


class Ends(msgspec.Struct, frozen=True):
    """Ends of lanes' turns, in columns: in each stay the last job has succeeded, at that time by the local
    clock."""

    stays: list[Stay]
    successes: list[Success]
    at: list[float]

    @classmethod
    def none(cls) -> Ends:
        """None yet."""
        return cls([], [], [])

    def lanes(self) -> list[HeldLane]:
        """Those of the stays."""
        return [stay.held for stay in self.stays]

    def those(self, chosen: Sequence[bool]) -> Ends:
        """Those that are chosen."""
        return Ends(
            [*compress(self.stays, chosen)], [*compress(self.successes, chosen)], [*compress(self.at, chosen)]
        )


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
        self.ends = Ends.none()
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
            times = ends.at
            ends.stays.append(stay)
            ends.successes.append(ended)
            times.append(at)
            self.is_due = len(times) >= self._most or at - times[0] >= BRIEF

    def takes(self, queue: str) -> bool:
        """Whether the end of a turn in this queue may come to what there is: it is of the same queue, and not
        due."""
        stays = self.ends.stays
        return not stays or (not self.is_due and stays[0].held.lease.queue == queue)

    def send(self, begins: Callable[[str], Lease | None] | None = None) -> None:
        """Send what there is, and tell what began; `begins` says which lane of the queue begins with that."""
        with self._lock:  # also to see what another thread has sent
            if self.ends.stays:
                self._send(begins)
        self.tell()

    def send_if_old(self, patience: float) -> bool:
        """Send what has waited for so many seconds, in place of the thread it belongs to; whether anything is
        still to be sent."""
        with self._lock:
            since = self.ends.at
            if since and self._clock.monotonic() - since[0] >= patience:
                self._send(None)
            return bool(self.ends.stays)

    def tell(self) -> None:
        """Tell the patient observers what began."""
        if self.untold:
            begun = self.untold.copy()
            self.untold.clear()
            self._settler.begun_together(begun)

    def _send(self, begins: Callable[[str], Lease | None] | None) -> None:
        ends, self.ends, self.is_due = self.ends, Ends.none(), False
        lanes = ends.lanes()
        lost = [lane.lost for lane in lanes]
        if True in lost:  # as whatever ends in a lane that is no longer this worker's
            self._left.append(Message(self._settler, ends.those(lost)))
            ends = ends.those(list(map(not_, lost)))
            lanes = ends.lanes()
        if not lanes:
            return
        begun = None if begins is None else begins(lanes[-1].lease.queue)
        settlements = TurnEnds(
            [lane.lease for lane in lanes], [success.job.id for success in ends.successes], begun
        )
        for held in lanes:
            held.leaving = True  # a store that settles at once gives the lane up
        # order: on the wire when this returns; before that nobody can be given any of these lanes.
        sent = self._settler.send_together(settlements)
        self._left.append(Message(self._settler, ends, settlements, sent))


class Message:
    """Ends of turns that were sent together, or not at all. Belongs to the thread whose lanes they are of."""

    def __init__(
        self,
        settler: Settler,
        ends: Ends,
        settlements: Sequence[Settlement] = (),
        sent: Together | None = None,
    ) -> None:
        self._settler = settler
        self._ends = ends
        self._settlements = settlements
        self._sent = sent
        self.stays = ends.stays
        self.lease = self.stays[0].held.lease
        self.paused = False

    def heard(self) -> bool:
        """See `Left.heard`."""
        return self._sent is None or self._sent.arrived()

    def leave(self) -> None:
        """See `Left.leave`. Routine answers are told together; where one is not, each lane hears its own."""
        ends, sent = self._ends, self._sent
        if sent is None:
            for stay, success in zip(ends.stays, ends.successes, strict=True):
                stay.abandon(success.ended())
            return
        alone: Iterable[int] = range(len(sent))
        answers = self._answers(sent)
        if answers is not None and _are_routine(answers):
            self.paused = answers.common("paused") is not False
            alone = self._tell(answers)
        for place in alone:
            stay = ends.stays[place]
            stay.hear_of(ends.successes[place].ended(), self._settlements[place], sent[place], ends.at[place])
            self.paused = self.paused or stay.paused

    def _tell(self, answers: Several[Settled]) -> Iterable[int]:
        """Tell of all but those that have to hear of it alone. Returns which these are."""
        ends, alone = self._ends, [stay.sent_before for stay in self.stays]
        if True not in alone:
            self._settler.settled_each(ends.lanes(), ends.successes, answers)
            return ()
        if False in alone:
            others = list(map(not_, alone))
            ends, answers = ends.those(others), Given([*compress(answers, others)])
            self._settler.settled_each(ends.lanes(), ends.successes, answers)
        return compress(range(len(alone)), alone)

    @staticmethod
    def _answers(sent: Together) -> Several[Settled] | None:
        """What was answered, waited for; None where that failed: each lane meets the failure itself."""
        try:
            return sent.answers()
        except StorageError:
            return None


def _are_routine(answers: Several[Settled]) -> bool:
    """Whether each says of its job that it is settled, and nothing else that somebody has to be told."""
    return (
        answers.common("status") is SettleStatus.DONE
        and answers.common("relay") is False
        and answers.common("ended") == ()
    )


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
        waiting = [bundle.send_if_old(patience) for bundle in bundles if bundle.ends.stays]
        return any(waiting)
