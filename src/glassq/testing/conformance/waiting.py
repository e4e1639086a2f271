"""What a claim tells of the times at which nobody held its lane, and so of what its jobs waited for."""

# ruff: noqa: S101, PLR2004 - asserts, and the numbers of an example, are the trade of a test

from __future__ import annotations

from glassq.model.leases import Grant, Leaving, Owner
from glassq.model.waits import WaitCause
from glassq.testing.conformance.scenario import ALICE, BOB, LEASE, QUEUE, Scenario

_W = WaitCause


class Waiting(Scenario):
    """The parts of a wait: by cause, whole, and each of a job's own time only."""

    def waited(self, grant: Grant, index: int = 0) -> dict[str, float]:
        """What a job of a window has waited for, if it starts now."""
        job = grant.jobs[index]
        seconds, causes = grant.waits.split(job.eligible_at, self.clock.wall())
        assert abs(sum(causes.values()) - seconds) < 1e-6
        assert abs(seconds - (self.clock.wall() - job.eligible_at)) < 1e-6
        return {cause: round(spent, 3) for cause, spent in causes.items() if spent}

    def test_a_ready_lane_waits_for_its_turn(self) -> None:
        """Somebody serves the queue, and was busy with other lanes."""
        with self.listening(BOB):
            self.put("a")
            self.clock.advance(2)
            self.put("b")
            self.clock.advance(3)
            grant = self.claim_one(BOB)
        assert self.waited(grant) == {_W.FAIRNESS: 5}
        assert self.waited(grant, 1) == {_W.FAIRNESS: 3}

    def test_nobody_serves_the_queue(self) -> None:
        """Before the first worker came, and after the last one said goodbye."""
        self.put("a")
        self.clock.advance(2)
        with self.listening(BOB):
            self.clock.advance(1)
        self.clock.advance(4)
        with self.listening(BOB):
            grant = self.claim_one(BOB)
        assert self.waited(grant) == {_W.NO_WORKER: 6, _W.FAIRNESS: 1}

    def test_one_of_two_workers_is_enough(self) -> None:
        """The goodbye of another one leaves nobody alone."""
        with self.listening(ALICE):
            self.put("a")
            with self.listening(BOB):
                self.clock.advance(1)
            self.clock.advance(2)
            assert self.waited(self.claim_one(ALICE)) == {_W.FAIRNESS: 3}

    def test_a_worker_that_is_silent_serves_nothing(self) -> None:
        """A minute after it was heard of last; whoever is heard of again serves on."""
        self.store.report(BOB, [QUEUE])
        self.put("a")
        self.live_through(59)
        self.store.report(BOB, [QUEUE])
        self.live_through(61)
        self.store.report(BOB, [QUEUE])
        self.clock.advance(1)
        assert self.waited(self.claim_one(BOB)) == {_W.FAIRNESS: 120, _W.NO_WORKER: 1}

    def test_a_held_lane_waits_for_its_own_jobs(self) -> None:
        """The price of order: whatever ran before in the same lane."""
        with self.listening(BOB):
            self.put("a", "b")
            self.clock.advance(1)
            grant = self.claim_one(BOB)
            self.clock.advance(4)
            assert self.waited(grant, 1) == {_W.FAIRNESS: 1, _W.BEHIND_LANE: 4}
            self.put("c")
            self.clock.advance(2)
            self.settle(grant, owner=BOB, leaving=Leaving.YIELD)
            self.clock.advance(3)
            again = self.claim_one(BOB)
        assert self.waited(again) == {_W.FAIRNESS: 4, _W.BEHIND_LANE: 6}
        assert self.waited(again, 1) == {_W.FAIRNESS: 3, _W.BEHIND_LANE: 2}

    def test_a_lane_waits_for_a_retry(self) -> None:
        """Until it is due; then for its turn."""
        with self.listening(BOB):
            self.put("a", "b")
            self.retry(self.claim_one(BOB), wait=6, owner=BOB)
            self.clock.advance(8)
            grant = self.claim_one(BOB)
            assert [job.body for job in grant.jobs] == [b"a"]
            self.settle(grant, owner=BOB, leaving=Leaving.YIELD)
            assert self.waited(self.claim_one(BOB)) == {_W.BACKOFF: 6, _W.FAIRNESS: 2}

    def test_a_lane_waits_for_a_human(self) -> None:
        """Until its head is skipped, or tried again."""
        with self.listening(BOB):
            self.put("a", "b", "c")
            self.halt(self.claim_one(BOB), owner=BOB)
            self.clock.advance(5)
            assert self.store.skip_lane(QUEUE, "") is not None
            self.clock.advance(1)
            grant = self.claim_one(BOB)
            assert self.waited(grant) == {_W.HALTED: 5, _W.FAIRNESS: 1}
            self.halt(grant, owner=BOB)
            self.clock.advance(2)
            assert self.store.retry_lane(QUEUE, "")
            again = self.claim_one(BOB)
            self.settle(again, owner=BOB, leaving=Leaving.YIELD)
            assert self.waited(self.claim_one(BOB)) == {_W.HALTED: 7, _W.FAIRNESS: 1}

    def test_a_paused_lane_or_queue(self) -> None:
        """Each by itself and both at once, once; also where nobody serves the queue."""
        self.put("a", lane="x")
        self.clock.advance(1)
        self.store.pause(QUEUE, "x")
        self.clock.advance(2)
        self.store.pause(QUEUE)
        self.clock.advance(3)
        self.store.resume(QUEUE, "x")
        self.clock.advance(4)
        self.store.resume(QUEUE)
        self.clock.advance(5)
        with self.listening(BOB):
            assert self.waited(self.claim_one(BOB)) == {_W.NO_WORKER: 6, _W.PAUSED: 9}

    def test_the_rest_of_a_dead_owners_lease(self) -> None:
        """Since it was heard of last, nobody worked; before that it did."""
        with self.listening(BOB):
            self.put("a", "b")
            dead = self.claim_one(ALICE)
            self.live_through(4)
            self.renew(ALICE, [dead.lease])
            self.live_through(LEASE + 2)
            grant = self.claim_one(BOB)
            assert grant.attempts == 1
            self.settle(grant, owner=BOB, leaving=Leaving.YIELD)
            waited = self.waited(self.claim_one(BOB))
        assert waited[_W.BEHIND_LANE] == 4
        assert waited[_W.NO_WORKER] + waited.get(_W.FAIRNESS, 0) == LEASE + 2
        assert waited[_W.NO_WORKER] >= LEASE

    def test_many_turns_are_kept_in_little(self) -> None:
        """However many there were, little is handed over, and those that came last are told exactly."""
        with self.listening(BOB):
            count = 60
            self.put(*map(str, range(count)))
            for _ in range(count):
                self.clock.advance(0.25)
                grant = self.claim_one(BOB)
                self.put("more")
                self.clock.advance(0.5)
                self.settle(grant, owner=BOB, leaving=Leaving.YIELD)
                self.renew(BOB, [])
            self.clock.advance(0.25)
            grant = self.claim_one(BOB, window=count)
        assert len(grant.waits.stretches) <= 24
        assert [self.waited(grant, index)[_W.FAIRNESS] for index in (count - 2, count - 1)] == [0.5, 0.25]
        assert all(self.waited(grant, index)[_W.FAIRNESS] > 0 for index in range(count))

    def test_many_pauses_are_kept_in_little(self) -> None:
        """A lane that is paused and resumed again and again, while nobody claims it, does not grow by it."""
        rounds = 60
        with self.listening(BOB):
            self.put("a", lane="x")
            for _ in range(rounds):
                self.clock.advance(0.25)
                self.store.pause(QUEUE, "x")
                self.clock.advance(0.5)
                self.store.resume(QUEUE, "x")
                self.renew(BOB, [])
            grant = self.claim_one(BOB)
        assert len(grant.waits.stretches) <= 24
        assert self.waited(grant) == {_W.FAIRNESS: rounds * 0.25, _W.PAUSED: rounds * 0.5}

    def test_what_is_granted_again_is_told_again(self) -> None:
        """A lane that was given back unserved has waited all the time, but for the time it was held."""
        with self.listening(BOB):
            self.put("a")
            self.clock.advance(1)
            grant = self.claim_one(BOB)
            self.clock.advance(2)
            for front in (True, False):
                self.store.release(BOB, [grant.lease], front=front)
                self.clock.advance(3)
                grant = self.claim_one(BOB)
        assert self.waited(grant) == {_W.FAIRNESS: 7, _W.BEHIND_LANE: 2}

    def test_an_empty_lane_forgets(self) -> None:
        """What its jobs waited for is nobody's any more when the next one comes."""
        stranger = Owner("carol", "first")
        with self.listening(stranger):
            for _ in range(2):
                self.put("a", "b")
                self.clock.advance(1)
                grant = self.claim_one(stranger)
                self.settle(grant, owner=stranger, leaving=Leaving.YIELD)
                self.clock.advance(1)
                grant = self.claim_one(stranger)
                assert self.waited(grant) == {_W.FAIRNESS: 2}
                self.settle(grant, owner=stranger)
