"""What leases promise: renewal, expiry, takeover, and clocks that jump."""

# ruff: noqa: S101 - asserts are the trade of a test

from __future__ import annotations

from glassq.model.jobs import NewJob
from glassq.model.leases import ClaimCause, Grant, Leaving, Owner, SettleStatus
from glassq.testing.conformance.scenario import ALICE, BOB, LEASE, QUEUE, Scenario, bodies, lanes_of

HOUR = 3600.0
ALICE_AGAIN = Owner(ALICE.node, "second")


class Leasing(Scenario):
    """Who still owns a lane."""

    def test_a_renewed_lease_goes_on(self) -> None:
        """As long as its owner renews, nobody takes a lane."""
        self.put("a")
        grant = self.claim_one()
        for _ in range(4):
            self.live_through(LEASE * 0.6)
            assert self.renew(ALICE, [grant.lease]) == set()
        assert self.claim(BOB).grants == ()
        assert self.settle(grant).status is SettleStatus.DONE

    def test_renew_tells_which_leases_are_lost(self) -> None:
        """Only those: the others are renewed by the same call."""
        for lane in ("x", "y", "z"):
            self.put("1", lane=lane)
        kept, taken, given = (grant.lease for grant in self.claim().grants)
        self.store.release(ALICE, [taken, given])
        self.claim(BOB, lanes=1)
        assert self.renew(ALICE, [kept, taken, given]) == {taken, given}
        assert self.renew(ALICE, []) == set()

    def test_an_old_token_renews_and_releases_nothing(self) -> None:
        """O5: not even the owner itself, who lost the lane and got it back, may act on its former lease."""
        self.put("a")
        former = self.claim_one()
        self.store.release(ALICE, [former.lease])
        grant = self.claim_one()
        assert self.renew(ALICE, [former.lease]) == {former.lease}
        self.store.release(ALICE, [former.lease])
        assert self.claim(BOB).grants == ()
        assert self.settle(grant).status is SettleStatus.DONE

    def test_an_ended_lease_goes_to_a_standby(self) -> None:
        """A dead owner's lane is taken back to its head, and the new owner learns why."""
        self.put("a", "b")
        lost = self.claim_one(ALICE)
        self.live_through(LEASE - 1)
        assert self.claim(BOB).grants == ()
        self.live_through(1.5)
        grant = self.claim_one(BOB)
        assert grant.cause is ClaimCause.LEASE_EXPIRED
        assert bodies(grant) == ["a"]
        assert grant.lease.token > lost.lease.token

    def test_lanes_that_are_taken_back_come_first(self) -> None:
        """They waited for their dead owner already: before the lanes that are ready, the one whose lease
        ended first in front."""
        for lane in ("first", "second"):
            self.put("1", lane=lane)
            self.claim_one(ALICE)
            self.clock.advance(1)
        self.put("1", lane="waiting")
        self.live_through(LEASE - 2.5)
        self.clock.advance(1.6)
        assert lanes_of(self.claim(BOB)) == ["first", "second", "waiting"]

    def test_a_crash_is_counted_for_the_head(self) -> None:
        """The job that was running when its worker died had an attempt and a crash, and no failure."""
        self.put("a", "b")
        for crashes in range(3):
            grant = self.claim_one()
            assert (bodies(grant)[0], grant.attempts, grant.crashes) == ("a", crashes, crashes)
            assert grant.failures == 0
            self.live_through(LEASE + 0.5)

    def test_a_crash_is_blamed_on_the_current_job_alone(self) -> None:
        """The settlement named the next job: it is the one the worker died with."""
        self.put("a", "b", "c")
        grant = self.claim_one()
        self.settle(grant, next_id=grant.jobs[1].id)
        self.live_through(LEASE + 0.5)
        taken = self.claim_one(BOB)
        assert (bodies(taken), taken.attempts, taken.crashes) == (["b"], 1, 1)
        answer = self.settle(taken, owner=BOB)
        assert bodies(answer) == ["c"]
        self.store.release(BOB, [taken.lease])
        innocent = self.claim_one()
        assert (bodies(innocent), innocent.attempts, innocent.crashes) == (["c"], 0, 0)

    def test_a_crash_in_a_callback_is_blamed_on_nobody(self) -> None:
        """A kept, empty lane has no current job: what was appended meanwhile is not counted."""
        self.put("a")
        self.settle(self.claim_one(), leaving=Leaving.KEEP)
        self.put("b")
        self.live_through(LEASE + 0.5)
        grant = self.claim_one(BOB)
        assert (bodies(grant), grant.attempts, grant.crashes) == (["b"], 0, 0)

    def test_a_kept_empty_lane_of_a_dead_owner_vanishes(self) -> None:
        """Nothing is left of it after its lease."""
        self.put("a")
        self.settle(self.claim_one(), leaving=Leaving.KEEP)
        self.live_through(LEASE + 0.5)
        assert self.claim(BOB).grants == ()
        assert sum(self.stats().lanes.values()) == 0

    def test_a_lease_that_ended_has_ended_before_what_is_due(self) -> None:
        """A kept, empty lane of a dead owner vanishes, so that a job due at the same moment finds none: its
        lane is ready behind those that wait."""
        self.put("a", lane="x")
        self.settle(self.claim_one(), leaving=Leaving.KEEP)
        self.live_through(LEASE - 5)
        self.store.append(QUEUE, [NewJob(body=b"later", lane="x", due=4.9)])
        self.put("b", lane="y")
        self.clock.advance(5.1)
        assert lanes_of(self.claim(BOB)) == ["y", "x"]

    def test_a_lane_is_taken_back_with_its_head(self) -> None:
        """When that head is cancelled, what is left is simply ready."""
        head, _ = self.put("a", "b")
        self.claim_one()
        self.live_through(LEASE + 0.5)
        self.store.cancel(head.id)
        grant = self.claim_one(BOB)
        assert (bodies(grant), grant.cause) == (["b"], ClaimCause.READY)

    def test_a_taken_over_owner_can_write_nothing(self) -> None:
        """O5: the process that was paused past its lease is refused in everything it tries."""
        self.put("a", "b")
        zombie = self.claim_one(ALICE)
        self.live_through(LEASE + 0.5)
        grant = self.claim_one(BOB)
        assert self.settle(zombie).status is SettleStatus.FENCED
        assert self.renew(ALICE, [zombie.lease]) == {zombie.lease}
        self.store.release(ALICE, [zombie.lease])
        assert self.claim(ALICE).grants == ()
        assert self.settle(grant, owner=BOB).status is SettleStatus.DONE
        assert self.unsettled() == ["b"]

    def test_an_owner_that_is_late_but_not_replaced_may_settle(self) -> None:
        """The newest token is the newest even past its time: nothing ran twice, so nothing is refused."""
        self.put("a")
        grant = self.claim_one()
        self.clock.advance(LEASE + 1)
        assert self.settle(grant).status is SettleStatus.DONE

    def test_a_restarted_node_takes_its_lanes_over_at_once(self) -> None:
        """A stable node id that comes back waits for no lease; its former self is fenced."""
        self.put("a", "b")
        former = self.claim_one(ALICE)
        grant = self.claim_one(ALICE_AGAIN)
        assert (grant.cause, bodies(grant)) == (ClaimCause.HANDOVER, ["a"])
        assert (grant.attempts, grant.crashes) == (1, 1)
        assert self.settle(former).status is SettleStatus.FENCED
        assert self.settle(grant, owner=ALICE_AGAIN).status is SettleStatus.DONE

    def test_a_handover_touches_no_other_node(self) -> None:
        """Names are compared whole: a node whose name begins alike keeps its lanes."""
        self.put("a", lane="x")
        self.put("b", lane="y")
        lookalike = Owner(f"{ALICE.node}-2", ALICE.incarnation)
        self.claim_one(lookalike)
        self.claim_one(BOB)
        assert self.claim(ALICE_AGAIN).grants == ()


class Jumping(Scenario):
    """Clocks that jump and stores that were away: rule "one fresh lease, once per token"."""

    def test_a_clock_set_forward_takes_no_lane_from_a_live_owner(self) -> None:
        """An hour forward is not an hour of silence."""
        self._survives_a_step(HOUR)

    def test_a_clock_set_back_takes_no_lane_from_a_live_owner(self) -> None:
        """An hour back neither."""
        self._survives_a_step(-HOUR)

    def test_an_outage_takes_no_lane_from_a_live_owner(self) -> None:
        """Nobody can renew while the store is away, so nobody is judged by that time."""
        self.put("a", "b")
        grant = self.claim_one(ALICE)
        self.clock.advance(10 * LEASE)
        self._is_kept(grant)

    def test_a_live_owner_survives_one_step_after_another(self) -> None:
        """A renewal between two steps shows that the owner lives: it gets its fresh lease each time."""
        self.put("a", "b")
        grant = self.claim_one(ALICE)
        for step in (HOUR, -HOUR, HOUR):
            self.clock.step_wall(step)
            assert self.claim(BOB).grants == ()
            self.live_through(LEASE / 3)
            assert self.renew(ALICE, [grant.lease]) == set()
            self.live_through(LEASE / 3)
        self._is_kept(grant)

    def test_a_dead_owner_goes_within_two_leases_of_a_step_forward(self) -> None:
        """The fresh lease is one lease, not a new life."""
        self._is_gone_after(HOUR)

    def test_a_dead_owner_goes_within_two_leases_of_a_step_back(self) -> None:
        """Its lease does not last for the hour that was set back."""
        self._is_gone_after(-HOUR)

    def test_a_second_jump_gives_no_second_grace(self) -> None:
        """Once per token: an owner that did not renew after the first jump is dead."""
        self.put("a")
        self.claim_one(ALICE)
        self.clock.step_wall(HOUR)
        assert self.claim(BOB).grants == ()
        self.clock.step_wall(HOUR)
        assert self.claim_one(BOB).cause is ClaimCause.LEASE_EXPIRED

    def test_a_dead_owner_does_not_live_for_the_hours_of_two_steps_back(self) -> None:
        """It had its grace after the first; the second must not lengthen it."""
        self.put("a")
        self.claim_one(ALICE)
        for _ in range(2):
            self.clock.step_wall(-HOUR)
            assert self.claim(BOB).grants == ()
        self.live_through(2 * LEASE)
        assert self.claim_one(BOB).cause is ClaimCause.LEASE_EXPIRED

    def test_a_retry_does_not_wait_for_the_hour_that_was_set_back(self) -> None:
        """A lane that had five seconds to wait has five seconds to wait."""
        self.put("a")
        self.retry(self.claim_one(), wait=5)
        self.clock.step_wall(-HOUR)
        assert self.claim(BOB).grants == ()
        self.live_through(5.5)
        assert bodies(self.claim_one(BOB)) == ["a"]

    def test_a_small_step_back_is_followed(self) -> None:
        """Up to a second it is no jump: what had ten seconds left has ten seconds left."""
        self.put("a", lane="lost")
        self.put("b", lane="waiting")
        _, waiting = self.claim().grants
        self.retry(waiting, wait=LEASE)
        self.live_through(5)
        self.clock.step_wall(-0.9)
        assert self.claim(BOB).grants == ()
        self.live_through(LEASE - 5.1)
        assert self.claim(BOB).grants == ()
        self.live_through(0.2)
        assert lanes_of(self.claim(BOB)) == ["lost", "waiting"]

    def test_a_tiny_step_back_is_none(self) -> None:
        """Below a tenth of a second time stands still, until it has come as far again."""
        self.put("a", lane="lost")
        self.put("b", lane="waiting")
        _, waiting = self.claim().grants
        self.retry(waiting, wait=LEASE)
        began = self.claim(BOB).now
        for step in (-0.06, -0.03, 0.05):
            self.clock.step_wall(step)
            assert self.claim(BOB).now == began
        self.put("c", lane="new")
        assert self.settle(self.claim_one(BOB), owner=BOB).now == began
        self.live_through(LEASE - 0.01)  # by the clock, which is 0.04 s behind
        assert self.claim(BOB).grants == ()
        self.clock.step_wall(0.1)
        assert lanes_of(self.claim(BOB)) == ["lost", "waiting"]

    def test_a_lease_taken_while_time_stands_still_is_a_whole_one(self) -> None:
        """It ends by the time the store went by, not by the clock that was set back."""
        self.put("a", lane="claimed")
        self.put("b", lane="renewed")
        renewed = self.claim(lanes=1).grants[0].lease
        self.clock.step_wall(-0.06)
        assert self.claim().grants
        assert not self.renew(ALICE, [renewed])
        self.live_through(LEASE + 0.03)
        assert self.claim(BOB).grants == ()
        self.live_through(0.04)
        assert len(self.claim(BOB).grants) == 2  # noqa: PLR2004 - both

    def test_tiny_steps_back_do_not_add_up(self) -> None:
        """Over a tenth of a second in all, and the clock is followed with everything that ends by it."""
        self.put("a")
        self.claim_one()
        began = self.claim(BOB).now
        for _ in range(2):
            self.clock.step_wall(-0.06)
            assert self.claim(BOB).grants == ()
        assert round(began - self.claim(BOB).now, 3) == 0.12  # noqa: PLR2004 - two steps
        self.live_through(LEASE - 0.05)
        assert self.claim(BOB).grants == ()
        self.live_through(0.06)
        assert self.claim_one(BOB).cause is ClaimCause.LEASE_EXPIRED

    def test_steps_back_do_not_add_up(self) -> None:
        """An owner that has had its grace keeps what was left of it at every further step, and no more."""
        self.put("a")
        self.claim_one()
        self.clock.step_wall(-HOUR)
        assert self.claim(BOB).grants == ()
        self.live_through(LEASE - 5)
        self.clock.step_wall(-4)
        assert self.claim(BOB).grants == ()
        self.live_through(5.1)
        assert self.claim_one(BOB).cause is ClaimCause.LEASE_EXPIRED

    def test_whatever_reaches_the_store_shows_that_it_was_there(self) -> None:
        """Heartbeats and people's calls, too: with any of them going on, a silent owner has no outage to
        blame."""
        calls = (
            lambda: self.store.report(BOB, [QUEUE]),
            lambda: self.store.pause(QUEUE, "elsewhere"),
            lambda: self.store.resume(QUEUE, "nowhere"),
            lambda: self.store.retry_lane(QUEUE, "nowhere"),
            lambda: self.store.cancel(f"{QUEUE}/nobody:1"),
            lambda: self.store.replay(QUEUE, [], front=True),
        )
        self.put("a")
        for call in calls:
            grant = self.claim_one(BOB)
            for _ in range(3):
                self.clock.advance(LEASE / 3)
                call()
            assert self.claim_one(BOB).cause is ClaimCause.LEASE_EXPIRED
            self.store.release(BOB, [grant.lease])
            self.live_through(LEASE + 0.5)

    def _survives_a_step(self, step: float) -> None:
        self.put("a", "b")
        grant = self.claim_one(ALICE)
        self.clock.step_wall(step)
        self._is_kept(grant)

    def _is_kept(self, grant: Grant) -> None:
        assert self.claim(BOB).grants == ()
        assert self.renew(ALICE, [grant.lease]) == set()
        self.live_through(LEASE - 1)
        assert self.claim(BOB).grants == ()
        assert self.settle(grant).status is SettleStatus.DONE

    def _is_gone_after(self, step: float) -> None:
        self.put("a")
        self.claim_one(ALICE)
        self.live_through(5)
        self.clock.step_wall(step)
        assert self.claim(BOB).grants == ()
        self.live_through(2 * LEASE - 5)
        assert bodies(self.claim_one(BOB)) == ["a"]
        assert self.stats(QUEUE).leased == 1
