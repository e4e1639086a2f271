"""Taking lanes for a worker: when to claim, how much, and what is done with what was granted."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from operator import attrgetter

import msgspec

from glassq.errors import StorageError
from glassq.model.leases import Claimed, Grant
from glassq.shielding import Log
from glassq.storage import Doorbell, Terms
from glassq.worker.assignment import Assignment
from glassq.worker.backoff import RetryPause
from glassq.worker.beating import Beats
from glassq.worker.bundles import Bundles, Held
from glassq.worker.comings import Comings
from glassq.worker.granted import GrantedLane, Granting
from glassq.worker.holdings import HeldLane, Holdings
from glassq.worker.pool import LanePool
from glassq.worker.reach import PATIENCE, Reach
from glassq.worker.services import Services
from glassq.worker.shares import Shares

log = Log("glassq.worker")

_LONGEST_WAIT = 5.0
"""Seconds between two turns of an idle worker, which is heard of then; and between two claims, the safety net
under the doorbell."""
_PER_QUEUE = 0.15
_RAREST = 15.0
"""A claim looks into every queue: where these are many, it is so many seconds for each of them, and so many
for all at most."""
_MOMENT = 0.002
"""Seconds in which lanes that wait behind quick jobs are taken up."""
_LOOK = 0.2
"""Seconds between two looks of a worker without a free slot at where else lanes wait: queues, or shards."""
_LEFT = 0.1
"""Seconds between two looks of a worker with assigned keys that has free slots and left lanes to others."""


_QUEUE: Callable[[Grant], str] = attrgetter("lease.queue")


class _Plan(msgspec.Struct, frozen=True):
    """What a claim asks for, as things stood when it was made."""

    queues: tuple[str, ...]
    free: int
    more: int
    terms: Mapping[str, Terms]


class Claiming:
    """Belongs to the thread that has the watch, but for `freed` and `handing_out`. `give_back` is called with
    lanes that cannot be served after all, `withdraw` to give back all that wait for a thread, and `rest` to
    wait where the doorbell cannot.

    After a claim that left nothing nobody has to look again: whatever becomes ready from then on rings.
    """

    def __init__(
        self,
        services: Services,
        *,
        queues: Callable[[], tuple[str, ...]],
        doorbell: Doorbell,
        pool: LanePool[GrantedLane],
        holdings: Holdings,
        shares: Shares,
        reach: Reach,
        assignment: Assignment | None,
        bundles: Bundles,
        beats: Beats,
        random: Callable[[], float],
        rest: Callable[[float], object],
        give_back: Callable[[Sequence[Held]], None],
        withdraw: Callable[[], None],
    ) -> None:
        self._with = services
        self._clock = services.clock
        self._worker = str(services.owner)
        self._queues = queues
        self._doorbell = doorbell
        self._pool = pool
        self._holdings = holdings
        self._shares = shares
        self._reach = reach
        self._assignment = assignment
        self._bundles = bundles
        self._beats = beats
        self._give_back = give_back
        self._withdraw = withdraw
        self._pause = RetryPause(services.clock, random)
        self._rest = rest
        self._plan: _Plan | None = None
        self._looked = 0.0
        self._wanting = True
        """Whether lanes may have been left for want of a thread."""
        self._presses = True
        """Whether to claim again as soon as threads have taken up what waits here: there is more where that
        came from, or is likely to be."""
        self._again_at = 0.0
        self.under_way = False
        """Whether a claim is being made, or what it granted is handed out."""
        self.handing_out = threading.Lock()
        """Held meanwhile. Whoever is to keep from beginning what waits for a thread gets all of it with this,
        and gives it back as one: what is given back last is served first."""
        self.due: float | None = None
        """Seconds from the last claim until something is due, as the store said then."""

    def turn(self) -> None:
        """Wait until it is worth a claim, claim once, and put what was granted into the pool."""
        self.tell()
        self._wait_for_threads()
        if not (self._presses or self._is_called()):
            return
        if self._with.stopping():
            return
        self._presses = self._presses and bool(self._pool)
        try:
            wait = self.claim()
            self._pause.reset()
        except StorageError as error:
            wait = self._pause.next()
            log.warning("claiming: %s; trying again in %.2f s", error, wait)
        except Exception:  # licensed: top of a thread
            wait = self._pause.next()
            log.exception("claiming failed and is tried again in %.2f s", wait)
        self._again_at = self._clock.monotonic() + wait

    def freed(self) -> None:
        """A thread has nothing to do: there may be lanes that were left for want of one."""
        if self._wanting:
            self._doorbell.ring()
        else:
            self.tell()

    def tell(self) -> None:
        """Let those who watch know that this worker is at work, and what it holds."""
        self._beats.beat(busy=bool(self._pool))

    def claim(self) -> float:
        """Get lanes for the free threads, and for those that are soon free; returns the seconds until it is
        worth trying again."""
        self.under_way = self._wanting = True  # a thread that is free from here on is not counted yet
        try:
            with self.handing_out:
                return self._claim()
        finally:
            self.under_way = False

    def _planned(self, queues: tuple[str, ...], free: int, more: int) -> _Plan:
        ordered = self._shares.ordered(queues)
        return _Plan(
            ordered,
            free,
            more,
            self._shares.terms(ordered, more, together=self._with.options.max_crashes > 1),
        )

    def _plan_ahead(self) -> _Plan | None:
        """What the next claim asks for: whoever is woken for it is in a hurry. None where that may change
        before, with what is held or how fast things move. That more threads may be free by then matters
        little: lanes that are left come next."""
        queues, more, free = self._queues(), self._reach.lanes(), self._pool.free()
        if more or not (queues and free):
            return None
        plan = self._planned(queues, free, more)
        return None if self._shares.bounded else plan

    def _claim(self) -> float:
        plan, self._plan = self._plan, None
        sent, queues = self._clock.monotonic(), self._queues()
        if plan is None or len(plan.queues) != len(queues):
            more = self._reach.lanes()
            free = self._pool.free()
            if not queues:
                return _LONGEST_WAIT
            if not free + more:
                # Several queues or shards: a lane may have to make room for another one; nobody tells that.
                if not self._shares.several or sent - self._looked < _LOOK:
                    return _LOOK if self._shares.several else _LONGEST_WAIT
                self._looked = sent
            plan = self._planned(queues, free, more)
        queues, free, more = plan.queues, plan.free, plan.more
        options = self._with.options
        claimed = self._with.storage.claim(
            self._with.owner,
            queues,
            lanes=free + more,
            window=options.window,
            lease_seconds=options.lease_seconds,
            begin=free,
            ahead=options.max_in_flight if more else 0,
            terms=plan.terms,
        )
        self.due = claimed.next_due
        self._wanting = bool(claimed.others) or len(claimed.found) < len(queues)
        self._shares.look(claimed)
        self._take_on(claimed, sent + options.lease_seconds)
        longest = min(_RAREST, max(_LONGEST_WAIT, _PER_QUEUE * len(queues))) if free + more else _LOOK
        if self._assignment is not None and claimed.others and len(claimed.grants) < free:
            longest = _LEFT  # nobody rings again for lanes that were left
        return longest if claimed.next_due is None else min(longest, claimed.next_due)

    def _take_on(self, claimed: Claimed, deadline: float) -> None:
        """Let granted lanes wait for threads."""
        options, free = self._with.options, self._pool.free()
        self._reach.look(claimed)
        if claimed.grants and (claimed.others or len(claimed.grants) > free):
            self._presses = True
        lanes = [HeldLane(grant.lease, deadline, self._clock) for grant in claimed.grants]
        self._holdings.add(lanes)
        waiting: list[GrantedLane] = []
        heard = claimed.now, self._clock.monotonic()
        for queue, granted in groupby(claimed.grants, _QUEUE):
            grants = [*granted]
            come = Comings(self._worker, grants)
            if len(grants) == 1:  # as one event: fewer steps, and an idle worker is woken for one lane
                self._with.bus.emit(come.make(0))
            else:
                self._with.bus.emit_together(come)
            others = queue in claimed.others
            common = Granting(self._with, heard, min(options.window, self._shares.turn(queue)))
            turns = self._shares.turns_of(queue, [grant.lease.lane for grant in grants])
            first = len(waiting)
            waiting += [
                GrantedLane.of(common, lanes[place], grant, turn, at_once=place < free, others=others)
                for place, (grant, turn) in enumerate(zip(grants, turns, strict=True), first)
            ]
        try:
            for earlier in self._pool.put(waiting):
                earlier.give_way()
        except RuntimeError:
            log.exception("no thread for %d lanes; they are given back", len(waiting))
            self._give_back(waiting)

    def _wait_for_threads(self) -> None:
        """While lanes wait here, or ends to be sent, bells call for nothing. Where none is gone on with for a
        moment, all threads are called; what waited too long is given back: others may have free threads."""
        while not self._with.stopping():
            self._take_away()
            oldest = self._pool.oldest()  # first: a bundle grows only while lanes wait
            unsent = self._bundles.send_old()
            if not unsent and oldest is None:
                return
            steps = self._pool.steps
            if self._pool.wait_until_low(_MOMENT) and self._presses:
                return
            if self._pool.steps == steps:
                self._reach.forget()
            if oldest is not None and self._reach.is_late(oldest):
                self._withdraw()

    def _take_away(self) -> None:
        """Give back the lanes whose turns cannot go on, as another one's job keeps their thread."""
        held_up = self._bundles.take_away(PATIENCE)
        if held_up:
            self._give_back(held_up)
            self._pool.unfinished.difference_update(held_up)

    def _is_called(self) -> bool:
        """Wait for the bell, or until a claim or a heartbeat is due; whether to claim."""
        left = max(0.0, self._again_at - self._clock.monotonic())
        others_go_on = self._bundles.have_going_on()  # perhaps not for long, see `_take_away`
        try:
            self._doorbell.attend(self._queues())
            self._plan = self._plan_ahead()
            if others_go_on and left > PATIENCE:
                return self._doorbell.wait(PATIENCE)
            return self._doorbell.wait(min(left, _LONGEST_WAIT)) or left <= _LONGEST_WAIT
        except StorageError:  # the claim reports it, with its pauses
            self._rest(left)
        except Exception:  # licensed: top of a thread
            log.exception("waiting for the doorbell failed; looking again in a moment")
            self._rest(min(left, 1))
        return True
