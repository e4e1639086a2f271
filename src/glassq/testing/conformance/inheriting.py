"""What parents that failed do to their children, what a replay undoes, and what parents leave."""

# ruff: noqa: S101, PLR2004 - asserts, and the numbers of an example, are the trade of a test

from __future__ import annotations

from glassq.model.edges import After
from glassq.model.flows import Delivery, Upstream
from glassq.model.jobs import JobState
from glassq.model.leases import Settlement
from glassq.model.verdicts import Action
from glassq.testing.conformance.following import BOTH, CANCEL, GATE, OTHER, RUN, WAIT, Following
from glassq.testing.conformance.scenario import ALICE, QUEUE


class Failing(Following):
    """A parent that did not succeed: its children are cancelled, run or wait, as each edge says."""

    def outcomes(self) -> tuple[int, int, int]:
        """How many are deferred, cancelled so far, and brought back so far."""
        stats = self.stats()
        return stats.deferred, stats.settled["cancelled"], stats.replayed

    def test_a_buried_parent_cancels_its_children_and_theirs(self) -> None:
        """They count as settled; nothing of them runs."""
        parent = self.one("parent")
        child = self.child("child", parent)
        grandchild = self.child("grandchild", child)
        assert self.finish("parent", Action.BURY).released == 2
        assert self.outcomes() == (0, 2, 0)
        assert self.store.get(child) is None
        assert self.store.cancel(grandchild) is None
        assert self.run_all() == []
        self.balance()

    def test_a_child_may_run_or_wait_all_the_same(self) -> None:
        """What waits is let go by the replay of its parent, once that succeeds."""
        parent = self.one("parent")
        self.child("run", parent, policy=RUN)
        self.child("wait", parent, policy=WAIT)
        self.finish("parent", Action.BURY)
        assert self.run_all() == ["run"]
        assert self.outcomes() == (1, 0, 0)
        self.store.replay(QUEUE, [parent], front=False)
        assert self.run_all() == ["parent", "wait"]
        self.balance()

    def test_a_replay_brings_back_what_its_dead_letter_cancelled(self) -> None:
        """Deferred anew, with what they had waited for; each runs once."""
        parent = self.one("parent", lane="p")
        child = self.child("child", parent)
        other = self.one("other", lane="o")
        self.child("grandchild", child, other)
        self.finish("parent", Action.BURY)
        self.finish("other", result=b"left")  # while nobody is there to hear of it
        assert self.outcomes() == (0, 2, 0)
        self.balance()
        self.store.replay(QUEUE, [parent], front=True)
        assert self.outcomes() == (2, 2, 3)
        record = self.store.get(child)
        assert record is not None
        assert record.state is JobState.DEFERRED
        self.balance()
        assert self.run_all() == ["parent", "child", "grandchild"]
        self.balance()

    def test_a_replay_may_fail_again_and_again(self) -> None:
        """Each time its children are cancelled and brought back."""
        parent = self.one("parent")
        self.child("child", parent)
        for times in range(1, 4):
            self.finish("parent", Action.BURY)
            assert self.outcomes() == (0, times, 2 * times - 2)
            self.store.replay(QUEUE, [parent], front=True)
            assert self.outcomes() == (1, times, 2 * times)
            self.balance()
        assert self.run_all() == ["parent", "child"]

    def test_a_child_comes_back_when_nothing_is_against_it(self) -> None:
        """Two dead letters have to be replayed before what both cancelled comes back."""
        first, second = self.one("first", lane="1"), self.one("second", lane="2")
        self.child("child", first, second)
        self.finish("first", Action.BURY)
        self.finish("second", Action.BURY)
        self.store.replay(QUEUE, [first], front=True)
        assert self.outcomes() == (0, 1, 1)
        self.store.replay(QUEUE, [second], front=True)
        assert self.outcomes() == (1, 1, 3)
        assert self.run_all() == ["first", "second", "child"]
        self.balance()

    def test_a_purge_of_the_dead_letter_drops_them(self) -> None:
        """Nothing can bring them back any more, and nothing of them is left."""
        parent, other = self.one("parent", lane="p"), self.one("other", lane="o")
        child = self.child("child", parent, other)
        self.child("grandchild", child)
        self.finish("parent", Action.BURY)
        assert self.store.purge(QUEUE, dead=True) == 1
        self.relay()
        self.finish("other", Action.BURY)
        self.store.replay(QUEUE, [other], front=True)
        assert self.outcomes() == (0, 2, 1)
        assert self.run_all() == ["other"]
        self.balance()
        assert self.store.forget(QUEUE)

    def test_a_second_end_that_is_final_drops_them_as_well(self) -> None:
        """A child of a dead letter and of a cancelled job never comes back."""
        parent, other = self.one("parent", lane="p"), self.one("other", lane="o")
        self.child("child", parent, other)
        self.finish("parent", Action.BURY)
        self.store.cancel(other)
        self.store.replay(QUEUE, [parent], front=True)
        assert self.outcomes() == (0, 2, 1)
        assert self.run_all() == ["parent"]
        self.balance()
        assert self.store.forget(QUEUE)

    def test_what_was_cancelled_expired_or_skipped_cancels_for_good(self) -> None:
        """No replay brings that back."""
        self.child("a", self.one("1"))
        self.finish("1", Action.CANCEL)
        self.child("b", self.one("2"))
        self.finish("2", Action.EXPIRE)
        self.child("c", self.one("3"))
        self.halt(self.granted("3"))
        self.store.skip_lane(QUEUE, "")
        self.child("d", self.child("e", self.one("4")))
        self.store.cancel(self.store.waiting(QUEUE, 1)[0].job.id)
        assert self.stats().depth == 0
        self.balance()
        self.relay()
        assert self.store.forget(QUEUE)

    def test_a_parent_that_is_a_dead_letter_already(self) -> None:
        """As if it had been buried after the append."""
        parent = self.one("parent")
        self.finish("parent", Action.BURY)
        self.child("cancelled", parent)
        self.child("run", parent, policy=RUN)
        self.child("wait", parent, policy=WAIT)
        self.relay()
        assert self.unsettled() == ["run"]
        assert self.outcomes() == (1, 1, 0)
        self.balance()
        self.store.replay(QUEUE, [parent], front=False)
        assert sorted(self.run_all()) == ["cancelled", "parent", "run", "wait"]
        self.balance()

    def test_very_many_are_cancelled_and_brought_back_bit_by_bit(self) -> None:
        """More than one step lets go; a replay in the middle of it has the last word."""
        parent = self.one("parent")
        self.children(150, parent)
        self.child("last", parent, policy=CANCEL, lane="other")
        self.finish("parent", Action.BURY)
        stale = self.store.outbox(QUEUE)
        self.store.replay(QUEUE, [parent], front=True)
        self.hand_over(stale)
        self.relay()
        self.balance()
        assert self.stats().deferred == 151
        ran = self.run_all()
        assert (ran[0], sorted(ran[1:])) == ("parent", sorted([*map(str, range(150)), "last"]))
        self.balance()


class Inheriting(Following):
    """A child can read what its parents left, for as long as it may run."""

    def test_results_in_the_order_of_the_edges(self) -> None:
        """With the names of the steps; those that were cancelled or buried left none."""
        first, second = self.one("1", lane="1"), self.one("2", lane="2")
        third, fourth = self.one("3", lane="3"), self.one("4", lane="4")
        child = self.child(
            "child",
            After(third, RUN, "load"),
            After(first, CANCEL, "read"),
            After(fourth, CANCEL, "read"),
            After(second, RUN),
            After(GATE),
        )
        self.finish("2", Action.BURY)
        self.finish("1", result=b"one")
        self.finish("3", result=b"")
        self.finish("4")
        self.open_gate()
        assert self.unsettled() == ["child"]
        assert self.store.upstream(child) == (
            Upstream(third, "load", JobState.SUCCEEDED, b""),
            Upstream(first, "read", JobState.SUCCEEDED, b"one"),
            Upstream(fourth, "read", JobState.SUCCEEDED, None),
            Upstream(second, "", JobState.BURIED, None),
        )

    def test_kept_until_the_job_is_settled_for_good(self) -> None:
        """Through a retry, a burial and a replay."""
        parent = self.one("parent")
        child = self.child("child", parent)
        sibling = self.child("sibling", parent, lane="other")
        left = (Upstream(parent, "", JobState.SUCCEEDED, b"left"),)
        self.finish("parent", result=b"left")
        assert self.store.upstream(child) == left
        self.retry(self.granted("child"), wait=1)
        self.live_through(2)
        self.finish("child", Action.BURY)
        assert self.store.upstream(child) == left
        self.store.replay(QUEUE, [child], front=True)
        assert self.store.upstream(child) == left
        self.finish("child")
        assert self.store.upstream(child) == ()
        assert self.store.upstream(sibling) == left
        self.finish("sibling")
        assert self.store.upstream(sibling) == ()
        assert self.store.forget(QUEUE)

    def test_a_parent_that_was_gone_left_what_is_kept_of_it(self) -> None:
        """How it ended, and its result, if that was to be kept; such a one is no dead letter any more."""
        done, failed = self.one("done", lane="d"), self.one("failed", lane="f")
        for body, action, result in (("done", Action.ACK, b"left"), ("failed", Action.EXPIRE, None)):
            grant = self.granted(body)
            kept = Settlement(
                lease=grant.lease, job_id=grant.jobs[0].id, action=action, result=result, keep=60
            )
            self.store.settle(ALICE, [kept])
        child = self.child("child", done)
        self.child("other", failed)
        self.relay()
        assert self.unsettled() == ["child"]
        assert self.store.upstream(child) == (Upstream(done, "", JobState.SUCCEEDED, b"left"),)
        assert self.store.follow(failed, [(child, CANCEL)]) is JobState.EXPIRED
        self.balance()

    def test_a_job_that_waits_for_nobody_has_none(self) -> None:
        """Neither one that is there, nor one that is not."""
        assert self.store.upstream(self.one("a")) == ()
        assert self.store.upstream(f"{QUEUE}/nobody:1") == ()


class Relaying(Following):
    """An end is told to children in other shards by whoever relays, once, whatever is repeated."""

    def test_a_child_in_another_queue(self) -> None:
        """It is let go there, and finds what its parent left."""
        parent = self.one("parent")
        child = self.child("child", parent, queue=OTHER)
        assert self.run_all(OTHER) == []
        self.finish("parent", result=b"left")
        self.relay(*BOTH)
        assert self.unsettled(OTHER) == ["child"]
        assert self.store.upstream(child) == (Upstream(parent, "", JobState.SUCCEEDED, b"left"),)
        assert self.run_all(*BOTH) == ["child"]
        assert self.store.upstream(child) == ()

    def test_a_relay_may_die_at_any_point_and_be_done_twice(self) -> None:
        """After it has read, after each delivery, before it says what was delivered."""
        parent = self.one("parent")
        for name in "abc":
            self.child(name, parent, queue=OTHER, lane=name)
        self.finish("parent")
        read = self.store.outbox(QUEUE)
        self.hand_over(read[:1])
        self.hand_over(read)
        self.relay(*BOTH)
        assert sorted(self.run_all(*BOTH)) == ["a", "b", "c"]
        self.hand_over(read)
        self.store.delivered(QUEUE, [each.number for each in read])
        assert self.run_all(*BOTH) == []
        assert self.stats(OTHER).settled["succeeded"] == 3

    def test_a_parent_in_a_queue_that_never_was_has_ended_too(self) -> None:
        """Nobody there could tell its child later, so that would wait for ever."""
        parent = "nowhere/abcdabcdabcd:7"
        child = self.child("child", parent)
        assert self.store.follow(parent, [(child, CANCEL)]) is JobState.SUCCEEDED
        assert self.run_all() == ["child"]

    def test_a_parent_that_has_ended_says_so_to_who_follows(self) -> None:
        """None while its end is, or will be, in its outbox."""
        parent = self.one("parent")
        child = self.child("child", parent, queue=OTHER)
        assert self.store.follow(parent, [(child, CANCEL)]) is None
        assert self.store.follow(parent, [(child, CANCEL)]) is None
        self.finish("parent")
        self.relay(*BOTH)
        assert self.store.follow(parent, [(child, CANCEL)]) is JobState.SUCCEEDED
        self.child("late", parent, queue=OTHER)
        assert self.run_all(*BOTH) == ["child", "late"]

    def test_a_dead_letter_in_another_queue(self) -> None:
        """It cancels there what its replay brings back there, and theirs."""
        parent = self.one("parent")
        child = self.child("child", parent, queue=OTHER)
        self.child("grandchild", child)
        self.finish("parent", Action.BURY)
        self.relay(*BOTH)
        assert (self.stats().deferred, self.stats(OTHER).deferred) == (0, 0)
        late = self.child("late", parent, queue=OTHER)
        self.relay(*BOTH)
        assert self.store.get(late) is None
        self.store.replay(QUEUE, [parent], front=True)
        self.relay(*BOTH)
        assert (self.stats().deferred, self.stats(OTHER).deferred) == (1, 2)
        assert self.run_all(*BOTH) == ["parent", "child", "late", "grandchild"]

    def test_a_purged_dead_letter_in_another_queue(self) -> None:
        """What it cancelled there is dropped there."""
        parent = self.one("parent")
        self.child("child", parent, queue=OTHER)
        self.finish("parent", Action.BURY)
        self.relay(*BOTH)
        self.store.purge(QUEUE, dead=True)
        self.relay(*BOTH)
        assert self.store.forget(OTHER)
        assert self.store.forget(QUEUE)

    def test_what_is_told_too_late_changes_nothing(self) -> None:
        """An end that was undone by a replay meanwhile, and one of somebody nobody waits for."""
        parent = self.one("parent")
        child = self.child("child", parent, queue=OTHER)
        self.finish("parent", Action.BURY)
        self.relay(*BOTH)
        self.store.replay(QUEUE, [parent], front=True)
        self.relay(*BOTH)
        self.finish("parent")
        self.relay(*BOTH)
        for outcome in (JobState.BURIED, None, JobState.SUCCEEDED):
            told = Delivery(to=child, parent=parent, outcome=outcome, final=False)
            done = self.store.deliver(OTHER, [told, Delivery(to=child, parent="q/x:1", outcome=outcome)])
            assert (done.released, done.cancelled) == (0, 0)
        assert self.run_all(*BOTH) == ["child"]
