"""Lanes that are run ahead: settlements that are sent and not waited for, while everything else goes on.

Stores differ here in what they can, so each is compared for itself: with a model that runs ahead, or with one
that answers at once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

import msgspec
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule

from glassq.model.leases import Leaving, Owner, Settled, Settlement, SettleStatus
from glassq.model.verdicts import Action
from tests.model.driving import Ending, Hold, Side, caught, plain
from tests.model.machine import Machine
from tests.model.model import Model
from tests.model.strategies import owners, picks, which
from tests.model.traces import Traces


class Done(msgspec.Struct):
    """A settlement that the stores have carried out and its worker has not heard of, with all answers."""

    what: Settlement
    again: bool
    believed: Settled
    answers: list[Any]


class Flight(msgspec.Struct):
    """What a worker has sent in one stay: on its way to the store, then done and not heard of. `most` is how
    many of both there may be; `over` are jobs that the worker is done with."""

    most: int = 0
    on_way: deque[Settlement] = msgspec.field(default_factory=deque)
    done: deque[Done] = msgspec.field(default_factory=deque)
    over: set[str] = msgspec.field(default_factory=set)

    def has_room(self) -> bool:
        """Whether one more may be sent before one is heard of."""
        return len(self.on_way) + len(self.done) < self.most


class RunningAhead(Machine):
    """Workers whose settlements take their time, there and back."""

    def __init__(self, target: str) -> None:
        later = target.startswith("redis")
        super().__init__([target], runs_ahead=later)
        self.answers_later = later
        self.flights: dict[Hold, Flight] = {}
        self.traces = Traces(target) if later else None

    def teardown(self) -> None:
        """The handles are not kept."""
        super().teardown()
        self.met["a wish granted"] += sum(model.granted for model in self.models())
        if self.traces:
            self.traces.close()

    def flight(self, hold: Hold) -> Flight:
        """What there is of this stay."""
        return self.flights.setdefault(hold, Flight())

    def flying(self) -> list[Hold]:
        """Believed to be held, with something on its way to the store; lost or not."""
        return [hold for hold in self.holds if self.flight(hold).on_way]

    def unheard(self) -> list[Hold]:
        """With something done that was not heard of."""
        return [hold for hold in self.holds if self.flight(hold).done]

    def one(self, holds: Sequence[Hold], pick: int) -> tuple[Hold, Flight]:
        """One of these."""
        hold = holds[pick % len(holds)]
        return hold, self.flight(hold)

    # -- sending -----------------------------------------------------------------------------------------

    @initialize(which=which, count=st.integers(4, 8), owner=owners)
    def begin_ahead(self, which: int, count: int, owner: Owner) -> None:
        """Most of an example is about it."""
        self.get_ahead(which, count, owner)

    @precondition(lambda self: self.world.left() < 12 and not self.senders())
    @rule(which=which, count=st.integers(4, 8), owner=owners)
    def begin_ahead_anew(self, which: int, count: int, owner: Owner) -> None:
        """When nobody is ahead any more."""
        self.get_ahead(which, count, owner)

    def get_ahead(self, which: int, count: int, owner: Owner) -> None:
        """A lane that is long enough, a worker for it, and if all goes well it is ahead."""
        job = {"lane": "", "level": 3, "due": None, "at": None, "ttl": None, "dedup": None}
        self.append_jobs(self.queues[which], [dict(job) for _ in range(count)], None)
        self.claim_lanes(owner, (which,), 4, 8, 15.0)
        mine = [hold for hold in self.living() if hold.owner == owner and len(hold.jobs) > 1]
        for hold in mine:
            self.announce_for(hold, 3, 2 + count // 6, Action.BURY if count % 2 else Action.ACK)

    @precondition(lambda self: self.living())
    @rule(pick=picks, ahead=st.sampled_from([1, 2, 3, 3]), count=st.integers(0, 3))
    def announce(self, pick: int, ahead: int, count: int) -> None:
        """The worker waits once more, and then runs ahead."""
        self.announce_for(self.one(self.living(), pick)[0], ahead, count)

    def announce_for(self, hold: Hold, ahead: int, count: int, action: Action = Action.ACK) -> None:
        """And then so many are sent."""
        how = Ending(action, Leaving.STAY, named=True, stale=0, window=8, ran=True, wait=0.0, ahead=ahead)
        self.carry_out(hold.owner, [(hold, how.settlement(hold))])
        for _ in range(count):
            self.send_one(hold, Action.ACK)

    @precondition(lambda self: self.senders())
    @rule(
        pick=picks,
        count=st.integers(1, 3),
        action=st.sampled_from([Action.ACK, Action.ACK, Action.ACK, Action.BURY, Action.EXPIRE]),
    )
    def send(self, pick: int, count: int, action: Action) -> None:
        """Settle the job that runs, and begin the next one."""
        hold, _ = self.one(self.senders(), pick)
        for _ in range(count):
            self.send_one(hold, action)

    def senders(self) -> list[Hold]:
        """Who may send one more."""
        return [hold for hold in self.living() if len(hold.jobs) > 1 and self.flight(hold).has_room()]

    def send_one(self, hold: Hold, action: Action) -> None:
        """If it may be. A store that answers at once has it then, and has said what is next."""
        flight = self.flight(hold)
        if hold not in self.senders():
            return
        how = Ending(action, Leaving.STAY, named=True, stale=0, window=8, ran=True, wait=0.0)
        flight.on_way.append(msgspec.structs.replace(how.settlement(hold), begun=True))
        flight.over |= {hold.jobs[0].id} if action is not Action.BURY else set()  # that may come back
        del hold.jobs[0]
        self.last = []  # its answer is known, or the worker would not have gone on
        self.met["jobs begun ahead of the store"] += len(flight.on_way) > 1
        if not self.answers_later:
            self.arrive_some(hold, 1)
            self.hear_some(hold, 1)

    # -- arriving ----------------------------------------------------------------------------------------

    @precondition(lambda self: self.flying())
    @rule(pick=picks, count=st.integers(1, 3))
    def arrive(self, pick: int, count: int) -> None:
        """Some of what a worker sent gets to the store."""
        self.arrive_some(self.one(self.flying(), pick)[0], count)

    def arrive_some(self, hold: Hold, count: int) -> None:
        """The oldest ones, one right behind the other."""
        flight, queue = self.flight(hold), hold.lease.queue
        whats = [flight.on_way.popleft() for _ in range(min(count, len(flight.on_way)))]
        if not whats:
            return
        again = [(hold.owner, what) in self.done for what in whats]
        is_ours = self.world.held(hold.owner, hold.lease)
        believed = []
        for what, moved in zip(whats, self.changes.sent(whats), strict=True):
            believed += self.world.settle(self.time.now, hold.owner, [moved])
            self.done.append((hold.owner, what))
        answers = [self.settled_later(side, hold, whats) for side in self.sides]
        for index, what in enumerate(whats):
            each = [of_side[index] for of_side in answers]
            flight.done.append(Done(what, again[index], believed[index], each))
        expected = SettleStatus.DONE if is_ours else SettleStatus.FENCED
        assert {each.status for each in believed} == {expected}, "what was sent in order is done in order"
        self.met["a settlement on its way fenced"] += not is_ours
        self.compare_dumps([queue])
        self.compare_rings(must=True)

    @staticmethod
    def settled_later(side: Side, hold: Hold, whats: Sequence[Settlement]) -> list[Any]:
        """All are sent before the first answer is asked for."""
        sent = [side.settle_later(hold.owner, what) for what in side.changes.sent(whats)]
        return [
            caught(lambda what=what, each=each: side.heard(what, each))  # type: ignore[misc]
            for what, each in zip(whats, sent, strict=True)
        ]

    def overtake(self, hold: Hold) -> None:
        """One was lost, and the next one got there: it is refused, until both are repeated."""
        later = [self.flight(hold).on_way[1]]
        self.met["a settlement that overtook another"] += 1
        self.ask(
            [hold.lease.queue],
            lambda: self.world.settle(self.time.now, hold.owner, self.changes.sent(later)),
            lambda side: side.heard(later[0], side.settle_later(hold.owner, side.changes.sent(later)[0])),
        )

    # -- hearing -----------------------------------------------------------------------------------------

    @precondition(lambda self: self.unheard())
    @rule(pick=picks, count=st.integers(1, 3))
    def hear(self, pick: int, count: int) -> None:
        """A worker takes in what has come back."""
        self.hear_some(self.one(self.unheard(), pick)[0], count)

    def hear_some(self, hold: Hold, count: int) -> None:
        """The oldest ones. Who hears of a change waits for the next answer."""
        flight = self.flight(hold)
        for _ in range(min(count, len(flight.done))):
            done = flight.done.popleft()
            known = self.changes.told([done.what], [done.believed], [done.again])
            for side, answer in zip(self.sides, done.answers, strict=True):
                answers = [answer] if isinstance(answer, Settled) else answer
                told = side.named(side.changes.told([done.what], answers, [done.again]))
                assert told == plain(known), f"{side.store.kind} answered\n{told!r}, the model\n{known!r}"
            self.take_in(hold, done.believed, grew=bool(getattr(known[0], "change", 1)))

    def take_in(self, hold: Hold, answer: Settled, *, grew: bool) -> None:
        """Believe it."""
        if answer.jobs:
            hold.jobs = list(answer.jobs)
        elif grew or not answer.held:
            self.flight(hold).most = 0

    @precondition(lambda self: self.flying() or self.unheard())
    @rule(pick=picks)
    def lose_the_connection(self, pick: int) -> None:
        """What was sent and not heard of is repeated from the oldest on, and waited for."""
        hold, flight = self.one(self.flying() or self.unheard(), pick)
        if len(flight.on_way) > 1 and hold in self.living():
            self.overtake(hold)
        whats = [*(done.what for done in flight.done), *flight.on_way]
        flight.done.clear()
        flight.on_way.clear()
        self.met["settlements repeated"] += len(whats) > 1
        for what in whats:
            super().carry_out(hold.owner, [(hold, what)])
        flight.most = 0
        self.last = []

    # -- waiting -----------------------------------------------------------------------------------------

    def catch_up(self, hold: Hold) -> None:
        """All that was sent gets there, and all that was done is heard of."""
        flight = self.flight(hold)
        self.arrive_some(hold, len(flight.on_way))
        self.hear_some(hold, len(flight.done))

    def carry_out(self, owner: Owner, asked: Sequence[tuple[Hold, Settlement]]) -> None:
        """A settlement that is waited for says whether its worker runs ahead from now on."""
        for hold, _ in asked:
            self.catch_up(hold)
        super().carry_out(owner, asked)
        for hold, what in asked:
            goes_on = (owner, what) in self.done and what.leaving is Leaving.STAY and hold in self.living()
            flight = self.flight(hold)
            flight.most = what.ahead if goes_on else 0
            again = flight.over & {job.id for job in hold.jobs}
            assert not again, f"{again} are over in this stay, and come again"

    def wished(self) -> set[str]:
        """All that is to be cancelled when its worker is heard of, and is there."""
        return {
            job.id
            for model in self.models()
            for lane in model.lanes.values()
            for job in lane.jobs
            if job.id in lane.wishes and job.id != lane.current
        }

    # -- people ------------------------------------------------------------------------------------------

    @precondition(lambda self: self.living())
    @rule(pick=picks, index=st.sampled_from([3, 3, 2, 1, 4, 0]), settle=st.sampled_from([True, True, False]))
    def cancel_what_may_run(self, pick: int, index: int, *, settle: bool) -> None:
        """One of those that were settled on the way, that run, or that come soon; perhaps its worker is heard
        of right after."""
        hold, flight = self.one(self.living(), pick)
        names = [*(what.job_id for what in flight.on_way), *(job.id for job in hold.jobs)]
        name = names[index % len(names)]
        before = len(self.wished())
        self.ask(
            [hold.lease.queue],
            lambda: self.world.cancel(self.time.now, name),
            lambda side: side.people.cancel(side.ids[name]),
        )
        self.met["a job asked that may have begun"] += len(self.wished()) > before
        if settle:
            self.announce_for(hold, 3, 0)

    @precondition(lambda self: any(model.dead for model in self.models()) and self.somebody_is_ahead())
    @rule(pick=picks)
    def replay_below(self, pick: int) -> None:
        """All dead letters of a queue come to the front, while somebody is ahead."""
        model = self.one_of([model for model in self.models() if model.dead], pick)
        names = list(model.dead)
        self.met["a replay while somebody is ahead"] += 1
        self.ask(
            [model.queue],
            lambda: model.replay(self.time.now, names, front=True),
            lambda side: side.people.replay(model.queue, [side.ids[name] for name in names], front=True),
        )

    @precondition(lambda self: self.flying())
    @rule(really=st.sampled_from([False, True]))
    def purge_below(self, *, really: bool) -> None:
        """Everything that waits is dropped, while somebody is ahead: of what may run, nothing."""
        model = self.world.queues[self.flying()[0].lease.queue]
        if really:
            self.met["a purge while somebody is ahead"] += 1
            self.ask(
                [model.queue],
                lambda: model.purge(self.time.now, dead=False),
                lambda side: side.people.purge(model.queue, dead=False),
            )

    def somebody_is_ahead(self) -> bool:
        """As far as the store knows."""
        return any(lane.ahead for model in self.models() for lane in model.lanes.values())

    # -- always ------------------------------------------------------------------------------------------

    @invariant()
    def what_has_begun_is_there(self) -> None:
        """A job that began under a lease that lasts is ended by nobody but its worker."""
        for hold in self.living():
            sent = self.flight(hold).on_way
            began = {what.job_id for what in sent} | {what.next_id for what in sent}
            lane = self.world.queues[hold.lease.queue].lanes[hold.lease.lane]
            gone = began - {job.id for job in lane.jobs}
            assert not gone, f"{gone} run in {hold.lease} and are not there"

    def compare_lists(self, queue: str, model: Model) -> None:
        """Also what a store notes of lanes that are run ahead: nothing of it outlives the stay."""
        super().compare_lists(queue, model)
        if self.traces:
            self.traces.compare(model, self.sides[0])
