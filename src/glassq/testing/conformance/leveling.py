"""What priorities promise: a higher level is served next, a head that has begun is never overtaken."""

# ruff: noqa: S101 - asserts, and the numbers of an example, are the trade of a test

from __future__ import annotations

from glassq.model.jobs import NewJob, Priority
from glassq.testing.conformance.scenario import ALICE, BOB, QUEUE, Scenario, bodies


class Leveling(Scenario):
    """Order holds within (lane, level)."""

    def test_six_levels_each_in_order(self) -> None:
        """The highest level first, the order of the calls within one."""
        for turn in "12":
            for level in Priority:
                self.put(f"{level.name}{turn}", level=level)
        expected = [f"{level.name}{turn}" for level in reversed(Priority) for turn in "12"]
        assert bodies(self.claim_one(window=100)) == expected

    def test_a_begun_head_is_not_overtaken(self) -> None:
        """A higher level that comes while the head runs is next, not now."""
        self.put("low", "low2", level=Priority.LOW)
        grant = self.claim_one()
        self.put("high", level=Priority.HIGH)
        answer = self.settle(grant, next_id=grant.jobs[1].id)
        assert bodies(answer) == ["high", "low2"], "the window is stale and replaced"

    def test_a_window_that_spans_levels_goes_stale(self) -> None:
        """What is higher than a part of the window comes before that part, not before the running head."""
        self.put("high", level=Priority.CRITICAL)
        self.put("n0", "n1")
        grant = self.claim_one()
        assert bodies(grant) == ["high", "n0", "n1"]
        self.put("new", level=Priority.CRITICAL)
        assert bodies(self.settle(grant, next_id=grant.jobs[1].id)) == ["new", "n0", "n1"]

    def test_a_retrying_head_is_not_overtaken(self) -> None:
        """It has begun: what is higher waits until it has settled, also on another worker."""
        self.put("low", level=Priority.LOW)
        self.retry(self.claim_one(), wait=5)
        self.put("high", level=Priority.CRITICAL)
        self.live_through(6)
        again = self.claim_one(BOB)
        assert (bodies(again), again.attempts) == (["low"], 1)
        assert bodies(self.settle(again, owner=BOB)) == ["high"]

    def test_a_crashed_head_is_not_overtaken(self) -> None:
        """Whether it ran cannot be known, so it has begun."""
        self.put("low", level=Priority.LOW)
        self.claim_one(ALICE)
        self.put("high", level=Priority.HIGH)
        self.live_through(20)
        assert bodies(self.claim_one(BOB)) == ["low"]

    def test_a_released_head_that_never_ran_is_overtaken(self) -> None:
        """Nothing of it has begun, so the higher level is served first."""
        self.put("low", level=Priority.LOW)
        grant = self.claim_one()
        self.put("high", level=Priority.HIGH)
        self.store.release(ALICE, [grant.lease])
        assert bodies(self.claim_one(BOB)) == ["high", "low"]

    def test_the_same_or_a_lower_level_leaves_the_window_as_it_is(self) -> None:
        """What comes behind the window changes nothing about it."""
        self.put("a", "b")
        grant = self.claim_one()
        self.put("c")
        self.put("d", level=Priority.LOW)
        answer = self.settle(grant, next_id=grant.jobs[1].id)
        assert (answer.held, answer.jobs, answer.change) == (True, (), grant.change)

    def test_a_batch_that_overtakes_nothing_leaves_the_window_as_it_is(self) -> None:
        """In whatever order its own levels come: no job that was there before comes later than before."""
        for levels in ((Priority.LOW, Priority.HIGH), (Priority.HIGH, Priority.LOW)):
            lane = str(levels)
            self.put("a", "b", lane=lane, level=Priority.HIGH)
            grant = self.claim_one()
            self.store.append(QUEUE, [NewJob(body=b"c", lane=lane, level=level) for level in levels])
            answer = self.settle(grant, next_id=grant.jobs[1].id)
            assert (answer.held, answer.jobs, answer.change) == (True, (), grant.change)

    def test_levels_of_other_lanes_do_not_matter(self) -> None:
        """Lanes are served in turn; a level orders the jobs of its own lane."""
        self.put("low", lane="x", level=Priority.VERY_LOW)
        self.put("high", lane="y", level=Priority.CRITICAL)
        assert [grant.lease.lane for grant in self.claim().grants] == ["x", "y"]
