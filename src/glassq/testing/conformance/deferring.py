"""What jobs that wait for others promise: they run once, after all of these, and never before."""

# ruff: noqa: S101, PLR2004 - asserts, and the numbers of an example, are the trade of a test

from __future__ import annotations

from glassq.errors import JobNotFound, QueueFull
from glassq.model.edges import After
from glassq.model.flows import Delivery
from glassq.model.jobs import Cancellation, Dedup, Disposition, JobState, NewJob
from glassq.model.leases import SettleStatus
from glassq.model.names import nth_id
from glassq.model.verdicts import Action
from glassq.testing.conformance.following import BOTH, FLOW, GATE, OTHER, RUN, Following
from glassq.testing.conformance.scenario import BOB, QUEUE, bodies, near, refused


class Deferring(Following):
    """A deferred job is kept beside the lanes until the end of its last parent lets it into its own."""

    def test_a_child_waits_for_its_parent(self) -> None:
        """Until then it is `deferred`, has no place, and no worker gets it."""
        parent = self.one("parent")
        child = self.child("child", parent, lane="other")
        record = self.store.get(child)
        assert record is not None
        assert (record.state, record.lane, record.seq) == (JobState.DEFERRED, "other", None)
        assert (self.stats().deferred, self.stats().depth) == (1, 2)
        assert self.unsettled() == ["parent"]
        grant = self.granted("parent")
        assert self.claim(BOB).grants == ()
        assert self.settle(grant).released == 1
        assert self.unsettled() == ["child"]
        assert self.stats().deferred == 0
        assert bodies(self.claim_one(BOB)) == ["child"]
        self.balance()

    def test_a_child_waits_for_all_its_parents(self) -> None:
        """The last one that ends lets it go, in whatever order they do."""
        parents = [self.one(name, lane=name) for name in "abc"]
        self.child("child", *parents)
        for name in "cab":
            assert self.stats().deferred == 1
            self.finish(name)
        assert self.unsettled() == ["child"]
        self.balance()

    def test_a_parent_may_be_an_earlier_job_of_the_same_call(self) -> None:
        """It is named by its position, since it has no id yet."""
        jobs = [
            NewJob(body=b"a", lane="1"),
            NewJob(body=b"b", lane="2", after=(After(0),)),
            NewJob(body=b"c", lane="3", after=(After(0), After(1))),
        ]
        answers = self.store.append(QUEUE, jobs)
        assert [answer.seq for answer in answers] == [1, None, None]
        assert self.run_all() == ["a", "b", "c"]
        self.balance()

    def test_edges_that_make_no_sense_are_refused(self) -> None:
        """Whole: nothing is stored of an append with a job that waits for itself, for a later one, for one
        twice, or for a time as well."""
        for after in ((After(1),), (After(2),), (After(-1),), (After(0), After(0, RUN))):
            with refused(ValueError):
                self.store.append(QUEUE, [NewJob(body=b"a"), NewJob(body=b"b", after=after)])
        with refused(ValueError):
            self.store.append(QUEUE, [NewJob(body=b"a"), NewJob(body=b"b", after=(After(0),), due=5)])
        assert self.stats().depth == 0

    def test_a_parent_may_be_scheduled_or_deferred(self) -> None:
        """What has no place yet is waited for as well."""
        [late] = self.store.append(QUEUE, [NewJob(body=b"late", due=5)])
        middle = self.child("middle", late.id)
        self.child("last", middle)
        assert self.run_all() == []
        assert (self.stats().scheduled, self.stats().deferred) == (1, 2)
        self.live_through(6)
        assert self.run_all() == ["late", "middle", "last"]
        self.balance()

    def test_a_parent_that_has_ended_is_not_waited_for(self) -> None:
        """What is not there any more has succeeded, for all that is known."""
        gone = self.one("gone")
        self.finish("gone")
        self.child("child", gone)
        assert self.unsettled() == ["child"]
        self.balance()

    def test_a_parent_that_never_was_is_refused(self) -> None:
        """Whole: its id is one that its producer has not come to, so that nobody can have been told it. In
        another queue this may be found out only when the edge is made known there."""
        parent = self.one("parent")
        later = nth_id(parent, 1_000_000)
        for after in ((later,), (parent, later)):
            with refused(JobNotFound):
                self.child("child", *after)
        assert (self.stats().depth, self.stats().deferred) == (1, 0)
        with refused(JobNotFound):
            self.child("child", later, queue=OTHER)
        self.child("child", parent)
        assert self.run_all() == ["parent", "child"]
        self.balance()

    def test_one_of_several_parents_may_have_ended(self) -> None:
        """The others are waited for, whichever comes first in the list."""
        gone = self.one("gone")
        self.finish("gone")
        parent = self.one("parent")
        self.child("a", gone, parent)
        self.child("b", parent, gone)
        assert self.unsettled() == ["parent"]
        assert self.run_all() == ["parent", "a", "b"]
        self.balance()

    def test_a_child_takes_its_place_when_it_is_released(self) -> None:
        """Behind what came meanwhile; children of one parent in the order of their appends."""
        parent = self.one("parent", lane="other")
        for name in "abc":
            self.child(name, parent)
        self.put("meanwhile")
        self.finish("parent")
        assert self.unsettled() == ["meanwhile", "a", "b", "c"]
        assert [record.job.seq for record in self.store.waiting(QUEUE, 9)] == [2, 3, 4, 5]

    def test_a_chain_in_one_lane_runs_in_order(self) -> None:
        """Each step joins the tail of the lane its parent was settled in."""
        last = self.one("0")
        for step in range(1, 6):
            last = self.child(str(step), last)
        assert self.run_all() == list("012345")
        assert self.stats().depth == 0
        self.balance()

    def test_a_child_joins_the_lane_of_its_parent_behind_what_is_there(self) -> None:
        """Its owner goes on with what it has read, and finds the child in its turn."""
        parent, _ = self.put("parent", "next")
        self.child("child", parent.id)
        grant = self.claim_one()
        answer = self.settle(grant, next_id=grant.jobs[1].id)
        assert (answer.held, answer.jobs, answer.released) == (True, (), 1)
        answer = self.settle(grant, index=1, change=answer.change)
        assert bodies(answer) == ["child"]
        self.balance()

    def test_a_child_of_a_higher_level_comes_next(self) -> None:
        """What its owner has read of the lane is stale."""
        parent, _ = self.put("parent", "next")
        self.child("urgent", parent.id, level=5)
        grant = self.claim_one()
        answer = self.settle(grant, next_id=grant.jobs[1].id)
        assert bodies(answer) == ["urgent", "next"]
        answer = self.settle(grant, job_id=answer.jobs[0].id, change=answer.change)
        assert bodies(answer) == ["next"]
        self.settle(grant, job_id=answer.jobs[0].id, change=answer.change)
        assert self.stats().depth == 0
        self.balance()

    def test_time_counts_from_the_release(self) -> None:
        """What waited for others neither waited for a worker nor came nearer to its expiry."""
        parent = self.one("parent")
        self.child("child", parent, ttl=10)
        self.live_through(20)
        self.finish("parent")
        [waiting] = self.store.waiting(QUEUE, 9)
        assert near(waiting.job.eligible_at, self.clock.wall())
        assert near(waiting.job.expires_at or 0, self.clock.wall() + 10)

    def test_a_waiting_worker_hears_of_a_release(self) -> None:
        """A lane that was idle has become ready."""
        parent = self.one("parent")
        self.child("child", parent, lane="other")
        grant = self.granted("parent")
        with self.listening(BOB) as bell:
            self.settle(grant)
            assert bell.wait(5)

    def test_a_paused_lane_stays_paused(self) -> None:
        """A child that is released into it waits for it to be resumed."""
        parent = self.one("parent")
        self.child("child", parent, lane="p")
        self.store.pause(QUEUE, "p")
        self.finish("parent")
        assert self.stats().paused == 1
        assert self.claim().grants == ()
        self.store.resume(QUEUE, "p")
        assert bodies(self.claim_one()) == ["child"]

    def test_a_repeated_settlement_releases_nothing_again(self) -> None:
        """Neither at once nor when the child has run."""
        parent = self.one("parent")
        self.child("child", parent, lane="other")
        grant = self.granted("parent")
        assert self.settle(grant).released == 1
        again = self.settle(grant)
        assert (again.status is not SettleStatus.DONE, again.released) == (True, 0)
        self.finish("child")
        assert self.settle(grant).released == 0
        assert self.stats().settled["succeeded"] == 2
        self.balance()

    def test_what_a_former_owner_reports_releases_nothing(self) -> None:
        """A settlement that is refused is none."""
        parent = self.one("parent")
        self.child("child", parent, lane="other")
        grant = self.granted("parent")
        self.live_through(31)
        self.claim_one(BOB)
        assert self.settle(grant).status is SettleStatus.FENCED
        assert self.stats().deferred == 1

    def test_what_is_not_an_end_releases_nothing(self) -> None:
        """A failure that is tried again, and a halted lane."""
        parent = self.one("parent")
        self.child("child", parent, policy=RUN)
        self.retry(self.claim_one(), wait=1)
        self.live_through(2)
        self.halt(self.claim_one())
        assert self.stats().deferred == 1
        assert self.unsettled() == ["parent"]

    # -- what else may happen to it ----------------------------------------------------------------------

    def test_a_deferred_job_can_be_cancelled(self) -> None:
        """It never comes, and counts as settled; the end of its parent finds nobody."""
        parent = self.one("parent")
        child = self.child("child", parent)
        assert self.store.cancel(child) is Cancellation.REMOVED
        assert self.store.get(child) is None
        assert self.store.cancel(child) is None
        assert self.finish("parent").released == 0
        assert (self.stats().settled["cancelled"], self.stats().depth) == (1, 0)
        self.balance()

    def test_a_purge_takes_deferred_jobs_along(self) -> None:
        """Of the whole queue, or of the lane they were to join."""
        parent = self.one("parent")
        self.child("a", parent, lane="x")
        self.child("b", parent, lane="y")
        assert self.store.purge(QUEUE, dead=False, lane="x") == 1
        assert self.stats().deferred == 1
        self.balance()
        assert self.store.purge(QUEUE, dead=False) == 2
        assert self.stats().depth == 0
        assert self.run_all() == []
        self.balance()

    def test_a_duplicate_waits_for_nothing(self) -> None:
        """It is the job that is known already, whatever that waits for; a settled id may be used again."""
        parent = self.one("parent")
        child = self.child("child", parent, dedup=Dedup("only"))
        other = self.one("other", lane="other")
        again = NewJob(body=b"again", after=(After(other),), dedup=Dedup("only"))
        [answer] = self.store.append(QUEUE, [again])
        assert (answer.id, answer.disposition) == (child, Disposition.DUPLICATE)
        assert self.stats().deferred == 1
        assert self.run_all() in (["parent", "other", "child"], ["parent", "child", "other"])
        assert self.child("anew", parent, dedup=Dedup("only")) != child
        self.balance()

    def test_a_position_may_be_that_of_a_duplicate(self) -> None:
        """Then the job that is known already is waited for."""
        self.store.append(QUEUE, [NewJob(body=b"known", dedup=Dedup("only"))])
        jobs = [NewJob(body=b"again", dedup=Dedup("only")), NewJob(body=b"child", after=(After(0),))]
        self.store.append(QUEUE, jobs)
        assert self.run_all() == ["known", "child"]
        self.balance()

    def test_deferred_jobs_count_in_a_queues_length(self) -> None:
        """`max_length` counts what is unsettled."""
        parent = self.one("parent")
        self.child("child", parent)
        with refused(QueueFull):
            self.store.append(QUEUE, [NewJob(body=b"a")], max_length=2)
        self.finish("parent")
        self.store.append(QUEUE, [NewJob(body=b"a")], max_length=2)

    def test_a_queue_with_deferred_jobs_is_not_forgotten(self) -> None:
        """It holds jobs."""
        self.child("child", GATE)
        assert not self.store.forget(QUEUE)
        self.store.purge(QUEUE, dead=False)
        self.relay()
        assert self.store.forget(QUEUE)

    # -- gates -------------------------------------------------------------------------------------------

    def test_a_gate_is_opened_by_a_delivery(self) -> None:
        """It is no job: nothing else ends it. Opened twice it lets nobody in again."""
        self.child("a", GATE, flow=FLOW, lane="a")
        self.child("b", GATE, flow=FLOW, lane="b")
        assert self.run_all() == []
        self.open_gate()
        assert self.unsettled() == ["a", "b"]
        self.open_gate()
        assert self.run_all() == ["a", "b"]
        self.balance()

    def test_a_gate_can_be_opened_for_one(self) -> None:
        """A delivery to a child lets that one in."""
        first = self.child("a", GATE)
        self.child("b", GATE)
        one = Delivery(to=first, parent=GATE, outcome=JobState.SUCCEEDED)
        done = self.store.deliver(QUEUE, [one, one])
        assert (done.released, done.cancelled) == (1, 0)
        assert self.unsettled() == ["a"]
        self.balance()

    def test_a_gate_is_opened_in_each_queue(self) -> None:
        """Once it was opened in all of them, nobody waits at it any more."""
        self.child("here", GATE)
        self.child("there", GATE, queue=OTHER)
        for queue in BOTH:
            self.open_gate(queue)
        assert (self.unsettled(), self.unsettled(OTHER)) == (["here"], ["there"])

    def test_children_of_many_are_let_go_bit_by_bit(self) -> None:
        """One step lets go a hundred at most; the rest is in the outbox, and nobody is let go twice."""
        parent = self.one("parent")
        self.children(250, parent)
        answer = self.finish("parent")
        assert 0 < answer.released <= 100
        assert answer.relay
        self.hand_over(self.store.outbox(QUEUE, 30))  # a relay that dies before it says so
        self.relay()
        assert self.store.outbox(QUEUE) == []
        assert self.unsettled() == [str(n) for n in range(250)]
        assert self.run_all() == [str(n) for n in range(250)]
        self.balance()

    def test_the_end_is_what_counts_however_it_comes(self) -> None:
        """For a child that runs in any case: buried, expired, cancelled, skipped, purged."""
        ends = [Action.BURY, Action.EXPIRE, Action.CANCEL]
        for action in ends:
            self.child(f"after-{action}", self.one(action), policy=RUN, lane=action)
            self.finish(action, action)
        skipped = self.one("skipped")
        self.child("after-skipped", skipped, policy=RUN, lane="skipped")
        self.halt(self.granted("skipped"))
        assert self.store.skip_lane(QUEUE, "") is not None
        removed = self.one("removed")
        self.child("after-removed", removed, policy=RUN, lane="removed")
        assert self.store.cancel(removed) is Cancellation.REMOVED
        purged = self.one("purged", lane="purge")
        self.child("after-purged", purged, policy=RUN, lane="purged")
        assert self.store.purge(QUEUE, dead=False, lane="purge") == 1
        assert self.unsettled() == [
            *(f"after-{action}" for action in ends),
            "after-skipped",
            "after-removed",
            "after-purged",
        ]
        self.balance()
