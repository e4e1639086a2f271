"""What `lanes` and `workers` promise: the keys that need a look come first, and who serves them is named."""

# ruff: noqa: S101, PLR2004 - asserts, and the numbers of an example, are the trade of a test

from __future__ import annotations

from glassq.model.lanes import LaneOrder, LanesSeen, LaneStats, WorkerStats
from glassq.model.leases import Leaving
from glassq.model.stats import LaneState
from glassq.testing.conformance.scenario import ALICE, BOB, LEASE, QUEUE, Scenario, near

ENOUGH = 1000


class Ranking(Scenario):
    """Lanes by depth, by age, by how long they are held up."""

    def seen(self, by: LaneOrder, limit: int = 100, look: int = ENOUGH) -> LanesSeen:
        """The first lanes of the queue."""
        return self.store.lanes(QUEUE, by=by, limit=limit, look=look)

    def names(self, by: LaneOrder, limit: int = 100) -> list[str]:
        """Their names."""
        return [each.lane for each in self.seen(by, limit).lanes]

    def figures(self, lane: str) -> LaneStats:
        """What is told of one lane; fails when it is not among those with jobs."""
        return next(each for each in self.seen(LaneOrder.DEPTH).lanes if each.lane == lane)

    def test_the_deepest_lane_comes_first(self) -> None:
        """Whatever states they are in, and by name where they are as deep; cut at the limit."""
        for lane, jobs in (("one", 1), ("held", 4), ("three", 3), ("halted", 2), ("other", 1)):
            self.put(*"x" * jobs, lane=lane)
        for grant in self.claim(lanes=4).grants:
            if grant.lease.lane == "halted":
                self.halt(grant)
            elif grant.lease.lane != "held":
                self.store.release(ALICE, [grant.lease])
        assert self.names(LaneOrder.DEPTH) == ["held", "three", "halted", "one", "other"]
        seen = self.seen(LaneOrder.DEPTH, limit=2)
        assert [each.depth for each in seen.lanes] == [4, 3]
        assert (seen.total, seen.looked, seen.exact) == (5, 5, True)

    def test_levels_of_a_lane_count_together(self) -> None:
        """Its depth is of all levels; the head is the first of the highest, the oldest the first by seq."""
        self.put("low", lane="x", level=1)
        self.clock.advance(5)
        _, urgent = self.put("y", lane="y"), self.put("urgent", "next", lane="x", level=6)[0]
        found = self.figures("x")
        assert (found.depth, found.head) == (3, urgent.id)
        assert near(found.head_age, 0)
        assert near(found.oldest_age, 5)
        assert self.names(LaneOrder.AGE) == ["x", "y"]

    def test_the_oldest_lane_comes_first(self) -> None:
        """Held or not; a lane whose first job is settled is as old as its next one."""
        for lane in ("a", "b", "c"):
            self.put(lane, lane=lane)
            self.clock.advance(1)
        self.put("a-2", lane="a")
        grant = self.claim_one()
        assert self.names(LaneOrder.AGE) == ["a", "b", "c"]
        self.settle(grant)
        assert self.names(LaneOrder.AGE) == ["b", "c", "a"]
        ages = [each.oldest_age for each in self.seen(LaneOrder.AGE).lanes]
        assert all(map(near, ages, [2, 1, 0]))
        assert self.names(LaneOrder.AGE, limit=1) == ["b"]

    def test_each_state_is_named(self) -> None:
        """With the head, its attempts, and who holds the lane."""
        for lane in ("retrying", "halted", "held", "paused", "ready"):
            self.put("1", "2", lane=lane)
        grants = {grant.lease.lane: grant for grant in self.claim(lanes=3).grants}
        self.retry(grants["retrying"])
        self.halt(grants["halted"])
        self.store.pause(QUEUE, "paused")
        states = {each.lane: each.state for each in self.seen(LaneOrder.DEPTH).lanes}
        assert states == {
            "retrying": LaneState.WAITING_RETRY,
            "halted": LaneState.HALTED,
            "held": LaneState.LEASED,
            "paused": LaneState.PAUSED,
            "ready": LaneState.READY,
        }
        held, retrying, ready = map(self.figures, ("held", "retrying", "ready"))
        assert (held.owner, held.attempts, held.head) == (str(ALICE), 1, grants["held"].jobs[0].id)
        assert (retrying.owner, retrying.attempts) == ("", 1)
        assert retrying.head == grants["retrying"].jobs[0].id
        assert (ready.owner, ready.attempts, ready.blocked) == ("", 0, 0)

    def test_states_are_those_of_the_gauges(self) -> None:
        """A lane that would be tried again but for a pause is paused, and every one is in a paused queue,
        but for those that are held or halted."""
        for lane in ("retrying", "halted", "held", "ready"):
            self.put("1", lane=lane)
        for grant in self.claim(lanes=3).grants:
            if grant.lease.lane == "retrying":
                self.retry(grant)
            elif grant.lease.lane == "halted":
                self.halt(grant)
        self.store.pause(QUEUE, "retrying")
        assert self.figures("retrying").state is LaneState.PAUSED
        self._counts_as_the_gauges_do()
        self.store.pause(QUEUE)
        self._counts_as_the_gauges_do()
        assert self.figures("ready").state is LaneState.PAUSED
        assert self.figures("halted").state is LaneState.HALTED

    def _counts_as_the_gauges_do(self) -> None:
        counted = dict.fromkeys(map(str, LaneState), 0)
        for each in self.seen(LaneOrder.DEPTH).lanes:
            counted[each.state] += 1
        assert counted == self.stats().lanes

    def test_the_lane_that_is_held_up_longest_comes_first(self) -> None:
        """By a head that failed, a halt, a pause; lanes that only wait their turn are not listed."""
        for lane in ("halted", "retrying", "paused", "ready"):
            self.put("1", "2", lane=lane)
        halted, retrying = self.claim(lanes=2).grants
        self.halt(halted)
        self.clock.advance(3)
        self.store.pause(QUEUE, "paused")
        self.clock.advance(2)
        self.retry(retrying, wait=60)
        self.clock.advance(1)
        seen = self.seen(LaneOrder.BLOCKED)
        assert [each.lane for each in seen.lanes] == ["halted", "paused", "retrying"]
        assert all(map(near, [each.blocked for each in seen.lanes], [6, 3, 1]))
        assert (seen.total, seen.exact) == (4, True)

    def test_a_head_that_runs_again_is_still_held_up(self) -> None:
        """Since its first failure, until it is settled."""
        self.put("a", "b", lane="x")
        self.retry(self.claim_one(), wait=1)
        self.clock.advance(2)
        again = self.claim_one()
        assert near(self.figures("x").blocked, 2)
        assert self.figures("x").attempts == 2
        assert self.names(LaneOrder.BLOCKED) == ["x"]
        self.settle(again)
        assert self.figures("x").blocked == 0
        assert self.names(LaneOrder.BLOCKED) == []

    def test_a_paused_queue_holds_up_what_waits_in_it(self) -> None:
        """From the pause on, or from when the lane was nobody's; what is held goes on."""
        self.put("a", lane="held")
        self.claim_one()
        self.put("b", lane="early")
        self.clock.advance(2)
        self.store.pause(QUEUE)
        self.clock.advance(3)
        self.put("c", lane="late")
        self.clock.advance(4)
        seen = self.seen(LaneOrder.BLOCKED)
        assert [each.lane for each in seen.lanes] == ["early", "late"]
        assert all(map(near, [each.blocked for each in seen.lanes], [7, 4]))
        self.store.pause(QUEUE, "early")
        assert near(self.figures("early").blocked, 7)
        self.store.resume(QUEUE)
        assert self.names(LaneOrder.BLOCKED) == ["early"]

    def test_jobs_that_come_into_a_paused_lane_are_held_up_since_then(self) -> None:
        """A pause ahead of the first job has held up nothing yet."""
        self.store.pause(QUEUE, "x")
        self.put("y", lane="y")
        self.clock.advance(5)
        assert self.names(LaneOrder.BLOCKED) == []
        self.put("x", lane="x")
        self.clock.advance(2)
        assert near(self.figures("x").blocked, 2)
        assert self.names(LaneOrder.BLOCKED) == ["x"]

    def test_a_lane_that_was_held_when_it_was_paused(self) -> None:
        """It is held up from when its worker leaves it."""
        self.put("a", "b", lane="x")
        grant = self.claim_one()
        self.store.pause(QUEUE, "x")
        self.clock.advance(5)
        assert self.figures("x").blocked == 0
        self.settle(grant)
        self.clock.advance(2)
        assert near(self.figures("x").blocked, 2)

    def test_a_lane_whose_lease_has_ended_is_held_up(self) -> None:
        """Its owner was lost: since then, also once it was taken back; until somebody ran its head."""
        self.put("a", lane="x")
        self.put("b", lane="y")
        self.claim()
        self.clock.advance(LEASE - 1)
        assert self.names(LaneOrder.BLOCKED) == []
        self.clock.advance(3)
        assert self.names(LaneOrder.BLOCKED) == ["x", "y"]
        lost = self.figures("x")
        assert (lost.state, lost.owner, near(lost.blocked, 2)) == (LaneState.LEASED, str(ALICE), True)

    def test_looking_is_bounded(self) -> None:
        """No more lanes are looked at than were asked for, and the answer says whether that was enough."""
        for number in range(30):
            self.put("1", lane=f"lane-{number:02}")
        seen = self.seen(LaneOrder.DEPTH, limit=5, look=10)
        assert (len(seen.lanes), seen.total, seen.looked, seen.exact) == (5, 30, 10, False)
        seen = self.seen(LaneOrder.DEPTH, limit=5, look=30)
        assert (seen.total, seen.looked, seen.exact) == (30, 30, True)
        assert [each.lane for each in seen.lanes] == [f"lane-{number:02}" for number in range(5)]
        assert self.seen(LaneOrder.DEPTH, limit=0).lanes == ()

    def test_more_lanes_than_one_look_takes(self) -> None:
        """However many pages that are: each lane is seen once, and none is left out."""
        for start in range(0, 1100, 100):
            for number in range(start, start + 100):
                self.put("1", lane=f"lane-{number:04}")
        self.claim(lanes=100)
        self.put("2", "3", lane="lane-0777")
        self.put("2", lane="lane-0042")
        for by in LaneOrder.DEPTH, LaneOrder.AGE:
            seen = self.seen(by, limit=1100, look=2000)
            assert len({each.lane for each in seen.lanes}) == seen.total == 1100
            assert seen.exact
        assert self.names(LaneOrder.DEPTH, limit=3) == ["lane-0777", "lane-0042", "lane-0000"]
        assert self.names(LaneOrder.AGE, limit=2) == ["lane-0000", "lane-0001"]

    def test_large_jobs_are_looked_at_like_any(self) -> None:
        """What a look costs is bounded, not what it finds."""
        for number in range(12):
            self.put("x" * 500_000, lane=f"lane-{number:02}")
        self.claim(lanes=6)
        for by in LaneOrder.DEPTH, LaneOrder.AGE:
            assert self.names(by) == [f"lane-{number:02}" for number in range(12)]

    def test_a_queue_without_lanes(self) -> None:
        """Nothing is listed of one that is empty, drained, or was never used."""
        for by in LaneOrder:
            assert self.store.lanes("never-used", by=by, limit=5, look=5) == LanesSeen()
        self.put("a")
        self.settle(self.claim_one())
        for by in LaneOrder:
            assert self.seen(by) == LanesSeen()
        assert self.store.queues() == [QUEUE]

    def test_the_lane_without_a_key_is_one_of_them(self) -> None:
        """It has the empty name."""
        self.put("a", "b")
        self.put("c", lane="x")
        assert self.names(LaneOrder.DEPTH) == ["", "x"]

    def test_a_lane_that_is_kept_without_jobs_is_not_listed(self) -> None:
        """It is held for a callback of its last job, and has nothing to stand out by."""
        self.put("a", lane="kept")
        self.settle(self.claim_one(), leaving=Leaving.KEEP)
        self.put("b", lane="other")
        self.clock.advance(2 * LEASE)
        assert self.names(LaneOrder.DEPTH, limit=1) == self.names(LaneOrder.AGE, limit=1) == ["other"]
        assert self.names(LaneOrder.BLOCKED) == []

    def test_looking_changes_nothing(self) -> None:
        """Not even by a lease that has ended, or a retry that is due."""
        self.put("a", "b", lane="x")
        self.put("c", lane="y")
        grants = self.claim().grants
        self.retry(grants[0], wait=1)
        self.clock.advance(LEASE + 5)
        before = self.stats()
        for by in LaneOrder:
            self.seen(by)
        self.store.workers(QUEUE)
        assert self.stats() == before

    def test_paused_keys_are_counted_with_and_without_jobs(self) -> None:
        """A key that was paused ahead of its jobs is not forgotten, though it has no lane yet."""
        assert self.stats().paused_keys == 0
        self.put("a", lane="x")
        for lane in ("x", "y", "z"):
            self.store.pause(QUEUE, lane)
        self.store.pause(QUEUE)
        found = self.stats()
        assert (found.paused_keys, found.paused_whole, found.lanes["paused"]) == (3, True, 1)
        self.store.resume(QUEUE, "y")
        self.store.resume(QUEUE)
        assert (self.stats().paused_keys, self.stats().paused_whole) == (2, False)


class Serving(Scenario):
    """Who serves a queue, and what each of them holds."""

    def workers(self, queue: str = QUEUE) -> dict[str, WorkerStats]:
        """The queue's workers by owner."""
        return {each.owner: each for each in self.store.workers(queue)}

    def test_each_worker_says_what_it_holds(self) -> None:
        """Lanes of this queue, and the jobs in progress in them."""
        for lane in "abcd":
            self.put("1", "2", lane=lane)
        self.put("1", queue="letters")
        with self.listening(ALICE), self.listening(BOB):
            grants = self.claim(lanes=3).grants
            self.claim(BOB, queues=["letters"])
            self.settle(grants[0], leaving=Leaving.KEEP)
            alice, bob = self.workers()[str(ALICE)], self.workers()[str(BOB)]
            assert (alice.alive, alice.lanes, alice.running) == (True, 3, 2)
            assert (bob.alive, bob.lanes, bob.running) == (True, 0, 0)
            assert self.store.workers("letters")[0].owner == str(BOB)
        assert [each.owner for each in self.store.workers(QUEUE)] == [str(ALICE)]

    def test_workers_are_listed_by_name(self) -> None:
        """So that two looks can be compared."""
        with self.listening(BOB), self.listening(ALICE):
            assert [each.owner for each in self.store.workers(QUEUE)] == [str(ALICE), str(BOB)]
        assert self.store.workers(QUEUE) == []
        assert self.store.workers("never-used") == []

    def test_when_it_was_heard_of(self) -> None:
        """Seconds since its last heartbeat, by the store's clock."""
        self.put("a")
        with self.listening(ALICE):
            self.clock.advance(7)
            heard = self.workers()[str(ALICE)].heard
            assert heard is not None
            assert near(heard, 7)
            self.store.report(ALICE, [QUEUE])
            heard = self.workers()[str(ALICE)].heard
            assert heard is not None
            assert near(heard, 0)

    def test_a_worker_that_is_gone_and_holds_lanes_is_named(self) -> None:
        """Until somebody takes them: it is what those jobs wait for."""
        self.put("a", lane="x")
        self.put("b", lane="y")
        with self.listening(ALICE):
            self.claim()
        gone = self.workers()[str(ALICE)]
        assert (gone.alive, gone.heard, gone.lanes, gone.running) == (False, None, 2, 2)
        self.live_through(2 * LEASE + 1)
        assert self.workers() == {}

    def test_a_silent_worker_is_not_alive(self) -> None:
        """Nobody has heard of it for longer than workers stay silent."""
        self.put("a")
        with self.listening(ALICE), self.listening(BOB, self.another_handle()):
            self.claim()
            for _ in range(20):
                self.clock.advance(LEASE / 3)
                self.renew(ALICE, [])
                self.store.report(BOB, [QUEUE])
            found = self.workers()
            assert found[str(BOB)].alive
            assert str(ALICE) not in found or not found[str(ALICE)].alive
