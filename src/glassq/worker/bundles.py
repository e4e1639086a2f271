"""Ends in short turns that are sent together: a message for several lanes, where one for each costs more."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from itertools import compress
from operator import not_, or_
from typing import Any, Final, Protocol

import msgspec

from glassq.errors import StorageError
from glassq.model.clock import Clock
from glassq.model.leases import Lease, Settled, Settlement, SettleStatus
from glassq.model.several import Given, Several
from glassq.model.turnends import TurnEnds
from glassq.settling import Settling, Together
from glassq.storage import KEPT_SETTLEMENTS
from glassq.worker.attempt import Ended, Success
from glassq.worker.begun import Untold
from glassq.worker.holdings import HeldLane
from glassq.worker.options import WorkerOptions
from glassq.worker.settle import Settler

BRIEF: Final = 0.001
"""Seconds: a job that ran for longer is settled by itself, and no end waits for longer while others run."""
_MOST: Final = 16
"""Ends in one message. More would cost less, but so many lanes run their job again after a kill."""


class Held(Protocol):
    """A stay in a lane, as far as it is known when it is over."""

    ran: float

    @property
    def held(self) -> HeldLane:
        """The lane."""
        ...


class Stay(Held, Protocol):
    """One whose ends are sent with those of others."""

    paused: bool

    @property
    def hears_alone(self) -> bool:
        """Whether it has heard of an end by itself: then of all that follow, too, in their order."""
        ...

    def abandon(self, ended: Ended) -> None:
        """Its lane is lost, and this end was not sent."""
        ...

    def hear_of(self, ended: Ended, settlement: Settlement, settling: Settling, at: float) -> None:
        """Hear by itself what was sent together, and see to whatever that was."""
        ...


class GoingOn(Protocol):
    """Stays of one thread that go on, and wait for that, the oldest end first."""

    def popleft(self) -> Stay:
        """Take the first; `IndexError` where there is none."""
        ...

    def extendleft(self, stays: Iterable[Any], /) -> None:
        """Put these back, the last first."""
        ...

    def __len__(self) -> int: ...


class Left(Protocol):
    """Ends that were sent in lanes of one queue, and of which something is still to be heard."""

    @property
    def stays(self) -> Sequence[Held]:
        """In which stays they are."""
        ...

    @property
    def over(self) -> Sequence[Held]:
        """Which of these end with that."""
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

    def is_settled(self) -> bool:
        """Whether it is known already that nothing of it has to be repeated in a stay that goes on. Any
        thread may ask."""
        ...

    def leave(self) -> None:
        """Hear of everything that was sent, and see to whatever that was."""
        ...


class Ends(msgspec.Struct, frozen=True):
    """Ends of jobs, in columns: in each stay one has succeeded, at that time by the local clock. It was the
    last, or goes on with the job that is next."""

    stays: list[Stay]
    successes: list[Success]
    at: list[float]
    next_ids: list[str | None]

    @classmethod
    def none(cls) -> Ends:
        """None yet."""
        return cls([], [], [], [])

    @property
    def go_on(self) -> bool:
        """Whether any of the stays does."""
        return self.next_ids.count(None) < len(self.next_ids)

    def over(self) -> list[Stay]:
        """The stays that do not."""
        return [stay for stay, next_id in zip(self.stays, self.next_ids, strict=True) if next_id is None]

    def lanes(self) -> list[HeldLane]:
        """Those of the stays."""
        return [stay.held for stay in self.stays]

    def those(self, chosen: Sequence[bool]) -> Ends:
        """Those that are chosen."""
        return Ends(
            [*compress(self.stays, chosen)],
            [*compress(self.successes, chosen)],
            [*compress(self.at, chosen)],
            [*compress(self.next_ids, chosen)],
        )


class Bundle:
    """One thread's lanes in each of which a plain job ran that was quick and succeeded, and of which that is
    not sent yet: their turns are over, or go on once it is.

    All are of one queue, in the order in which they ran. The death of the worker is blamed on all that began
    in a bundle (`Terms.together`), so the store need not be told before each. The thread puts them in, and
    sends before it does anything else; while it is in user code, another one sends what is due.
    """

    def __init__(
        self, settler: Settler, clock: Clock, most: int, left: deque[Left], going_on: GoingOn
    ) -> None:
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
        self.sent = 0
        """How many times all was sent."""
        self.going_on = going_on
        self._put_at = 0.0

    def put(self, stay: Stay, ended: Success, at: float, next_id: str | None = None) -> int:
        """Keep the end of a job that has succeeded, of which no more is to be told. The turn ends with it, or
        goes on with the next one: that may begin when `sent` is not what is returned any more."""
        with self._lock:
            ends = self.ends
            times = ends.at
            ends.stays.append(stay)
            ends.successes.append(ended)
            times.append(at)
            ends.next_ids.append(next_id)
            self._put_at = at
            self.is_due = len(times) >= self._most or at - times[0] >= BRIEF
            return self.sent

    def takes(self, queue: str) -> bool:
        """Whether an end in this queue may come to what there is: it is of the same queue, and not
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

    def take_away(self, patience: float) -> list[Stay]:
        """The stays that go on, where their thread has not put anything here for so many seconds, once all
        that has ended in them is settled: only their own thread repeats what is not."""
        put_at = self._put_at
        if not self.going_on or self._clock.monotonic() - put_at < patience:
            return []
        self.send_if_old(0)
        if not all(left.is_settled() for left in self._left.copy()):
            return []
        taken: list[Stay] = []
        with suppress(IndexError):  # its thread may be back, and takes some of them itself
            while True:
                taken.append(self.going_on.popleft())
        if self._put_at != put_at:  # it is, and there is more that has ended
            self.going_on.extendleft(reversed(taken))
            return []
        return taken

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
            self.sent += 1
            return
        next_ids = ends.next_ids if ends.go_on else None
        begun = None if begins is None or ends.next_ids[-1] else begins(lanes[-1].lease.queue)
        settlements = TurnEnds(
            [lane.lease for lane in lanes], [success.job.id for success in ends.successes], begun, next_ids
        )
        for stay in ends.over() if next_ids else ends.stays:
            stay.held.leaving = True  # a store that settles at once gives the lane up
        # order: on the wire when this returns; before that nobody can be given any of these lanes, and no
        # next job of them begins.
        sent = self._settler.send_together(settlements)
        self._left.append(Message(self._settler, ends, settlements, sent))
        self.sent += 1


class Message:
    """Ends that were sent together, or not at all. Belongs to the thread whose lanes they are of."""

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
        self.over = ends.over() if ends.go_on else ends.stays
        self.lease = self.stays[0].held.lease
        self.paused = False

    def heard(self) -> bool:
        """See `Left.heard`."""
        return self._sent is None or self._sent.arrived()

    def is_settled(self) -> bool:
        """See `Left.is_settled`."""
        if self._sent is None or not self._sent.arrived():
            return False
        answers = self._answers(self._sent)
        return answers is not None and _are_routine(answers)

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
        ends, alone = self._ends, [stay.hears_alone for stay in self.stays]
        if ends.go_on:
            alone = list(map(or_, alone, _differ(ends.next_ids, answers)))
        if True not in alone:
            self._tell_of(ends, answers)
            return ()
        if False in alone:
            others = list(map(not_, alone))
            self._tell_of(ends.those(others), Given([*compress(answers, others)]))
        return compress(range(len(alone)), alone)

    def _tell_of(self, ends: Ends, answers: Several[Settled]) -> None:
        lanes = ends.lanes()
        left = [stay.held for stay in ends.over()] if ends.go_on else lanes
        self._settler.settled_each(lanes, ends.successes, answers, left)

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


def _differ(next_ids: Sequence[str | None], answers: Several[Settled]) -> Iterable[bool]:
    """Of which that were to go on that is not all which was answered: the lane is held, and as it was
    granted."""
    held, changes = answers.column("held"), answers.column("change")
    each = zip(next_ids, held, changes, strict=True)
    return [next_id is not None and (change != 0 or not is_held) for next_id, is_held, change in each]


class Bundles:
    """The bundles of one worker. A thread's bundle is sent by another one when it has become old.

    A thread has no more ends of which it has not heard than `most_left`: half of them may be in its bundle
    while the other half is on its way.
    """

    def __init__(self, settler: Settler, clock: Clock, options: WorkerOptions) -> None:
        self._settler = settler
        self._clock = clock
        self.most_unheard = options.most_unheard
        """Messages at most of which a thread has not heard when a lane's next job begins: so many of its ends
        are on their way then, as one message has one of each lane."""
        self.most_left = max(1, min(2 * options.max_in_flight, KEPT_SETTLEMENTS // options.concurrency))
        self._most = max(1, min(self.most_left // 2, _MOST))
        self._lock = threading.Lock()
        self._open: set[Bundle] = set()

    def begin(self, left: deque[Left], going_on: GoingOn) -> Bundle:
        """A thread's bundle, from which messages come to what was `left`. Of what is `going_on` others may
        take away what waits for too long."""
        bundle = Bundle(self._settler, self._clock, self._most, left, going_on)
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

    def have_going_on(self) -> bool:
        """Whether any stays wait for their next jobs."""
        with self._lock:
            return any(bundle.going_on for bundle in self._open)

    def take_away(self, patience: float) -> list[Stay]:
        """The stays that wait for their next jobs behind one that has taken so many seconds."""
        with self._lock:
            bundles = tuple(self._open)
        return [stay for bundle in bundles for stay in bundle.take_away(patience)]
