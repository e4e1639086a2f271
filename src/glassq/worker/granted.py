"""A granted lane: what it is while it waits for a thread, and its turn where that is one plain job."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from glassq.model.leases import Grant, Lease, Settlement
from glassq.model.waits import FAIRNESS, Waits
from glassq.policy.decide import ACKED
from glassq.settling import Settling
from glassq.worker.attempt import Ended
from glassq.worker.bundles import BRIEF, Bundle
from glassq.worker.holdings import HeldLane
from glassq.worker.lanes import LaneRun
from glassq.worker.plain import PlainAttempts
from glassq.worker.services import Services, begin, may_begin


class Granting(msgspec.Struct, frozen=True):
    """What lanes of one queue have in common that a claim has granted. So many jobs were `asked` for with
    each; `heard` is what the store's clock said then, and when by this process's."""

    services: Services
    heard: tuple[float, float]
    asked: int


class GrantedLane(msgspec.Struct, eq=False):
    """One lane of a claim, whose `turn` is so many jobs. It is served `at_once`, or waits for a thread.

    Nearly all turns of one job end here: the job is plain, quick and succeeds, and its end is left to a
    bundle. One that comes alone begins here, too. From where that is not so, and in any longer turn, a
    `LaneRun` goes on. Belongs to the thread that serves it.
    """

    common: Granting
    held: HeldLane
    grant: Grant
    turn: int
    at_once: bool
    others: bool
    """Whether other lanes wait, as far as is known."""
    is_short: bool
    """Whether it may be left with other lanes: its turn is one job, or ends with the few it was granted with
    and may run ahead; nothing is noted of the first."""
    has_begun: bool
    """Whether the store takes its head as begun."""
    waits: Waits
    """What its jobs have waited for until they are served."""
    ran: float = 0.0
    """Seconds its only job ran for."""
    paused: bool = False
    """Whether the store has said that nothing more of the queue is to begin."""
    sent_before: bool = False
    """See `bundles.Stay`: there is nothing before the end of its only job."""
    run_on: LaneRun | None = None

    @classmethod
    def of(
        cls, common: Granting, lane: HeldLane, grant: Grant, turn: int, *, at_once: bool, others: bool
    ) -> GrantedLane:
        """As it was granted."""
        jobs = len(grant.jobs)
        few = turn == 1 or (jobs < common.asked and jobs <= min(turn, grant.ahead + 1))
        is_short = few and grant.begun and grant.is_fresh
        return cls(common, lane, grant, turn, at_once, others, is_short, grant.begun, grant.waits)

    @property
    def lease(self) -> Lease:
        """The lease of the lane."""
        return self.held.lease

    @property
    def place(self) -> tuple[str, str]:
        """Its lane, whatever the lease: two stays in it are never served at the same time."""
        lease = self.held.lease
        return lease.queue, lease.lane

    @property
    def since(self) -> float:
        """When it was claimed, by the local clock."""
        return self.common.heard[1]

    def begin_after(self, queue: str) -> Lease | None:
        """Take it as begun by a settlement in a lane of this queue; None when that has nothing to say."""
        if self.held.lease.queue != queue:
            return None
        self.others = True  # the lane before goes back to the ready ones
        if self.has_begun:
            return None
        self.has_begun = True
        return self.held.lease

    def run(self, follow: Callable[[str], Lease | None], bundle: Bundle) -> bool:
        """Serve the lane until it is empty, given up or lost; or leave it to the `bundle`, which is what True
        says. `follow` takes the lane that is served after it, and returns its lease when the end of a turn in
        this queue has to say that it begins. What was not left to the bundle is left by `stay`."""
        if not (self.at_once and self.grant.begun):
            self._has_waited()
        if not (self.has_begun or begin(self.common.services, self.held)):
            return False
        brief = self.is_short and self._is_crowded()
        if self.is_short and len(self.grant.jobs) == 1 and (brief or self._is_quick()):
            if not brief:
                bundle.send()
            return self._run_only(follow, bundle)
        return self.stay().run(follow, bundle, briefly=brief)

    def stay(self) -> LaneRun:
        """The stay in this lane, for whatever is not done here."""
        stay = self.run_on
        if stay is None:
            stay = self.run_on = LaneRun(
                self.common.services,
                self.held,
                self.grant,
                waits=self.waits,
                heard=self.common.heard,
                others=self.others,
                turn=self.turn,
                asked=self.common.asked,
            )
        return stay

    def _run_only(self, follow: Callable[[str], Lease | None], bundle: Bundle) -> bool:
        """Serve its only job, and leave its end to the bundle if it has ended as nearly all do."""
        with_, lane = self.common.services, self.held
        if not may_begin(with_, lane):
            return self.stay().run(follow, bundle)  # which finds the same
        plain = PlainAttempts(with_.attempts, lane)
        ended = plain.perform(self.grant.jobs[0], self.common.heard, self.waits)
        if ended is None:
            plain.tell()  # that it may begin was said, and is asked once: it goes the long way
            return self.stay().run(follow, bundle, begun=True)
        self.ran = ended.ran.seconds
        if self.ran > BRIEF:
            with_.attempts.plain.took(lane.lease.queue, self.ran)
        now = with_.clock.monotonic()
        bundle.begun(plain.untold())
        if self._is_routine(ended, now):
            bundle.put(self, ended, now)
            return True
        return self.stay().go_on_after(ended, now, follow, bundle)

    def _is_routine(self, ended: Ended, now: float) -> bool:
        """Whether a plain job has ended as nearly all do, while others wait, and nothing else is to be done
        first: this worker does not stop, nor has this process just changed the queue."""
        with_ = self.common.services
        return (
            ended.verdict is ACKED
            and ended.ran.seconds <= BRIEF
            and now - self.common.heard[1] < with_.options.patience
            and not with_.storage.is_steered(self.held.lease.queue)
            and not with_.stopping()
            and self._is_crowded()
        )

    def _is_quick(self) -> bool:
        """Whether its job is likely to be quick. What is told of a beginning is not to wait for the end of a
        long one; and what is not told before begins sooner, as an idle worker is woken for it."""
        return self.common.services.attempts.plain.are_quick(self.held.lease.queue)

    def _is_crowded(self) -> bool:
        return self.others or self.common.services.crowded(self.held.lease.queue)

    def _has_waited(self) -> None:
        """It has waited here, for a thread."""
        said, at = self.common.heard
        now = said + self.common.services.clock.monotonic() - at
        self.waits = self.waits.and_then(said, now, FAIRNESS)

    def abandon(self, ended: Ended) -> None:
        """The lane is lost, and its end was not sent."""
        self.common.services.settler.abandoned(self.held, ended)

    def hear_of(self, ended: Ended, settlement: Settlement, settling: Settling, at: float) -> None:
        """Its end was sent with others: hear of it here, whatever was answered."""
        stay = self.stay()
        stay.hear_of(ended, settlement, settling, at)
        self.paused = stay.paused

    def fail(self) -> None:
        """What should not happen has happened: the lane waits for the end of its lease."""
        self.common.services.settler.lose(self.held, "failed")

    def give_way(self) -> None:
        """This worker was given the lane again: its store knows nothing of this stay any more, because its
        lease ended or was lost with other data. Nothing more begins in it."""
        if not self.held.leaving:  # else a settlement is on its way, whose answer says what became of it
            self.common.services.settler.lose(self.held, "taken_over")
