"""What `settle` and `release` promise."""

# ruff: noqa: S101 - asserts are the trade of a test

from __future__ import annotations

import msgspec

from glassq.errors import StorageError
from glassq.model.jobs import Cancellation, Priority
from glassq.model.leases import Leaving, Settlement, SettleStatus
from glassq.model.verdicts import Action
from glassq.testing.conformance.scenario import (
    ALICE,
    BOB,
    LEASE,
    QUEUE,
    Scenario,
    bodies,
    lanes_of,
    near,
    refused,
    stale,
)


class Settling(Scenario):
    """How attempts end, and what becomes of the lane."""

    # -- actions -----------------------------------------------------------------------------------------

    def test_ack_removes_the_head(self) -> None:
        """A succeeded job is gone, and its successor is the head."""
        self.put("a", "b")
        answer = self.settle(self.claim_one())
        assert (answer.status, answer.held) == (SettleStatus.DONE, True)
        assert near(answer.now, self.clock.wall())
        assert self.unsettled() == ["b"]
        assert self.stats().settled["succeeded"] == 1

    def test_bury_keeps_the_job_as_a_dead_letter_and_goes_on(self) -> None:
        """A buried job is settled: the lane goes on, the job waits for a human."""
        self.put("a", "b", lane="x")
        grant = self.claim_one()
        answer = self.bury(grant)
        assert (answer.status, answer.held, bodies(answer)) == (SettleStatus.DONE, True, ["b"])
        [dead] = self.store.dead(QUEUE, 10)
        assert dead.job == grant.jobs[0]
        assert (dead.lane, dead.reason, dead.attempts, dead.error) == ("x", "exception", 1, b"boom")
        assert near(dead.buried_at, self.clock.wall())
        assert self.unsettled() == ["b"]

    def test_a_dead_letter_keeps_its_times_to_the_microsecond(self) -> None:
        """Whatever they are."""
        for _ in range(20):
            self.clock.advance(0.000777)
            self.put("a")
            grant = self.claim_one()
            self.bury(grant)
            assert self.store.dead(QUEUE, 100)[-1].job == grant.jobs[0]

    def test_retry_leaves_the_head_and_gives_the_lane_up(self) -> None:
        """O3: the job stays where it is, the lane waits without an owner."""
        self.put("a", "b")
        grant = self.claim_one()
        answer = self.retry(grant, wait=10)
        assert (answer.status, answer.held, answer.jobs) == (SettleStatus.DONE, False, ())
        assert self.unsettled() == ["a", "b"]
        assert self.renew(ALICE, [grant.lease]) == {grant.lease}
        assert self.claim(BOB).grants == ()

    def test_a_waiting_lane_holds_up_no_other(self) -> None:
        """O3: other lanes go on while one waits for its retry."""
        self.put("a", lane="x")
        self.retry(self.claim_one())
        self.put("b", lane="y")
        assert lanes_of(self.claim(BOB)) == ["y"]

    def test_a_due_lane_runs_the_same_head_with_its_history(self) -> None:
        """O3: when the wait is over the head comes again, its attempts and failures counted, whatever
        was appended meanwhile; not a moment before."""
        self.put("a")
        self.retry(self.claim_one(), wait=10)
        self.put("b", "c")
        self.clock.advance(9.9)
        assert self.claim(BOB).grants == ()
        self.clock.advance(0.2)
        grant = self.claim_one(BOB)
        assert bodies(grant) == ["a"]
        assert (grant.attempts, grant.failures, grant.crashes) == (1, 1, 0)
        self.retry(grant, wait=0, owner=BOB)
        again = self.claim_one()
        assert (bodies(again), again.attempts, again.failures) == (["a"], 2, 2)
        assert bodies(self.settle(again)) == ["b", "c"]

    def test_a_due_lane_joins_the_tail(self) -> None:
        """A retry does not jump the queue of ready lanes."""
        self.put("a", lane="failed")
        self.retry(self.claim_one(), wait=5)
        self.put("b", lane="fresh")
        self.clock.advance(5)
        assert lanes_of(self.claim()) == ["fresh", "failed"]

    def test_the_next_head_starts_without_history(self) -> None:
        """Counters belong to the head alone: its successor begins at zero."""
        self.put("a", "b")
        self.retry(self.claim_one(), wait=0)
        self.settle(self.claim_one(), leaving=Leaving.YIELD)
        grant = self.claim_one()
        assert (bodies(grant), grant.attempts, grant.failures) == (["b"], 0, 0)

    def test_an_attempt_that_never_ran_is_not_counted(self) -> None:
        """`ran=False`: an unknown task halts its lane without having had an attempt."""
        self.put("a")
        self.settle(self.claim_one(), Action.HALT, reason="unknown_task", ran=False)
        [halted] = self.store.halted(QUEUE, 10)
        assert halted.attempts == 0
        self.store.skip_lane(QUEUE, "")
        self.put("b")
        self.settle(self.claim_one(), Action.BURY, reason="unknown_task", ran=False)
        [dead] = self.store.dead(QUEUE, 10)
        assert dead.attempts == 0

    # -- leaving -----------------------------------------------------------------------------------------

    def test_stay_keeps_the_lease(self) -> None:
        """The lane remains the worker's until its jobs are done; then nothing of it is left."""
        self.put("a", "b")
        grant = self.claim_one()
        assert self.settle(grant).held
        assert self.claim(BOB).grants == ()
        last = self.settle(grant, index=1)
        assert (last.status, last.held, last.jobs) == (SettleStatus.DONE, False, ())
        assert sum(self.stats().lanes.values()) == 0

    def test_keep_holds_an_empty_lane_until_it_is_released(self) -> None:
        """A callback runs before what is appended next: the lane is nobody else's meanwhile."""
        self.put("a")
        grant = self.claim_one()
        answer = self.settle(grant, leaving=Leaving.KEEP)
        assert (answer.held, answer.jobs) == (True, ())
        self.put("b")
        assert self.claim(BOB).grants == ()
        assert self.renew(ALICE, [grant.lease]) == set()
        self.store.release(ALICE, [grant.lease])
        assert bodies(self.claim_one(BOB)) == ["b"]

    def test_a_kept_lane_that_stayed_empty_vanishes_at_its_release(self) -> None:
        """Nothing is left of a drained lane."""
        self.put("a")
        grant = self.claim_one()
        self.settle(grant, leaving=Leaving.KEEP)
        assert set(self.stats().by_state().values()) == {0}
        self.store.release(ALICE, [grant.lease])
        assert sum(self.stats().lanes.values()) == 0
        assert self.claim(BOB).grants == ()

    def test_nothing_begins_while_a_lane_is_kept(self) -> None:
        """With jobs left, none of them is current: the settlement is repeated to go on with them."""
        _, second = self.put("a", "b")
        grant = self.claim_one()
        answer = self.settle(grant, leaving=Leaving.KEEP, next_id=second.id)
        assert (answer.held, answer.jobs) == (True, ())
        assert self.stats().leased == 0
        assert self.store.cancel(second.id) is Cancellation.REMOVED
        self.put("c")
        answer = self.settle(grant, leaving=Leaving.STAY, next_id=second.id)
        assert (answer.status, answer.held, bodies(answer)) == (SettleStatus.ALREADY, True, ["c"])
        assert self.stats().leased == 1

    def test_a_kept_lane_that_is_empty_vanishes_when_it_is_left(self) -> None:
        """Repeated with anything but KEEP."""
        for leaving in (Leaving.STAY, Leaving.YIELD, Leaving.RELEASE):
            self.put("a")
            grant = self.claim_one()
            self.settle(grant, leaving=Leaving.KEEP)
            answer = self.settle(grant, leaving=leaving)
            assert (answer.status, answer.held, answer.jobs) == (SettleStatus.ALREADY, False, ())
            assert sum(self.stats().lanes.values()) == 0

    def test_yield_gives_the_lane_to_the_tail(self) -> None:
        """The turn is over: another worker may go on with the lane, after those that wait."""
        self.put("a", "b", lane="x")
        grant = self.claim_one()
        self.put("c", lane="y")
        answer = self.settle(grant, leaving=Leaving.YIELD)
        assert (answer.status, answer.held, answer.jobs) == (SettleStatus.DONE, False, ())
        assert lanes_of(self.claim(BOB)) == ["y", "x"]

    def test_release_gives_the_lane_to_the_front(self) -> None:
        """A stopping worker: a standby goes on with this lane first."""
        self.put("a", "b", lane="x")
        grant = self.claim_one()
        self.put("c", lane="y")
        assert not self.settle(grant, leaving=Leaving.RELEASE).held
        assert lanes_of(self.claim(BOB)) == ["x", "y"]

    def test_giving_up_an_empty_lane_leaves_nothing(self) -> None:
        """Neither YIELD nor RELEASE keeps a lane without jobs."""
        for leaving in (Leaving.YIELD, Leaving.RELEASE):
            self.put("a")
            self.settle(self.claim_one(), leaving=leaving)
            assert sum(self.stats().lanes.values()) == 0

    # -- what comes next ---------------------------------------------------------------------------------

    def test_a_named_successor_needs_no_new_window(self) -> None:
        """The worker goes on with what it has read while the lane did not change."""
        self.put("a", "b", "c")
        grant = self.claim_one()
        answer = self.settle(grant, next_id=grant.jobs[1].id)
        assert (answer.held, answer.jobs, answer.change) == (True, (), grant.change)

    def test_an_ended_window_is_replaced(self) -> None:
        """`next_id=None` asks for the next window, of the size wanted."""
        self.put(*"abcde")
        grant = self.claim_one(window=2)
        self.settle(grant, next_id=grant.jobs[1].id)
        answer = self.settle(grant, index=1, window=2)
        assert (answer.held, bodies(answer)) == (True, ["c", "d"])

    def test_what_was_appended_meanwhile_is_in_the_next_window(self) -> None:
        """A lane that goes on sees its new jobs."""
        self.put("a")
        grant = self.claim_one()
        self.put("b")
        assert bodies(self.settle(grant)) == ["b"]

    def test_a_window_of_a_changed_lane_is_replaced(self) -> None:
        """Whoever settles with an old change counter gets the lane as it is."""
        self.put("a", "b", "c")
        grant = self.claim_one()
        answer = self.settle(grant, next_id=grant.jobs[1].id, change=grant.change + 1)
        assert (answer.held, bodies(answer)) == (True, ["b", "c"])

    def test_waiting_lanes_are_announced(self) -> None:
        """`others` tells the worker that its turn should end."""
        self.put("a", "b", "c", lane="x")
        grant = self.claim_one()
        assert not self.settle(grant, next_id=grant.jobs[1].id).others
        self.put("d", lane="y")
        assert self.settle(grant, index=1, next_id=grant.jobs[2].id).others

    def test_ordinals_ascend_over_all_lanes(self) -> None:
        """The store numbers settlements, since the logs of several workers cannot be merged by time."""
        self.put("a", "b", lane="x")
        self.put("c", "d", lane="y")
        first, second = self.claim().grants
        answers = [self.settle(first), self.bury(second), self.settle(second, index=1)]
        answers.append(self.settle(first, index=1))
        ordinals = [answer.ordinal for answer in answers]
        assert ordinals[0] > 0
        assert ordinals == sorted(set(ordinals))

    def test_several_lanes_are_settled_in_one_call(self) -> None:
        """One answer each, in the order asked, over lanes and queues."""
        self.put("a", lane="x")
        self.put("b", lane="y")
        self.put("c", queue="letters")
        grants = self.claim(queues=[QUEUE, "letters"]).grants
        mixed = [grants[2], grants[0], grants[1]]
        foreign = msgspec.structs.replace(grants[0], lease=stale(grants[0].lease))
        settlements = [
            Settlement(lease=grant.lease, job_id=grant.jobs[0].id, action=action)
            for grant, action in zip(
                [*mixed, foreign], [Action.ACK, Action.RETRY, Action.BURY, Action.ACK], strict=True
            )
        ]
        answers = self.store.settle(ALICE, settlements[:3])
        assert [answer.status for answer in answers] == [SettleStatus.DONE] * 3
        assert (self.stats("letters").depth, self.stats().waiting_retry) == (0, 1)
        assert [record.job.body for record in self.store.dead(QUEUE, 10)] == [b"b"]
        assert [answer.status for answer in self.store.settle(ALICE, settlements[3:])] == [
            SettleStatus.FENCED
        ]
        assert self.store.settle(ALICE, []) == []

    # -- repeating and intruding ---------------------------------------------------------------------------

    def test_a_repeated_settlement_changes_nothing(self) -> None:
        """After a lost reply the worker asks again and learns that it was done, and how to go on."""
        self.put("a", "b", "c")
        grant = self.claim_one()
        self.settle(grant, next_id=grant.jobs[1].id)
        again = self.settle(grant, next_id=grant.jobs[1].id)
        assert (again.status, again.held, again.jobs) == (SettleStatus.ALREADY, True, ())
        assert self.unsettled() == ["b", "c"]
        assert self.stats().settled["succeeded"] == 1

    def test_a_repeated_settlement_forgets_no_wish_to_cancel(self) -> None:
        """What was asked of the next job between the two is still told."""
        _, second = self.put("a", "b")
        grant = self.claim_one()
        self.settle(grant, next_id=second.id)
        assert self.store.cancel(second.id) is Cancellation.ASKED
        assert self.settle(grant, next_id=second.id).status is SettleStatus.ALREADY
        assert self.store.renew(ALICE, [grant.lease], lease_seconds=LEASE).cancelled == {second.id}

    def test_a_repeated_settlement_finds_what_was_replayed_meanwhile(self) -> None:
        """O8: the job it had named has not begun, since nobody heard of it."""
        self.put("dead", "a", "b", "c")
        self.bury(self.claim_one(), leaving=Leaving.YIELD)
        [dead] = self.store.dead(QUEUE, 1)
        grant = self.claim_one()
        self.settle(grant, next_id=grant.jobs[1].id)
        self.store.replay(QUEUE, [dead.job.id], front=True)
        again = self.settle(grant, next_id=grant.jobs[1].id)
        assert (again.status, bodies(again)) == (SettleStatus.ALREADY, ["dead", "b", "c"])

    def test_a_repeated_bury_buries_once(self) -> None:
        """Neither a second dead letter nor a second settlement comes of a lost reply."""
        self.put("a", "b")
        grant = self.claim_one()
        self.bury(grant)
        assert self.bury(grant).status is SettleStatus.ALREADY
        assert len(self.store.dead(QUEUE, 10)) == 1
        assert self.unsettled() == ["b"]

    def test_repeating_the_end_of_a_lease_changes_nothing(self) -> None:
        """When the first call gave the lane up, the repeated one is not done again, in whatever words."""
        for lane, action, leaving in [
            ("x", Action.ACK, Leaving.STAY),
            ("y", Action.ACK, Leaving.YIELD),
            ("z", Action.RETRY, Leaving.STAY),
            ("h", Action.HALT, Leaving.STAY),
        ]:
            self.put("a", lane=lane) if lane == "x" else self.put("a", "b", lane=lane)
            grant = self.claim_one()
            assert grant.lease.lane == lane
            assert self.settle(grant, action, leaving=leaving, wait=100).status is SettleStatus.DONE
            before = self.stats(), self.unsettled()
            again = self.settle(grant, action, leaving=leaving, wait=100)
            assert again.status is not SettleStatus.DONE
            assert (again.held, self.stats(), self.unsettled()) == (False, *before)
            self.clock.advance(0.001)
            if leaving is Leaving.YIELD:
                self.claim_one(BOB)

    def test_only_the_head_can_be_settled(self) -> None:
        """O2: settling an unsettled job that is not the head is a bug of the worker, and is refused whole."""
        self.put("a", "b", lane="x")
        self.put("c", lane="y")
        grant, other = self.claim().grants
        wide = self.store.waiting(QUEUE, 10)
        with refused(StorageError):
            self.store.settle(
                ALICE,
                [
                    Settlement(lease=other.lease, job_id=other.jobs[0].id, action=Action.ACK),
                    Settlement(lease=grant.lease, job_id=wide[1].job.id, action=Action.ACK),
                ],
            )
        assert self.unsettled() == ["a", "b", "c"]
        assert self.settle(grant).status is SettleStatus.DONE

    def test_an_old_token_is_fenced(self) -> None:
        """O5: the right owner with an older number may write nothing."""
        self.put("a", "b")
        grant = self.claim_one()
        old = msgspec.structs.replace(grant, lease=stale(grant.lease))
        for action in (Action.ACK, Action.RETRY, Action.BURY, Action.HALT):
            answer = self.settle(old, action)
            assert (answer.status, answer.held, answer.jobs) == (SettleStatus.FENCED, False, ())
        assert self.unsettled() == ["a", "b"]
        assert self.store.dead(QUEUE, 10) == []
        assert self.settle(grant).status is SettleStatus.DONE

    def test_another_owner_is_fenced(self) -> None:
        """O5: the right number in other hands may write nothing: another node, or another worker beside
        the owner."""
        self.put("a")
        grant = self.claim_one()
        beside = type(ALICE)(ALICE.node, ALICE.incarnation, 1)
        for intruder in (BOB, beside):
            assert self.settle(grant, owner=intruder).status is SettleStatus.FENCED
            assert self.renew(intruder, [grant.lease]) == {grant.lease}
            self.store.release(intruder, [grant.lease])
        assert self.unsettled() == ["a"]
        assert self.settle(grant).status is SettleStatus.DONE

    def test_settling_in_an_unknown_lane_is_fenced(self) -> None:
        """A lane that vanished is nobody's."""
        self.put("a")
        grant = self.claim_one()
        self.settle(grant)
        ghost = msgspec.structs.replace(grant, lease=msgspec.structs.replace(grant.lease, lane="ghost"))
        assert self.settle(ghost).status is SettleStatus.FENCED
        elsewhere = msgspec.structs.replace(grant, lease=msgspec.structs.replace(grant.lease, queue="ghosts"))
        assert self.settle(elsewhere).status is SettleStatus.FENCED


class Releasing(Scenario):
    """Giving lanes up without settling anything."""

    def test_a_released_lane_is_claimable_at_once_as_it_was(self) -> None:
        """A clean stop: same head, whole window, nothing counted, no waiting for a lease."""
        self.put("a", "b")
        grant = self.claim_one()
        self.store.release(ALICE, [grant.lease])
        taken = self.claim_one(BOB)
        assert (bodies(taken), taken.attempts, taken.failures, taken.crashes) == (["a", "b"], 0, 0, 0)
        assert self.settle(grant).status is SettleStatus.FENCED

    def test_released_lanes_go_to_the_front_or_behind_those_that_wait(self) -> None:
        """They are served next, unless the worker wants the others to go first."""
        for front, order in ((True, ["x", "y"]), (False, ["y", "x"])):
            queue = f"front-{front}"
            for lane in ("x", "y"):
                self.put("1", lane=lane, queue=queue)
            [grant] = self.claim(queues=[queue], lanes=1).grants
            self.store.release(ALICE, [grant.lease], front=front)
            assert lanes_of(self.claim(queues=[queue])) == order

    def test_a_release_forgets_no_failure(self) -> None:
        """What the head has been through stays known when the lane is given up between two attempts."""
        self.put("a", "b")
        self.retry(self.claim_one(), wait=0)
        self.store.release(ALICE, [self.claim_one().lease])
        grant = self.claim_one(BOB)
        assert (bodies(grant), grant.attempts, grant.failures) == (["a"], 1, 1)

    def test_a_release_forgets_no_wish_to_cancel(self) -> None:
        """Whoever runs the head next is told that nobody wants it."""
        [job] = self.put("a")
        grant = self.claim_one()
        self.store.cancel(job.id)
        self.store.release(ALICE, [grant.lease])
        assert self.claim_one(BOB).cancelled

    def test_a_head_that_is_to_be_cancelled_keeps_its_place(self) -> None:
        """Overtaken, it would have run after all: the wish is known of the head alone."""
        [job] = self.put("a", level=Priority.LOW)
        grant = self.claim_one()
        self.store.cancel(job.id)
        self.store.release(ALICE, [grant.lease])
        self.put("b", level=Priority.HIGH)
        again = self.claim_one(BOB)
        assert (bodies(again), again.cancelled) == (["a"], True)

    def test_releasing_twice_or_what_was_lost_does_nothing(self) -> None:
        """Safe to repeat: the new owner keeps the lane."""
        self.put("a")
        grant = self.claim_one()
        self.store.release(ALICE, [grant.lease])
        taken = self.claim_one(BOB)
        self.store.release(ALICE, [grant.lease])
        self.store.release(ALICE, [])
        assert self.claim().grants == ()
        assert self.settle(taken, owner=BOB).status is SettleStatus.DONE
