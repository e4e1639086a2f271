"""The calls of one example: every verb of the storage protocol, time, restarts, in whatever order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule

from glassq.model.jobs import NewJob
from glassq.model.leases import Claimed, Lease, Leaving, Owner, Settled, Settlement, SettleStatus
from glassq.model.names import queue_of
from glassq.model.verdicts import Action
from tests.model.comparing import EAR, Comparison
from tests.model.driving import Changes, Ending, Hold, caught, told
from tests.model.lanes import HALTED, HELD, WAITING, micros
from tests.model.model import Model
from tests.model.strategies import (
    LANES,
    OWNERS,
    RESTARTED,
    STEPS_BACK,
    STEPS_FORWARD,
    endings,
    leases,
    limits,
    new_jobs,
    owners,
    picks,
    rooms,
    several,
    which,
)

PASSER_BY = Owner("passer-by", "1")


class Machine(Comparison):
    """What is believed to be held, and what may be done next."""

    def __init__(self, targets: Sequence[str], *, runs_ahead: bool = False) -> None:
        super().__init__(targets, runs_ahead=runs_ahead)
        self.changes = Changes()
        self.holds: list[Hold] = []
        self.done: list[tuple[Owner, Settlement]] = []
        self.last: list[tuple[Hold, Settlement]] = []
        self.flat = False

    def chosen(self, which: Sequence[int]) -> tuple[str, ...]:
        """The names of these queues."""
        return tuple(self.queues[index] for index in which)

    # -- producing ---------------------------------------------------------------------------------------

    @initialize(
        first=new_jobs,
        second=st.one_of(st.none(), new_jobs),
        heard=st.booleans(),
        flat=st.sampled_from([False, False, True]),
    )
    def begin(
        self, first: list[dict[str, Any]], second: list[dict[str, Any]] | None, *, heard: bool, flat: bool
    ) -> None:
        """An empty queue has little to tell; but one that does not exist yet has its own. Where all levels
        are the same, stores take shorter ways."""
        self.flat = flat
        if heard:
            self.listen(self.queues)
        self.append_jobs(self.queues[0], first, None)
        if second:
            self.append_jobs(self.queues[1], second, None)

    @rule(which=which, specs=new_jobs, limit=limits)
    def append(self, which: int, specs: list[dict[str, Any]], limit: int | None) -> None:
        """At any time."""
        self.append_jobs(self.queues[which], specs, limit)

    def append_jobs(self, queue: str, specs: list[dict[str, Any]], limit: int | None) -> None:
        """Batches, keys, levels, delays, expiry, duplicates, limits."""
        jobs: list[NewJob] = []
        names: list[str] = []
        for spec in specs:
            at = spec.pop("at")
            if self.flat:
                spec["level"] = 3
            if at is not None:
                spec |= {"due": self.time.wall() + at, "due_is_time": True}
            names.append(f"{queue}/j{len(self.names) + len(names)}")
            jobs.append(NewJob(body=names[-1].encode(), **spec))
        self.names += names
        expected = caught(lambda: self.world.append(self.time.now, queue, names, jobs, limit))
        self.met["an append refused"] += not isinstance(expected, list)
        answers = []
        for side in self.sides:
            answer = caught(lambda side=side: side.append(queue, jobs, limit))  # type: ignore[misc]
            answers.append(answer)
            if isinstance(answer, list):
                for name, each in zip(names, answer, strict=True):
                    side.names.setdefault(each.id, name)
            side.ids = {name: id_ for id_, name in side.names.items()}
        self.agree([queue], expected, answers)

    # -- working -----------------------------------------------------------------------------------------

    @precondition(lambda self: any(model.others() for model in self.models()))
    @rule(owner=owners, which=several, lanes=rooms, window=st.integers(1, 4), lease=leases)
    def claim(self, owner: Owner, which: tuple[int, ...], lanes: int, window: int, lease: float) -> None:
        """What is ready."""
        self.claim_lanes(owner, which, lanes, window, lease)

    @precondition(lambda self: self.world.left())
    @rule(
        owner=owners,
        which=several,
        lanes=st.sampled_from([0, 0, 1, 2, 4]),
        window=st.integers(1, 4),
        lease=leases,
    )
    def look_for_work(
        self, owner: Owner, which: tuple[int, ...], lanes: int, window: int, lease: float
    ) -> None:
        """Whoever asks, alive or thought dead; when the next look is due is told, too."""
        self.claim_lanes(owner, which, lanes, window, lease)

    @precondition(lambda self: any(hold.owner in RESTARTED for hold in self.living()))
    @rule(pick=picks, which=several, lanes=rooms, lease=leases)
    def come_back(self, pick: int, which: tuple[int, ...], lanes: int, lease: float) -> None:
        """A node that was started again takes over what it held, in the queues it asks for and no others."""
        gone = [hold.owner for hold in self.living() if hold.owner in RESTARTED]
        self.claim_lanes(RESTARTED[gone[pick % len(gone)]], which, lanes, 3, lease)

    @precondition(lambda self: all(model.others() for model in self.models()))
    @rule(pick=picks, window=st.integers(1, 4), lease=leases)
    def work_everywhere(self, pick: int, window: int, lease: float) -> None:
        """All that is ready in both queues becomes one worker's."""
        self.claim_lanes(OWNERS[pick % 2 - 2], (pick % 2, 1 - pick % 2), 6, window, lease)

    def claim_lanes(self, owner: Owner, which: Sequence[int], lanes: int, window: int, lease: float) -> None:
        """Ask all sides, and believe the answer."""
        queues = self.chosen(which)
        expected = self.world.claim(self.time.now, owner, queues, lanes, window, micros(lease))
        self.met["lanes of two queues claimed"] += len({each.lease.queue for each in expected.grants}) > 1
        answers = [
            side.claim(owner, queues, lanes=lanes, window=window, lease_seconds=lease) for side in self.sides
        ]
        answers = [_without_guesses(each) for each in answers]
        self.agree(queues, self.changes.granted(expected), answers, may_ring=False)
        for grant in expected.grants:
            self.holds.insert(0, Hold(owner, grant.lease, list(grant.jobs)))
        del self.holds[10:]

    @rule(owner=st.sampled_from([*OWNERS, EAR]), which=several)
    def report(self, owner: Owner, which: tuple[int, ...]) -> None:
        """A heartbeat, whoever listens, and whether or not anything was ever put into the queues."""
        queues = self.chosen(which)
        self.ask(queues, lambda: self.reported(owner, queues), lambda side: side.report(owner, queues))

    @precondition(lambda self: not self.listened)
    @rule(which=several)
    def somebody_listens(self, which: tuple[int, ...]) -> None:
        """From here on what must ring must be heard."""
        self.listen(self.chosen(which))

    @precondition(lambda self: self.listened)
    @rule(really=st.sampled_from([False, False, True]))
    def nobody_listens(self, *, really: bool) -> None:
        """A worker that stops does not count any more."""
        if really:
            self.be_deaf()

    def living(self) -> list[Hold]:
        """What is held indeed."""
        return [hold for hold in self.holds if self.world.held(hold.owner, hold.lease)]

    @precondition(lambda self: self.living())
    @rule(pick=picks, how=endings)
    def settle(self, pick: int, how: Ending) -> None:
        """As a worker does."""
        living = self.living()
        hold = living[pick % len(living)]
        self.carry_out(hold.owner, [(hold, how.settlement(hold))])

    @precondition(lambda self: self.living())
    @rule(pick=picks, named=st.booleans())
    def succeed(self, pick: int, *, named: bool) -> None:
        """As most often."""
        living = self.living()
        hold = living[pick % len(living)]
        how = Ending(Action.ACK, Leaving.STAY, named, 0, 3, ran=True, wait=0.0)
        self.carry_out(hold.owner, [(hold, how.settlement(hold))])

    def everywhere(self) -> list[Owner]:
        """Who holds lanes of both queues."""
        holders = [{hold.owner for hold in self.living() if hold.lease.queue == name} for name in self.queues]
        return [owner for owner in OWNERS if all(owner in each for each in holders)]

    @precondition(lambda self: self.everywhere())
    @rule(how=endings, renew=st.sampled_from([True, False, False]), lease=leases)
    def answer_for_both(self, how: Ending, lease: float, *, renew: bool) -> None:
        """One call about lanes of both queues."""
        owner = self.everywhere()[0]
        mine = [hold for hold in self.living() if hold.owner == owner]
        if renew:
            self.renew_leases(owner, [hold.lease for hold in mine], lease)
        else:
            self.carry_out(owner, [(hold, how.settlement(hold)) for hold in mine])

    @precondition(lambda self: self.holds)
    @rule(pick=picks, how=endings)
    def settle_whatever(self, pick: int, how: Ending) -> None:
        """All that a worker believes it holds, in both queues, and does not know yet that it lost."""
        self.settle_with(self.holds[pick % len(self.holds)], how)

    @precondition(lambda self: self.owners_everywhere())
    @rule(pick=picks, how=endings)
    def settle_everywhere(self, pick: int, how: Ending) -> None:
        """The same, of one who holds lanes of both queues: seldom met otherwise."""
        theirs = [hold for hold in self.holds if hold.owner in self.owners_everywhere()]
        self.settle_with(theirs[pick % len(theirs)], how)

    def settle_with(self, first: Hold, how: Ending) -> None:
        """This one and whatever its owner believes to hold besides."""
        mine = [hold for hold in self.holds if hold.owner == first.owner]
        chosen = {(hold.lease.queue, hold.lease.lane): hold for hold in [*mine, first]}
        self.carry_out(first.owner, [(hold, how.settlement(hold)) for hold in chosen.values()])

    @precondition(lambda self: self.holds and not self.holds[0].kept)
    @rule(how=endings)
    def settle_another(self, how: Ending) -> None:
        """A job that is not the head: all refuse it, unless the lane is lost anyway."""
        hold = self.holds[0]
        self.catch_up(hold)
        if len(hold.jobs) > 1:
            what = msgspec.structs.replace(how.settlement(hold), job_id=hold.jobs[1].id, next_id=None)
            again = (
                hold.owner,
                what,
            ) in self.done  # a job that was purged is settled, and may be so once more
            answer = self.ask(
                [hold.lease.queue],
                lambda: [
                    told(each, repeated=again)
                    for each in self.world.settle(self.time.now, hold.owner, [what])
                ],
                lambda side: [told(each, repeated=again) for each in side.settle(hold.owner, [what])],
            )
            if isinstance(answer[0], Settled):
                self.done.append((hold.owner, what))

    @precondition(lambda self: self.last)
    @rule()
    def settle_again(self) -> None:
        """As after a lost answer."""
        if self.last and self.last[0][0] in self.holds:
            self.carry_out(self.last[0][0].owner, self.last)

    def catch_up(self, hold: Hold) -> None:
        """Whoever waits for an answer, or leaves, has heard all others before: here there never are any."""

    def carry_out(self, owner: Owner, asked: Sequence[tuple[Hold, Settlement]]) -> None:
        """Settle on all sides, and believe the answer."""
        refusing = self.world.refusing(owner, [what for _, what in asked])
        if refusing:
            asked = [each for each in asked if each[1].lease.queue == refusing]
        self.last = list(asked)
        whats = [what for _, what in asked]
        queues = sorted({what.lease.queue for what in whats})
        self.met["settlements in two queues"] += len(queues) > 1
        again = [(owner, what) in self.done for what in whats]
        moved = self.changes.sent(whats)
        believed = caught(lambda: self.world.settle(self.time.now, owner, moved))
        answers = []
        for side in self.sides:
            sent = side.changes.sent(whats)
            answer = caught(lambda side=side, sent=sent: side.settle(owner, sent))  # type: ignore[misc]
            answers.append(side.changes.told(whats, answer, again))
        self.agree(queues, self.changes.told(whats, believed, again), answers)
        if not isinstance(believed, list):
            return
        self.last = []
        for (hold, what), carried, answer in zip(asked, moved, believed, strict=True):
            if answer.status is SettleStatus.FENCED:  # which says nothing of the lane's counter
                self.last.append((hold, what))
            else:
                # Repeated, it carries what it carried: a counter that the lane had left behind stays behind.
                grew = answer.change != carried.change - what.change
                self.last.append((hold, msgspec.structs.replace(what, change=-1) if grew else what))
                self.done += [(owner, what), (owner, self.last[-1][1])]
                hold.kept = what.leaving is Leaving.KEEP
                if answer.jobs:
                    hold.jobs = list(answer.jobs)
                elif answer.held and not hold.kept and hold.jobs[0].id == what.job_id:
                    del hold.jobs[0]

    @precondition(lambda self: self.living())
    @rule(pick=picks, lease=leases)
    def renew(self, pick: int, lease: float) -> None:
        """Everything an owner believes it holds, in both queues."""
        owner = self.holds[pick % len(self.holds)].owner
        self.renew_leases(owner, [hold.lease for hold in self.holds if hold.owner == owner], lease)

    @precondition(lambda self: self.owners_everywhere())
    @rule(pick=picks, lease=leases)
    def renew_everywhere(self, pick: int, lease: float) -> None:
        """The same, of one who holds lanes of both queues: seldom met otherwise."""
        owner = self.owners_everywhere()[pick % len(self.owners_everywhere())]
        self.renew_leases(owner, [hold.lease for hold in self.holds if hold.owner == owner], lease)

    def owners_everywhere(self) -> list[Owner]:
        """Who believes to hold lanes of both queues."""
        held = {(hold.owner, hold.lease.queue) for hold in self.holds}
        return sorted(
            {owner for owner, _ in held if len([each for each, _ in held if each == owner]) > 1}, key=str
        )

    def renew_leases(self, owner: Owner, held: Sequence[Lease], lease: float) -> None:
        """Ask all sides."""
        queues = sorted({each.queue for each in held})
        self.met["leases of two queues renewed"] += len(queues) > 1
        self.ask(
            queues,
            lambda: self.world.renew(self.time.now, owner, held, micros(lease)),
            lambda side: side.renew(owner, held, lease),
        )

    @precondition(lambda self: self.holds)
    @rule(pick=picks, count=st.integers(1, 3), front=st.booleans())
    def release(self, pick: int, count: int, *, front: bool) -> None:
        """Some of what an owner believes it holds."""
        owner = self.holds[pick % len(self.holds)].owner
        mine = [hold for hold in self.holds if hold.owner == owner][:count]
        for hold in mine:
            self.catch_up(hold)
        held = [hold.lease for hold in mine]
        self.ask(
            sorted({each.queue for each in held}),
            lambda: self.world.release(self.time.now, owner, held, front=front),
            lambda side: side.store.release(owner, held, front=front),
        )

    # -- time and restarts -------------------------------------------------------------------------------

    @precondition(lambda self: self.world.left())
    @rule(seconds=st.sampled_from(STEPS_BACK))
    def clock_is_set_back(self, seconds: float) -> None:
        """A little, or a lot."""
        self.time.now += micros(seconds)
        self.compare_dumps()

    @precondition(lambda self: self.world.left())
    @rule(seconds=st.sampled_from(STEPS_FORWARD))
    def time_passes(self, seconds: float) -> None:
        """Or the clock is set: a store cannot tell one from the other."""
        self.time.now += micros(seconds)
        self.compare_dumps()

    @precondition(lambda self: any(model.in_state(HELD, WAITING) for model in self.models()))
    @rule(seconds=st.sampled_from([6.0, 15.5, 31.0]))
    def somebody_looks_on(self, seconds: float) -> None:
        """Time passes and the store sees it pass, so that leases and waits come to their ends."""
        ends = self.time.now + micros(seconds)
        while self.time.now < ends:
            self.time.now = min(ends, self.time.now + micros(5))
            self.claim_lanes(PASSER_BY, (0, 1), 0, 1, 15.0)

    @precondition(lambda self: self.world.left())
    @rule(really=st.sampled_from([False, False, True]))
    def restart(self, *, really: bool) -> None:
        """Nothing is lost but handles and cached scripts; whoever listened says goodbye and comes again."""
        if not really:
            return
        listened = self.listened
        if listened:
            self.be_deaf()
        for side in self.sides:
            side.reopen()
        self.compare_dumps()
        if listened:
            self.listen(listened)

    # -- people ------------------------------------------------------------------------------------------

    @rule()
    def list_queues(self) -> None:
        """Those that exist are listed, in order. Whether one is whose first append was refused is free."""
        expected = self.world.names()
        for side in self.sides:
            found = [name for name in side.store.queues() if name in self.queues]
            tried = {queue_of(name) for name in self.names}
            assert sorted(found) == found, f"{side.store.kind} listed {found}"
            assert set(expected) <= set(found) <= {*expected, *tried}, f"{side.store.kind} listed {found}"

    @precondition(lambda self: self.names)
    @rule(pick=st.integers(0, 200), cancel=st.booleans())
    def one_job(self, pick: int, *, cancel: bool) -> None:
        """Look up or cancel any job there ever was."""
        name = self.names[-1 - pick % len(self.names)]
        queue = queue_of(name)
        self.ask(
            [queue],
            lambda: self.world.cancel(self.time.now, name) if cancel else self.world.find(name),
            lambda side: (side.people.cancel if cancel else side.store.get)(
                side.ids.get(name, f"{queue}/nobody:1")
            ),
        )

    @precondition(lambda self: self.living())
    @rule(pick=picks)
    def cancel_what_runs(self, pick: int) -> None:
        """It is asked, and whoever runs it next is told."""
        name = self.living()[pick % len(self.living())].jobs[0].id
        self.ask(
            [queue_of(name)],
            lambda: self.world.cancel(self.time.now, name),
            lambda side: side.people.cancel(side.ids[name]),
        )

    @rule(
        which=which,
        scope=st.sampled_from([*LANES, *LANES, None]),
        resume=st.sampled_from([True, True, False]),
    )
    def pause_or_resume(self, which: int, scope: str | None, *, resume: bool) -> None:
        """A queue, or a lane, also one without jobs; paused or not."""
        verb, queue = "resume" if resume else "pause", self.queues[which]
        self.ask(
            [queue],
            lambda: getattr(self.world.queues[queue], verb)(self.time.now, scope),
            lambda side: getattr(side.people, verb)(queue, scope),
        )

    def one_of(self, models: Sequence[Model], pick: int) -> Model:
        """One of these."""
        return models[pick % len(models)]

    @precondition(lambda self: any(model.in_state(HALTED) for model in self.models()))
    @rule(pick=picks, lane=st.sampled_from(LANES), skip=st.booleans())
    def decide_about_a_head(self, pick: int, lane: str, *, skip: bool) -> None:
        """Halted, or another lane."""
        verb = "skip_lane" if skip else "retry_lane"
        model = self.one_of([model for model in self.models() if model.in_state(HALTED)], pick)
        self.ask(
            [model.queue],
            lambda: getattr(model, verb)(self.time.now, lane),
            lambda side: getattr(side.people, verb)(model.queue, lane),
        )

    @precondition(lambda self: any(model.dead for model in self.models()))
    @rule(pick=picks, letters=st.lists(st.integers(0, 200), min_size=1, max_size=3), front=st.booleans())
    def replay(self, pick: int, letters: list[int], *, front: bool) -> None:
        """Dead letters, in whatever order they are named."""
        model = self.one_of([model for model in self.models() if model.dead], pick)
        dead = list(model.dead)
        names = [dead[letter % len(dead)] for letter in letters]
        self.ask(
            [model.queue],
            lambda: model.replay(self.time.now, names, front=front),
            lambda side: side.people.replay(model.queue, [side.ids[name] for name in names], front=front),
        )

    @precondition(lambda self: self.world.left())
    @rule(
        which=which,
        dead=st.booleans(),
        lane=st.sampled_from([*LANES, None]),
        really=st.sampled_from([False, False, True]),
    )
    def purge(self, which: int, *, dead: bool, lane: str | None, really: bool) -> None:
        """Rarely: what is empty finds no defects."""
        model = self.models()[which]
        if really:
            self.ask(
                [model.queue],
                lambda: model.purge(self.time.now, dead=dead, only=lane),
                lambda side: side.people.purge(model.queue, dead=dead, lane=lane),
            )


def _without_guesses(answer: Claimed) -> Claimed:
    """Stores may say less of how many lanes are ready than there are, and need not know who is alone."""
    return msgspec.structs.replace(answer, others=dict.fromkeys(answer.others, 1), alone=False)
