"""What people may do to jobs and lanes: cancel, pause, replay, look one up."""

# ruff: noqa: S101, PLR2004 - asserts, and the numbers of an example, are the trade of a test

from __future__ import annotations

from glassq.model.jobs import Cancellation, Priority
from glassq.model.leases import Leaving
from glassq.model.verdicts import Action
from glassq.testing.conformance.scenario import (
    ALICE,
    BOB,
    LEASE,
    QUEUE,
    Scenario,
    bodies,
    lanes_of,
    refused,
)


class Balanced(Scenario):
    """Adds the books' rule to a scenario."""

    def balance(self) -> None:
        """Hold the books against each other: enqueued + replayed = settled + left."""
        stats = self.stats()
        assert stats.enqueued + stats.replayed == sum(stats.settled.values()) + stats.depth
        assert min(stats.by_state().values()) >= 0


class Cancelling(Balanced):
    """`cancel` takes out what has not begun, and asks for what has."""

    def test_a_waiting_job_is_removed(self) -> None:
        """It never runs, its neighbours keep their order, and it counts as cancelled."""
        _, middle, _ = self.put("a", "b", "c")
        assert self.store.cancel(middle.id) is Cancellation.REMOVED
        assert bodies(self.claim_one()) == ["a", "c"]
        assert self.stats().settled["cancelled"] == 1
        assert self.store.cancel(middle.id) is None
        self.balance()

    def test_a_lanes_only_job_leaves_nothing_behind(self) -> None:
        """The lane vanishes with it."""
        [only] = self.put("a", lane="x")
        self.store.cancel(only.id)
        assert sum(self.stats().lanes.values()) == 0
        assert self.claim().grants == ()
        assert [answer.seq for answer in self.put("b", lane="x")] == [2]
        assert bodies(self.claim_one()) == ["b"]
        self.balance()

    def test_a_running_job_is_asked(self) -> None:
        """Its worker hears of it at the next renewal, and may settle it as cancelled or as it likes."""
        first, _ = self.put("a", "b")
        grant = self.claim_one()
        assert self.store.renew(ALICE, [grant.lease], lease_seconds=LEASE).cancelled == frozenset()
        assert self.store.cancel(first.id) is Cancellation.ASKED
        assert self.store.renew(ALICE, [grant.lease], lease_seconds=LEASE).cancelled == {first.id}
        answer = self.settle(grant, Action.CANCEL, next_id=grant.jobs[1].id)
        assert answer.held
        assert self.store.renew(ALICE, [grant.lease], lease_seconds=LEASE).cancelled == frozenset()
        assert self.stats().settled["cancelled"] == 1
        self.balance()

    def test_a_job_asked_to_end_does_not_run_again(self) -> None:
        """After a failure, or the death of its worker, the next owner is told that it is cancelled."""
        for crash in (False, True):
            [job] = self.put("a")
            grant = self.claim_one()
            self.store.cancel(job.id)
            if crash:
                self.live_through(LEASE + 2)
            else:
                self.retry(grant, wait=0)
            again = self.claim_one(BOB)
            assert (bodies(again), again.cancelled) == (["a"], True)
            self.settle(again, Action.CANCEL, owner=BOB)
        self.put("b")
        assert self.claim_one().cancelled is False
        self.balance()

    def test_a_job_read_ahead_does_not_run(self) -> None:
        """Cancelled behind a running head, the worker's window is replaced before it would begin."""
        _, second, _ = self.put("a", "b", "c")
        grant = self.claim_one()
        assert self.store.cancel(second.id) is Cancellation.REMOVED
        answer = self.settle(grant, next_id=second.id)
        assert (answer.held, bodies(answer)) == (True, ["c"])
        self.balance()

    def test_a_retrying_or_halted_head_is_removed_and_its_lane_goes_on(self) -> None:
        """The next job starts with nothing of it."""
        for stop in (self.retry, self.halt):
            head, _ = self.put("a", "b", lane="x")
            stop(self.claim_one())
            assert self.store.cancel(head.id) is Cancellation.REMOVED
            after = self.claim_one(BOB)
            assert (bodies(after), after.attempts, after.failures) == (["b"], 0, 0)
            self.settle(after, owner=BOB)
        assert self.stats().head_blocked == 0
        self.balance()

    def test_unknown_ids(self) -> None:
        """None, of whatever queue and form."""
        self.put("a")
        for unknown in (f"{QUEUE}/nobody:1", "never/x:1", "no id at all", ""):
            assert self.store.cancel(unknown) is None
            assert self.store.get(unknown) is None


class Finding(Scenario):
    """`get` tells where a job is."""

    def test_each_state_is_told(self) -> None:
        """Ready, leased, retrying, halted, buried; settled jobs are not kept."""
        first, second = self.put("a", "b", lane="x", level=Priority.HIGH)
        grant = self.claim_one()
        running, waiting = self.store.get(first.id), self.store.get(second.id)
        assert running is not None
        assert waiting is not None
        assert (running.state, running.attempts, waiting.state, waiting.attempts) == ("leased", 1, "ready", 0)
        assert (waiting.lane, waiting.level, waiting.seq, waiting.body) == ("x", Priority.HIGH, 2, b"b")
        self.retry(grant, wait=0)
        retrying = self.store.get(first.id)
        assert retrying is not None
        assert (retrying.state, retrying.attempts) == ("ready", 1)
        self.halt(self.claim_one())
        halted = self.store.get(first.id)
        assert halted is not None
        assert (halted.state, halted.attempts, halted.reason) == ("ready", 2, "exception")
        self.store.retry_lane(QUEUE, "x")
        grant = self.claim_one()
        self.bury(grant, leaving=Leaving.RELEASE)
        buried = self.store.get(first.id)
        assert buried is not None
        assert (buried.state, buried.attempts, buried.reason) == ("buried", 3, "exception")
        self.settle(self.claim_one())
        assert self.store.get(second.id) is None


class Pausing(Balanced):
    """Nothing begins in what is paused; what runs is not disturbed."""

    def test_a_paused_queue_gives_nothing(self) -> None:
        """Until it is resumed, which wakes the workers; other queues go on."""
        self.put("a", lane="x")
        self.put("b", queue="other")
        assert self.store.pause(QUEUE) is False
        assert self.store.pause(QUEUE) is True
        self.put("c", lane="y")
        assert lanes_of(self.claim(queues=[QUEUE, "other"])) == [""]
        stats = self.stats()
        assert (stats.paused, stats.ready, stats.paused_whole) == (2, 0, True)
        assert (stats.lanes["paused"], stats.lanes["ready"]) == (2, 0)
        with self.listening(BOB) as bell:
            assert self.store.resume(QUEUE) is True
            assert bell.wait(5)
        assert self.store.resume(QUEUE) is False
        assert lanes_of(self.claim(BOB)) == ["x", "y"]
        self.balance()

    def test_a_paused_lane_gives_nothing_and_others_go_on(self) -> None:
        """Also a lane that had no jobs when it was paused."""
        self.put("a", lane="x")
        self.store.pause(QUEUE, "x")
        self.store.pause(QUEUE, "y")
        self.put("b", lane="y")
        self.put("c", lane="z")
        assert lanes_of(self.claim()) == ["z"]
        stats = self.stats()
        assert (stats.paused, stats.ready, stats.paused_whole) == (2, 0, False)
        assert self.store.resume(QUEUE, "y")
        assert not self.store.resume(QUEUE, "z")
        assert lanes_of(self.claim(BOB)) == ["y"]
        self.balance()

    def test_a_lane_is_left_at_its_settlement(self) -> None:
        """The running job ends; the one named as next does not begin."""
        for lane in (None, "x"):
            self.put("a", "b", lane="x")
            grant = self.claim_one()
            self.store.pause(QUEUE, lane)
            assert self.store.renew(ALICE, [grant.lease], lease_seconds=LEASE).lost == frozenset()
            answer = self.settle(grant, next_id=grant.jobs[1].id)
            assert (answer.held, answer.jobs) == (False, ())
            assert self.claim(BOB).grants == ()
            assert self.stats().paused == 1
            self.store.resume(QUEUE, lane)
            rest = self.claim_one(BOB)
            assert bodies(rest) == ["b"]
            self.settle(rest, owner=BOB)
        self.balance()

    def test_a_callback_may_end_in_a_paused_lane(self) -> None:
        """A lane that is kept for a callback stays held, with nothing to go on with."""
        self.put("a", "b")
        grant = self.claim_one()
        self.store.pause(QUEUE)
        answer = self.settle(grant, next_id=grant.jobs[1].id, leaving=Leaving.KEEP)
        assert (answer.held, answer.jobs) == (True, ())
        assert answer.change != grant.change
        self.store.release(ALICE, [grant.lease])
        assert self.claim(BOB).grants == ()
        self.store.resume(QUEUE)
        assert bodies(self.claim_one(BOB)) == ["b"]

    def test_a_retry_that_is_due_waits_for_the_end_of_the_pause(self) -> None:
        """Neither it nor a lane whose owner died begins in a pause."""
        self.put("a", lane="x")
        self.put("b", lane="y")
        first, _ = self.claim().grants
        self.retry(first, wait=1)
        self.store.pause(QUEUE, "x")
        self.store.pause(QUEUE, "y")
        self.live_through(LEASE + 2)
        assert self.claim(BOB).grants == ()
        assert self.stats().paused == 2
        self.store.resume(QUEUE, "x")
        self.store.resume(QUEUE, "y")
        assert sorted(lanes_of(self.claim(BOB))) == ["x", "y"]
        self.balance()

    def test_scopes_are_lifted_by_themselves(self) -> None:
        """A lane that was paused stays so when its queue is resumed."""
        self.put("a", lane="x")
        self.store.pause(QUEUE, "x")
        self.store.pause(QUEUE)
        self.store.resume(QUEUE)
        assert self.claim().grants == ()
        self.store.resume(QUEUE, "x")
        assert lanes_of(self.claim()) == ["x"]


class Replaying(Balanced):
    """O8: dead letters come back in their order."""

    def dead(self, *names: str, lane: str = "") -> list[str]:
        """Bury jobs of these bodies; returns their ids."""
        ids = [answer.id for answer in self.put(*names, lane=lane)]
        for _ in names:
            grant = self.claim_one()
            self.bury(grant, leaving=Leaving.RELEASE)
        return ids

    def test_the_front_comes_before_all_that_waits(self) -> None:
        """With their own sequence, in ascending order, however they were named."""
        a, b, c = self.dead("a", "b", "c")
        self.put("d", "e")
        replayed = self.store.replay(QUEUE, [c, a, b], front=True)
        assert [(each.id, each.was, each.seq) for each in replayed] == [(a, 1, 1), (b, 2, 2), (c, 3, 3)]
        grant = self.claim_one()
        assert bodies(grant) == ["a", "b", "c", "d", "e"]
        assert [job.replayed for job in grant.jobs] == [True, True, True, False, False]
        assert (grant.attempts, self.store.dead(QUEUE, 9), self.stats().replayed) == (0, [], 3)
        self.balance()

    def test_the_tail_comes_after_all_that_waits(self) -> None:
        """With new sequences, the old ones told."""
        a, b = self.dead("a", "b")
        self.put("c")
        replayed = self.store.replay(QUEUE, [b, a], front=False)
        assert [(each.id, each.was, each.seq) for each in replayed] == [(a, 1, 4), (b, 2, 5)]
        assert bodies(self.claim_one()) == ["c", "a", "b"]
        self.balance()

    def test_the_front_is_behind_a_head_that_has_begun(self) -> None:
        """Running or retrying, the head goes on first."""
        [a] = self.dead("a")
        self.put("b", "c")
        grant = self.claim_one()
        self.store.replay(QUEUE, [a], front=True)
        answer = self.settle(grant, next_id=grant.jobs[1].id)
        assert bodies(answer) == ["a", "c"], "the window is stale and replaced"
        self.balance()

    def test_the_front_is_behind_a_retrying_head(self) -> None:
        """Also when another worker takes it up."""
        [a] = self.dead("a")
        self.put("b", "c")
        self.retry(self.claim_one(), wait=0)
        self.store.replay(QUEUE, [a], front=True)
        again = self.claim_one(BOB)
        assert (bodies(again), again.attempts) == (["b"], 1)
        assert bodies(self.settle(again, owner=BOB)) == ["a", "c"]

    def test_a_head_that_did_not_begin_is_behind_the_replayed(self) -> None:
        """Released untouched, it takes its place by sequence again."""
        a, b = self.dead("a", "b")
        self.put("c", "d")
        for letter in (a, b):
            grant = self.claim_one()
            self.store.replay(QUEUE, [letter], front=True)
            self.store.release(ALICE, [grant.lease])
        assert bodies(self.claim_one()) == ["a", "b", "c", "d"]
        assert self.unsettled() == ["a", "b", "c", "d"]

    def test_what_waits_is_listed_by_sequence_all_the_same(self) -> None:
        """A begun head stands before replayed jobs, and is listed behind them."""
        a, b = self.dead("a", "b")
        self.put("c", "d")
        self.retry(self.claim_one(), wait=60)
        self.store.replay(QUEUE, [a, b], front=True)
        self.put("e", lane="x")
        assert self.unsettled() == ["a", "b", "c", "d", "e"]
        assert [record.job.seq for record in self.store.waiting(QUEUE, 2)] == [1, 2]

    def test_unknown_ids_are_left_out(self) -> None:
        """What is no dead letter, or not any more, is not brought back."""
        [a] = self.dead("a")
        assert [each.id for each in self.store.replay(QUEUE, ["no", a], front=True)] == [a]
        assert self.store.replay(QUEUE, [a], front=True) == []
        assert self.store.replay("never-used", [a], front=True) == []
        self.balance()

    def test_a_replay_wakes_a_worker(self) -> None:
        """Its lane was idle and is ready again."""
        [a] = self.dead("a", lane="x")
        with self.listening(BOB) as bell:
            self.store.replay(QUEUE, [a], front=False)
            assert bell.wait(5)
        assert lanes_of(self.claim(BOB)) == ["x"]

    def test_a_replayed_job_can_be_buried_again(self) -> None:
        """It is a dead letter once more, its reason the new one."""
        [a] = self.dead("a")
        self.store.replay(QUEUE, [a], front=True)
        self.settle(self.claim_one(), Action.BURY, reason="timeout")
        [record] = self.store.dead(QUEUE, 9)
        assert (record.job.id, record.reason, record.job.replayed) == (a, "timeout", True)
        self.balance()

    def test_what_is_replayed_into_a_kept_lane_is_not_settled_again(self) -> None:
        """The settlement that is repeated after the callback is of the attempt before: the job runs."""
        [job] = self.put("a")
        grant = self.claim_one()
        self.bury(grant, leaving=Leaving.KEEP)
        self.store.replay(QUEUE, [job.id], front=True)
        answer = self.bury(grant)
        assert (answer.status, answer.held, bodies(answer)) == ("already", True, ["a"])
        assert self.stats().leased == 1
        assert self.store.dead(QUEUE, 9) == []

    def test_one_replay_is_bounded(self) -> None:
        """More than an append takes is a mistake of the caller."""
        with refused(ValueError):
            self.store.replay(QUEUE, [f"{QUEUE}/x:{number}" for number in range(101)], front=True)
