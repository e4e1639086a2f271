"""What `claim` promises."""

# ruff: noqa: S101, PLR2004 - asserts, and the numbers of an example, are the trade of a test

from __future__ import annotations

from itertools import pairwise

from glassq.model.leases import ClaimCause, Leaving
from glassq.storage import Terms
from glassq.testing.conformance.scenario import (
    ALICE,
    BOB,
    LEASE,
    QUEUE,
    Scenario,
    bodies,
    lanes_of,
    near,
)


class Claiming(Scenario):
    """Who gets which lane, with how much of it."""

    def test_nothing_is_claimed_from_nothing(self) -> None:
        """A queue nothing was ever put into has no lane, and nothing is due in it."""
        claimed = self.claim(queues=[QUEUE, "never-used"])
        assert (claimed.grants, claimed.others, claimed.next_due) == ((), {}, None)
        assert near(claimed.now, self.clock.wall())

    def test_a_lane_has_one_owner(self) -> None:
        """O5: what one worker holds nobody else gets, not even a worker beside it or itself again."""
        self.put("a", "b")
        grant = self.claim_one(ALICE)
        assert grant.cause is ClaimCause.READY
        assert self.claim(BOB).grants == ()
        assert self.claim(type(ALICE)(ALICE.node, ALICE.incarnation, 1)).grants == ()
        assert self.claim(ALICE).grants == ()
        assert self.another_handle().claim(BOB, [QUEUE], lanes=1, window=1, lease_seconds=LEASE).grants == ()

    def test_the_lane_that_waited_longest_comes_first(self) -> None:
        """Lanes are served in the order in which they became ready, not by name, not by last arrival."""
        for lane in ("m", "z", "a"):
            self.put("1", lane=lane)
        self.put("2", lane="z")
        assert lanes_of(self.claim(lanes=2)) == ["m", "z"]
        assert lanes_of(self.claim(BOB, lanes=2)) == ["a"]

    def test_a_turn_ends_at_the_tail(self) -> None:
        """Round-robin: a lane that yields comes after those that waited."""
        self.put("1", "2", lane="x")
        self.put("1", lane="y")
        self.settle(self.claim_one(), leaving=Leaving.YIELD)
        assert lanes_of(self.claim()) == ["y", "x"]

    def test_a_window_holds_the_head_of_the_lane(self) -> None:
        """Up to `window` jobs, in order, from the head; fewer when there are fewer."""
        self.put(*"abcde")
        assert bodies(self.claim_one(window=3)) == ["a", "b", "c"]
        self.put("1", "2", lane="other")
        assert bodies(self.claim_one(window=16)) == ["1", "2"]

    def test_one_job_when_other_lanes_wait(self) -> None:
        """Fairness: no lane gets more than a turn while others are ready; all do when nobody waits."""
        for lane in ("x", "y", "z"):
            self.put("1", "2", "3", lane=lane)
        crowded = self.claim(lanes=2)
        assert [bodies(grant) for grant in crowded.grants] == [["1"], ["1"]]
        assert crowded.others == {QUEUE: 1}
        alone = self.claim(BOB, lanes=2)
        assert [bodies(grant) for grant in alone.grants] == [["1", "2", "3"]]
        assert alone.others == {}

    def test_lanes_that_wait_in_their_worker_are_others(self) -> None:
        """Where fewer begin at once than are ready, each comes with a turn."""
        for lane in ("x", "y", "z"):
            self.put("1", "2", "3", lane=lane)
        waiting = self.claim(lanes=3, terms={QUEUE: Terms(begin=1)})
        assert {len(grant.jobs) for grant in waiting.grants} == {1}

    def test_a_head_that_was_tried_before_comes_alone(self) -> None:
        """What follows a failed head is decided after it, even if no other lane waits."""
        self.put("a", "b")
        self.retry(self.claim_one(), wait=1)
        self.clock.advance(1)
        assert bodies(self.claim_one()) == ["a"]

    def test_tokens_grow_with_every_claim(self) -> None:
        """The fencing number of a queue never repeats: over lanes, owners and turns."""
        tokens = []
        for lane in ("x", "y"):
            self.put("1", "2", lane=lane)
        for owner in (ALICE, BOB) * 2:
            claimed = self.claim(owner)
            tokens += [grant.lease.token for grant in claimed.grants]
            self.store.release(owner, [grant.lease for grant in claimed.grants])
        assert len(tokens) == 8
        assert all(earlier < later for earlier, later in pairwise(tokens))

    def test_tokens_grow_after_the_clock_went_back_and_the_queue_ran_empty(self) -> None:
        """No number comes back with an older clock, even if the lane that had it has vanished."""
        self.put("a")
        first = self.claim_one()
        self.settle(first)
        self.clock.step_wall(-3600)
        self.put("b")
        assert self.claim_one().lease.token > first.lease.token

    def test_tokens_are_ahead_of_the_clock(self) -> None:
        """A token is at least the time in µs, so that it grows even if a store lost everything."""
        self.put("a")
        assert self.claim_one().lease.token >= int(self.clock.wall() * 1_000_000)

    def test_next_due_names_the_retry(self) -> None:
        """A worker may sleep until the first retry is due."""
        self.put("a", lane="x")
        self.put("b", lane="y")
        for grant, wait in zip(self.claim().grants, (30.0, 7.0), strict=True):
            self.retry(grant, wait)
        self.clock.advance(2)
        due = self.claim(BOB).next_due
        assert due is not None
        assert near(due, 5)

    def test_next_due_names_the_end_of_somebody_elses_lease(self) -> None:
        """A standby may sleep until the owner's lease ends."""
        self.put("a")
        self.claim_one(ALICE)
        self.clock.advance(4)
        due = self.claim(BOB).next_due
        assert due is not None
        assert near(due, LEASE - 4)

    def test_nothing_is_due_for_the_owner_of_all_there_is(self) -> None:
        """Its own leases wake nobody: it renews them."""
        self.put("a")
        assert self.claim().next_due is None
        assert self.claim().next_due is None

    def test_queues_are_looked_through_in_the_callers_order(self) -> None:
        """The first queue named is served first; a later one gets what is left of `lanes`."""
        for queue in ("one", "two", "three"):
            for lane in ("x", "y"):
                self.put("1", lane=lane, queue=queue)
        claimed = self.claim(queues=["two", "three", "one"], lanes=3)
        places = [(grant.lease.queue, grant.lease.lane) for grant in claimed.grants]
        assert places == [("two", "x"), ("two", "y"), ("three", "x")]
        assert claimed.others.keys() == {"three", "one"}

    def test_a_queue_gives_no_more_lanes_than_its_terms_allow(self) -> None:
        """The others get what it leaves; that lanes wait in it is told all the same."""
        for queue in ("one", "two"):
            for lane in ("x", "y", "z"):
                self.put("1", lane=lane, queue=queue)
        terms = {"one": Terms(lanes=1), "two": Terms(begin=2, lanes=2)}
        claimed = self.claim(queues=["one", "two"], lanes=5, terms=terms)
        places = [(grant.lease.queue, grant.lease.lane) for grant in claimed.grants]
        assert places == [("one", "x"), ("two", "x"), ("two", "y")]
        assert claimed.others.keys() == {"one", "two"}
        assert self.claim(BOB, queues=["one"], terms={"one": Terms(lanes=0)}).grants == ()

    def test_each_queue_has_turns_of_its_own(self) -> None:
        """While other lanes of it wait, a lane is granted with the jobs of a turn."""
        for queue in ("one", "two"):
            for lane in ("x", "y"):
                self.put(*"12345", lane=lane, queue=queue)
        terms = {"one": Terms(turn=3, lanes=1), "two": Terms(turn=2, lanes=1)}
        claimed = self.claim(queues=["one", "two"], terms=terms)
        assert [bodies(grant) for grant in claimed.grants] == [["1", "2", "3"], ["1", "2"]]

    def test_queues_are_isolated(self) -> None:
        """The same lane name in two queues is two lanes."""
        self.put("a", lane="x", queue="one")
        self.put("b", lane="x", queue="two")
        claimed = self.claim(queues=["one"])
        assert [bodies(grant) for grant in claimed.grants] == [["a"]]
        claimed = self.claim(BOB, queues=["one", "two"])
        assert [bodies(grant) for grant in claimed.grants] == [["b"]]

    def test_claiming_no_lanes_takes_none(self) -> None:
        """A worker whose slots are all taken may still ask whether others wait."""
        self.put("a")
        claimed = self.claim(lanes=0)
        assert claimed.grants == ()
        assert claimed.others.keys() == {QUEUE}
        assert bodies(self.claim_one(BOB)) == ["a"]
