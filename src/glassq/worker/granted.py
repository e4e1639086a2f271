"""A granted lane: what it is while it waits for a thread, and how its turn begins."""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter
from typing import Final

import msgspec

from glassq.model.leases import Grant, Lease, Settlement
from glassq.model.waits import Waits
from glassq.settling import Settling
from glassq.worker.attempt import Ended
from glassq.worker.bundles import BRIEF, Bundle
from glassq.worker.holdings import HeldLane
from glassq.worker.lanes import LaneRun
from glassq.worker.plain import PlainAttempt
from glassq.worker.services import Services, begin

SHORT_TURN: Final = 32
"""Jobs: more cost less by themselves than with others, a message for sixteen ends (see `LaneRun`)."""


class Granting(msgspec.Struct, frozen=True):
    """What lanes of one queue have in common that a claim has granted. So many jobs were `asked` for with
    each; `heard` is what the store's clock said then, and when by this process's."""

    services: Services
    heard: tuple[float, float]
    asked: int


class GrantedLane(msgspec.Struct, eq=False):
    """One lane of a claim, whose `turn` is so many jobs. It is served `at_once`, or waits for a thread.

    Nearly all short turns need no more than this: `Turns` makes the attempts, and leaves their ends to
    bundles. From where that is not so, and in any longer turn, a `LaneRun` goes on. Belongs to the thread
    that serves it.
    """

    common: Granting
    held: HeldLane
    grant: Grant
    turn: int
    at_once: bool
    others: bool
    """Whether other lanes wait, as far as is known."""
    is_short: bool
    """Whether it may be served with others: its turn is one job, or ends with the few it was granted with and
    may run ahead; nothing is noted of the first, and nothing but the usual was heard."""
    has_begun: bool
    """Whether the store takes its head as begun."""
    waits: Waits
    """What its jobs have waited for until they are served."""
    ran: float = 0.0
    """Seconds its jobs ran for."""
    attempt: PlainAttempt | None = None
    """That of its next job, when it is over and not told to anybody."""
    served: int = 0
    """Jobs before the next one, whose ends were left to a bundle."""
    sent_after: int = -1
    """How many times the bundle had been sent when it was given the last of these: it is to be once more
    before the next job begins."""
    paused: bool = False
    """Whether the store has said that nothing more of the queue is to begin."""
    run_on: LaneRun | None = None

    @classmethod
    def of(
        cls, common: Granting, lane: HeldLane, grant: Grant, turn: int, *, at_once: bool, others: bool
    ) -> GrantedLane:
        """As it was granted."""
        jobs, begun = len(grant.jobs), grant.begun
        ends_so = jobs < common.asked or jobs == turn
        few = turn == 1 or (ends_so and jobs <= min(turn, SHORT_TURN) and (jobs == 1 or grant.ahead > 0))
        is_short = few and begun and grant.is_fresh and (jobs == 1 or grant.change == 0)
        return cls(common, lane, grant, turn, at_once, others, is_short, begun, grant.waits)

    @property
    def lease(self) -> Lease:
        """The lease of the lane."""
        return self.held.lease

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

    def run(self, follow: Callable[[str], Lease | None], bundle: Bundle) -> None:
        """Serve the lane until it is empty, given up or lost, by its `stay`; what it left to bundles was
        heard of. `follow` takes the lane that is served after it, and returns its lease when the end of a
        turn in this queue has to say that it begins."""
        if self.attempt is not None:
            self._go_on_after(self.attempt, follow, bundle)
            return
        said, at = self.common.heard
        if not self.served:
            self.begins(self.common.services.clock.monotonic() + (said - at))
            if not (self.has_begun or begin(self.common.services, self.held)):
                return
        self.stay().run(follow, bundle)

    def begins(self, now: float) -> Waits:
        """It is served from now on (the store's clock): what its jobs have waited for, a thread included."""
        if not (self.at_once and self.grant.begun):
            self.waits = Waits(self.waits.told, self.common.heard[0], now)
        return self.waits

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
                served=self.grant.jobs[: self.served],
                ran=self.ran,
            )
            self.is_short = False
        return stay

    def _go_on_after(
        self, attempt: PlainAttempt, follow: Callable[[str], Lease | None], bundle: Bundle
    ) -> None:
        """Go on from the end of its next job, which is not like that of nearly all."""
        if attempt.seconds > BRIEF:
            self.common.services.attempts.plain.took(self.held.lease.queue, attempt.seconds)
        self.stay().go_on_after(attempt.ended(), attempt.over, follow, bundle)

    def is_quick(self) -> bool:
        """Whether its job is likely to be quick. What is told of a beginning is not to wait for the end of a
        long one; and what is not told before begins sooner, as an idle worker is woken for it."""
        return self.common.services.attempts.plain.are_quick(self.held.lease.queue)

    def is_crowded(self) -> bool:
        """Whether others wait, as far as is known here."""
        return self.others or self.common.services.crowded(self.held.lease.queue)

    @property
    def hears_alone(self) -> bool:
        """See `bundles.Stay`."""
        return self.run_on is not None

    def has_company(self) -> bool:
        """Whether others wait here."""
        return self.common.services.crowded(self.held.lease.queue)

    def abandon(self, ended: Ended) -> None:
        """See `bundles.Stay`."""
        self.common.services.settler.abandoned(self.held, ended)

    def hear_of(self, ended: Ended, settlement: Settlement, settling: Settling, at: float) -> None:
        """See `bundles.Stay`."""
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


PLACE: Callable[[GrantedLane], tuple[str, str]] = attrgetter("held.lease.queue", "held.lease.lane")
"""Its lane, whatever the lease: two stays in it are never served at the same time."""
