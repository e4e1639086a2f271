"""Jobs that wait for others, against a model: random graphs, ends, replays and purges, and late relays.

As in `test_model.py` a failure tells its seed: `GLASSQ_TEST_SEED=<seed>` runs the same calls again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from typing import ClassVar

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from glassq.model.edges import After, EdgePolicy
from glassq.model.flows import Delivery
from glassq.model.jobs import Cancellation, JobState, NewJob
from glassq.model.leases import Grant, Owner, Settlement
from glassq.model.names import flow_id, queue_of
from glassq.model.verdicts import Action
from glassq.storage import Storage
from glassq.stores.open import open_storage
from tests.model.driving import Time
from tests.model.flows import CANCELLED, DEAD, DEFERRED, SUCCEEDED, WAITING, Flows, Job
from tests.model.lanes import OUTCOMES
from tests.model.test_model import assert_alike

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

OWNER = Owner("a", "1")
MUST_BE_MET = {"brought back", "cancelled by a parent", "dropped", "released", "told too late"}

picks = st.integers(0, 99)
edges = st.lists(st.tuples(picks, st.sampled_from(EdgePolicy)), max_size=3)


class FlowSide:
    """One store, with the model's names for its jobs."""

    def __init__(self, target: str, queues: Sequence[str]) -> None:
        self.store: Storage = open_storage(target, clock=Time())
        self.queues = queues
        self.ids: dict[str, str] = {}
        self.names: dict[str, str] = {}
        self.flow = flow_id(queues[0], "0123456789abcdef")
        self.store.open_flow(self.flow, name="all", total=10_000, body=b"", keep_seconds=60)
        self.seen: list[Delivery] = []

    def append(self, job: Job, position: str | None) -> None:
        """Enqueue a job as a client does: whom it waits for in another queue hears of that there. The one in
        this `position`, if any, comes in the same call."""
        after = tuple(
            After(0 if parent == position else self.ids[parent], policy)
            for parent, policy in job.after.items()
        )
        jobs = [NewJob(body=b"", lane=job.lane)] if position else []
        new = NewJob(body=b"", lane=job.lane, after=after, flow=self.flow if job.flow else None)
        answers = self.store.append(job.queue, [*jobs, new])
        for name, answer in zip([position, job.name] if position else [job.name], answers, strict=True):
            self.ids[str(name)], self.names[answer.id] = answer.id, str(name)
        for each in after:
            if isinstance(each.job, str) and queue_of(each.job) != job.queue:
                outcome = self.store.follow(each.job, [(answers[-1].id, each.policy)])
                if outcome is not None:
                    self.hand_over([Delivery(to=answers[-1].id, parent=each.job, outcome=outcome)])

    def claim(self) -> dict[str, Grant]:
        """All lanes, by the names of their heads."""
        grants = self.store.claim(OWNER, self.queues, lanes=100, window=1, lease_seconds=15).grants
        return {self.names[grant.jobs[0].id]: grant for grant in grants}

    def heads(self) -> list[str]:
        """Which jobs can run now."""
        grants = self.claim()
        self.store.release(OWNER, [grant.lease for grant in grants.values()])
        return sorted(grants)

    def end(self, name: str, action: Action, *, twice: bool) -> None:
        """Settle a head and give all other lanes back."""
        grants = self.claim()
        grant = grants.pop(name)
        result = name.encode() if action is Action.ACK else None
        what = Settlement(lease=grant.lease, job_id=self.ids[name], action=action, result=result)
        [answer] = self.store.settle(OWNER, [what])
        if twice:
            [answer] = self.store.settle(OWNER, [what])
        held = [each.lease for each in grants.values()]
        self.store.release(OWNER, [*held, grant.lease] if answer.held else held)

    def relay(self) -> None:
        """Until there is nothing to relay."""
        while found := [each for queue in self.queues for each in self.store.outbox(queue)]:
            self.hand_over(found)
            for queue in self.queues:
                self.store.delivered(queue, [each.number for each in found if queue_of(each.parent) == queue])

    def hand_over(self, deliveries: Sequence[Delivery]) -> None:
        """Deliver."""
        self.seen += deliveries
        for each in deliveries:
            self.store.deliver(queue_of(each.to), [each])

    def state(self, name: str) -> JobState | None:
        """Where a job is."""
        record = self.store.get(self.ids[name])
        return None if record is None else record.state

    def upstream(self, name: str) -> list[tuple[str, JobState]]:
        """What those left that a job waited for: results are their names."""
        found = self.store.upstream(self.ids[name])
        for each in found:
            assert each.result in (None, self.names[each.job].encode())
        return [(self.names[each.job], each.outcome) for each in found]


class FlowMachine(RuleBasedStateMachine):
    """Draws the calls."""

    count = 0
    met: ClassVar[Counter[str]] = Counter()

    def __init__(self, targets: Sequence[str]) -> None:
        super().__init__()
        FlowMachine.count += 1
        queues = [f"f{FlowMachine.count}", f"g{FlowMachine.count}"]
        self.model = Flows(queues)
        self.queues = queues
        self.sides = [FlowSide(target, queues) for target in targets]
        self.numbers = count()

    def teardown(self) -> None:
        """Nothing is kept."""
        for side in self.sides:
            side.store.close()

    def add(self, job: Job, position: str | None = None) -> None:
        """Have it appended, with the one in this position."""
        self.model.append(job)
        for side in self.sides:
            side.append(job, position)
        self.told()

    def new(self, queue: int, lane: str, after: dict[str, EdgePolicy], *, flow: bool) -> Job:
        """A job the model does not know yet."""
        return Job(f"j{next(self.numbers)}", self.queues[queue], lane, after, flow)

    @rule(
        queue=st.sampled_from([0, 0, 1]),
        lane=st.sampled_from("xyz"),
        waits=edges,
        flow=st.booleans(),
        both=st.booleans(),
    )
    def append(
        self, queue: int, lane: str, waits: list[tuple[int, EdgePolicy]], *, flow: bool, both: bool
    ) -> None:
        """A job that waits for some, or for none; one of them may come with it."""
        # That one which failed and is gone counts as succeeded from then on is free where others were told.
        known = [job.name for job in self.model.jobs.values() if not job.gone or job.outcome is SUCCEEDED]
        after = {known[-1 - pick % len(known)]: policy for pick, policy in waits if known}
        position = None
        if both:
            first = self.new(queue, lane, {}, flow=False)
            self.model.append(first)
            position = first.name
            after[position] = EdgePolicy.CANCEL
        self.add(self.new(queue, lane, after, flow=flow), position)

    @precondition(lambda self: any(self.model.in_state(WAITING)))
    @rule(
        pick=picks,
        action=st.sampled_from(
            [Action.ACK, Action.ACK, Action.BURY, Action.BURY, Action.EXPIRE, Action.CANCEL]
        ),
        twice=st.booleans(),
    )
    def end(self, pick: int, action: Action, *, twice: bool) -> None:
        """The head of some lane; which job that is, stores agree about."""
        heads = [side.heads() for side in self.sides]
        assert all(each == heads[0] for each in heads), heads
        self.settle(heads[0][pick % len(heads[0])], action, twice=twice)

    def settle(self, head: str, action: Action, *, twice: bool) -> None:
        """End it."""
        self.model.end(head, OUTCOMES_OF[action])
        for side in self.sides:
            side.end(head, action, twice=twice)
        self.told()

    @precondition(lambda self: any(self.model.jobs))
    @rule(pick=picks)
    def cancel(self, pick: int) -> None:
        """Any job there ever was."""
        job = list(self.model.jobs.values())[-1 - pick % len(self.model.jobs)]
        removed = job.state in (WAITING, DEFERRED)
        if removed:
            self.model.end(job.name, CANCELLED)
        for side in self.sides:
            answer = side.store.cancel(side.ids[job.name])
            assert answer is (Cancellation.REMOVED if removed else None)
        self.told()

    @precondition(lambda self: any(self.model.in_state(DEAD)))
    @rule(which=st.lists(picks, min_size=1, max_size=3), front=st.booleans())
    def replay(self, which: list[int], *, front: bool) -> None:
        """Dead letters of one queue."""
        dead = list(self.model.in_state(DEAD))
        queue = dead[which[0] % len(dead)].queue
        letters = [job.name for job in dead if job.queue == queue]
        self.bring_back(queue, sorted({letters[each % len(letters)] for each in which}), front=front)

    def bring_back(self, queue: str, names: list[str], *, front: bool) -> None:
        """Replay these."""
        before = sum(self.model.replayed.values())
        self.model.replay(names)
        self.met["brought back"] += sum(self.model.replayed.values()) - before - len(names)
        for side in self.sides:
            side.store.replay(queue, [side.ids[name] for name in names], front=front)
        self.told()

    @rule(
        queue=st.sampled_from([0, 1]),
        other=st.booleans(),
        then=st.sampled_from(["replay", "purge"]),
        front=st.booleans(),
    )
    def fail(self, queue: int, then: str, *, other: bool, front: bool) -> None:
        """A job that fails takes another along, which comes back with it or is dropped with it: a chain of
        events that single calls come to too seldom."""
        lane = f"alone{next(self.numbers)}"
        parent = self.new(queue, lane, {}, flow=False)
        self.add(parent)
        self.add(self.new(queue ^ other, "x", {parent.name: EdgePolicy.CANCEL}, flow=False))
        self.settle(parent.name, Action.BURY, twice=False)
        if then == "replay":
            self.bring_back(parent.queue, [parent.name], front=front)
        else:
            self.purge(queue=queue, dead=True, really=True)

    @rule(queue=st.sampled_from([0, 1]), policy=st.sampled_from(EdgePolicy))
    def come_too_late(self, queue: int, policy: EdgePolicy) -> None:
        """A job that waits for one of the other queue which has ended already is told so twice."""
        parent = self.new(queue, f"alone{next(self.numbers)}", {}, flow=False)
        self.add(parent)
        self.settle(parent.name, Action.ACK, twice=False)
        self.add(self.new(1 - queue, "y", {parent.name: policy}, flow=False))
        self.tell_again(0)

    @precondition(lambda self: any(self.model.jobs))
    @rule(
        queue=st.sampled_from([0, 1]), dead=st.sampled_from([True, True, True, False]), really=st.booleans()
    )
    def purge(self, queue: int, *, dead: bool, really: bool) -> None:
        """Dead letters, mostly."""
        if not really:
            return
        withdrawn = sum(job.withdrawn for job in self.model.jobs.values())
        number = self.model.purge(self.queues[queue], dead=dead)
        self.met["dropped"] += withdrawn > sum(job.withdrawn for job in self.model.jobs.values())
        for side in self.sides:
            assert side.store.purge(self.queues[queue], dead=dead) == number
        self.told()

    @precondition(lambda self: any(job.withdrawn for job in self.model.jobs.values()))
    @rule(really=st.sampled_from([False, False, True]))
    def purge_what_cancels(self, *, really: bool) -> None:
        """The dead letters of a queue, while some of them keep what they cancelled from being forgotten."""
        self.purge(queue=self.queues.index(next(self.model.in_state(DEAD)).queue), dead=True, really=really)

    @precondition(lambda self: all(side.seen for side in self.sides))
    @rule(pick=picks)
    def tell_again(self, pick: int) -> None:
        """Somebody who relays was asleep: what it tells now was told, or is not so any more."""
        for side in self.sides:
            side.hand_over([side.seen[-1 - pick % len(side.seen)]])
            self.met["told too late"] += 1
        self.told()

    def told(self) -> None:
        """Whoever has to hear of something hears of it now."""
        jobs = self.model.jobs.values()
        self.met["released"] += any(job.after and job.state is WAITING for job in jobs)
        self.met["cancelled by a parent"] += any(job.withdrawn for job in jobs)
        for side in self.sides:
            side.relay()

    @invariant()
    def alike(self) -> None:
        """Where each job is, how it was counted, what it can read, and how the workflow goes."""
        for side in self.sides:
            kind = side.store.kind
            for job in self.latest():
                assert side.state(job.name) is job.state, f"{job.name} on {kind}"
                if job.state in (WAITING, DEAD):  # nobody else reads what was left to it
                    self.compare_upstream(side, job)
            self.compare_counts(side)
            outcomes = {side.names[job]: how for job, how in side.store.flow_outcomes(side.flow).items()}
            assert outcomes == self.model.outcomes

    def latest(self) -> list[Job]:
        """All jobs that are not gone, and those that were made last: the others were looked at before."""
        jobs = list(self.model.jobs.values())
        return [job for place, job in enumerate(reversed(jobs)) if place < 5 or not job.gone]

    def compare_upstream(self, side: FlowSide, job: Job) -> None:
        """Which of two ends it reads of a parent that was replayed when it was no more waited for is free."""
        found, told = side.upstream(job.name), self.model.upstream(job.name)
        assert [parent for parent, _ in found] == [parent for parent, _ in told]
        for (parent, outcome), (_, expected) in zip(found, told, strict=True):
            ended = self.model.jobs[parent]
            if ended.outcome is expected:
                assert outcome is expected, f"{job.name} of {parent} on {side.store.kind}"

    def compare_counts(self, side: FlowSide) -> None:
        """The books of both queues."""
        for stats in side.store.stats(self.queues):
            queue = stats.queue
            assert stats.enqueued == self.model.enqueued[queue]
            assert stats.replayed == self.model.replayed[queue]
            assert +Counter(stats.settled) == +self.model.settled[queue]
            assert stats.deferred == len(list(self.model.in_state(DEFERRED, queue=queue)))
            assert stats.depth == stats.deferred + len(list(self.model.in_state(WAITING, queue=queue)))


OUTCOMES_OF = {action: JobState(outcome) for action, outcome in OUTCOMES.items()}


def test_both_stores_mean_what_the_model_means(server: str, tmp_path: Path) -> None:
    """Whoever ends, replays or drops what, in whatever order."""
    targets = [f"sqlite:///{tmp_path}/jobs.db", server]
    assert_alike(lambda: FlowMachine(targets), 0.3, MUST_BE_MET, FlowMachine)
