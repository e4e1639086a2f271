"""What `retry_lane` and `skip_lane` promise: a lane that stopped, and the human who lets it go on."""

# ruff: noqa: S101, PLR2004 - asserts, and the numbers of an example, are the trade of a test

from __future__ import annotations

from glassq.model.leases import SettleStatus
from glassq.testing.conformance.scenario import ALICE, BOB, QUEUE, Scenario, bodies, lanes_of, near


class Halting(Scenario):
    """Nothing of a halted lane passes until somebody decides about its head."""

    def test_a_halted_lane_stops_and_others_go_on(self) -> None:
        """O3: its jobs wait for a human, for as long as it takes; no other lane does."""
        self.put("a", "b", lane="x")
        answer = self.halt(self.claim_one())
        assert (answer.status, answer.held) == (SettleStatus.DONE, False)
        self.put("c", lane="x")
        self.put("d", lane="y")
        self.live_through(60)
        assert lanes_of(self.claim(BOB)) == ["y"]
        assert self.unsettled() == ["a", "b", "c", "d"]

    def test_halted_lanes_are_listed_with_their_head(self) -> None:
        """Who looks sees why, since when and how much waits behind it; the longest halted lane first."""
        for lane in ("z", "x"):
            self.put("1", "2", "3", lane=lane)
            self.halt(self.claim_one())
            self.clock.advance(5)
        first, second = self.store.halted(QUEUE, 10)
        assert (first.lane, second.lane) == ("z", "x")
        assert (first.head.body, first.head.seq) == (b"1", 1)
        assert (first.reason, first.attempts, first.error) == ("exception", 1, b"boom")
        assert (first.waiting, near(first.since, self.clock.wall() - 10)) == (3, True)
        assert [record.lane for record in self.store.halted(QUEUE, 1)] == ["z"]
        assert self.store.halted("never-used", 10) == []

    def test_a_halted_lane_can_be_retried(self) -> None:
        """The same head runs again with fresh retries, and it comes alone, before the lanes that wait."""
        self.put("a", "b", lane="x")
        self.retry(self.claim_one(), wait=0)
        self.halt(self.claim_one())
        self.put("c", lane="y")
        assert self.store.retry_lane(QUEUE, "x")
        assert self.store.halted(QUEUE, 10) == []
        again, other = self.claim(BOB).grants
        assert (again.lease.lane, other.lease.lane) == ("x", "y")
        assert (bodies(again), again.failures, again.crashes) == (["a"], 0, 0)
        assert again.attempts == 2
        assert bodies(self.settle(again, owner=BOB)) == ["b"]

    def test_a_halted_head_can_be_skipped(self) -> None:
        """It ends as cancelled, the lane goes on with the next job, which carries nothing of it."""
        self.put("a", "b", lane="x")
        grant = self.claim_one()
        self.halt(grant)
        assert self.store.skip_lane(QUEUE, "x") == grant.jobs[0]
        assert self.stats().settled["cancelled"] == 1
        assert self.store.halted(QUEUE, 10) == []
        assert (self.stats().head_blocked, self.stats().head_attempts) == (0, 0)
        following = self.claim_one(BOB)
        assert (bodies(following), following.attempts, following.failures) == (["b"], 0, 0)
        assert self.store.dead(QUEUE, 10) == []

    def test_only_the_job_that_was_looked_at_is_skipped(self) -> None:
        """Whoever decided about a job ends that one or none: not the one the lane has halted at since."""
        jobs = self.put("a", "b", "c", lane="x")
        self.halt(self.claim_one())
        self.store.skip_lane(QUEUE, "x", expected=jobs[0].id)
        self.halt(self.claim_one())
        for other in (jobs[0].id, jobs[2].id, "other/session:1", "nonsense"):
            assert self.store.skip_lane(QUEUE, "x", expected=other) is None
        assert self.unsettled() == ["b", "c"]
        assert [record.head.id for record in self.store.halted(QUEUE, 10)] == [jobs[1].id]
        self.clock.advance(5)
        assert near(self.store.halted(QUEUE, 10)[0].since, self.clock.wall() - 5)
        skipped = self.store.skip_lane(QUEUE, "x", expected=jobs[1].id)
        assert skipped is not None
        assert skipped.id == jobs[1].id
        assert self.unsettled() == ["c"]
        assert self.stats().settled["cancelled"] == 2

    def test_skipping_the_last_job_leaves_nothing(self) -> None:
        """A lane without jobs vanishes, halted or not."""
        self.put("a", lane="x")
        self.halt(self.claim_one())
        self.clock.advance(5)
        self.store.skip_lane(QUEUE, "x")
        assert self.stats().depth == 0
        assert sum(self.stats().lanes.values()) == 0
        assert self.claim(BOB).grants == ()
        self.put("b", lane="y")
        self.clock.advance(1)
        assert near(self.stats().oldest_job_age, 1)

    def test_lanes_that_are_not_halted_are_left_alone(self) -> None:
        """Ready, held, waiting, vanished or unknown: nothing to retry, nothing to skip."""
        self.put("a", lane="held")
        self.put("b", lane="waiting")
        for grant in self.claim().grants[1:]:
            self.retry(grant)
        self.put("c", lane="ready")
        for lane in ("held", "waiting", "ready", "unknown"):
            assert not self.store.retry_lane(QUEUE, lane)
            assert self.store.skip_lane(QUEUE, lane) is None
        assert not self.store.retry_lane("never-used", "")
        assert self.store.skip_lane("never-used", "") is None
        assert self.unsettled() == ["a", "b", "c"]

    def test_a_decision_is_carried_out_once(self) -> None:
        """Two people who skip the same head skip one job."""
        self.put("a", "b", lane="x")
        self.halt(self.claim_one(ALICE))
        assert self.store.skip_lane(QUEUE, "x") is not None
        assert self.store.skip_lane(QUEUE, "x") is None
        assert not self.store.retry_lane(QUEUE, "x")
        assert self.unsettled() == ["b"]
