"""What `settle_later` promises: a worker begins the next job before it hears of its settlement."""

# ruff: noqa: S101, PLR2004 - asserts, and the numbers of an example, are the trade of a test

from __future__ import annotations

import msgspec

from glassq.errors import StorageError
from glassq.model.jobs import Cancellation, Priority
from glassq.model.leases import Grant, Leaving, Owner, Settled, Settlement, SettleStatus
from glassq.model.verdicts import Action
from glassq.settling import Settling
from glassq.storage import Storage
from glassq.testing.conformance.scenario import ALICE, BOB, LEASE, QUEUE, Scenario, bodies, refused, stale

_AHEAD = 3


class RunningAhead(Scenario):
    """A worker that is some jobs ahead of what the store has heard of.

    Stores differ in when they answer, not in what can be relied on: some settle at once, and name what is
    next by a window, others go on with the job that was named.
    """

    def run_ahead(self, *, lane: str = "") -> Grant:
        """Claim the lane and settle its first job with the wish to run ahead."""
        [grant] = self.claim(lanes=1).grants
        assert grant.lease.lane == lane
        answer = self.store.settle(ALICE, [self.ending(grant, 0, ahead=_AHEAD)])[0]
        assert (answer.status, answer.held) == (SettleStatus.DONE, True)
        return grant

    def elsewhere(self) -> Storage:
        """The store as another process has it."""
        return self.another_handle()

    def ending(self, grant: Grant, index: int, *, ahead: int = 0, begun: bool = False) -> Settlement:
        """The success of a job of the window, naming the one after it."""
        following = grant.jobs[index + 1].id if index + 1 < len(grant.jobs) else None
        return Settlement(
            lease=grant.lease,
            job_id=grant.jobs[index].id,
            action=Action.ACK,
            next_id=following,
            change=grant.change,
            window=16,
            ahead=ahead,
            begun=begun,
        )

    def send(self, grant: Grant, index: int, owner: Owner = ALICE) -> Settling:
        """Send the settlement of a job of the window; the next one begins."""
        return self.store.settle_later(owner, self.ending(grant, index, begun=True))

    def settle_now(self, grant: Grant, index: int) -> Settled:
        """Settle a job of the window and wait: what comes next has not begun."""
        return self.store.settle(ALICE, [self.ending(grant, index)])[0]

    def test_settlements_are_done_in_the_order_they_are_sent(self) -> None:
        """Nobody waits for an answer in between; the last one waits for all."""
        self.put(*"abcde")
        grant = self.run_ahead()
        sent = [self.send(grant, index) for index in (1, 2, 3)]
        answers = [each.answer() for each in sent]
        assert all(each.arrived() for each in sent)
        assert [(each.status, each.held, each.jobs) for each in answers] == [
            (SettleStatus.DONE, True, ())
        ] * 3
        assert [each.ordinal for each in answers] == [2, 3, 4]
        assert [each.found and each.found.counts.settled for each in answers] == [1, 2, 3]
        assert self.unsettled() == ["e"]
        assert (self.stats().leased, self.stats().settled["succeeded"]) == (1, 4)
        last = self.settle_now(grant, 4)
        assert (last.status, last.held, last.ordinal) == (SettleStatus.DONE, False, 5)

    def test_a_crash_is_blamed_on_the_job_that_had_begun(self) -> None:
        """Each settlement names it, answered or not."""
        self.put("a", "b", "c")
        grant = self.run_ahead()
        self.send(grant, 1).answer()
        self.live_through(LEASE + 1)
        taken = self.claim_one(BOB)
        assert (bodies(taken), taken.crashes, taken.attempts) == (["c"], 1, 1)

    def test_a_settlement_that_was_overtaken_is_refused_until_the_earlier_one_is_repeated(self) -> None:
        """O2: one may be lost with a connection while the next goes out on a new one."""
        self.put(*"abcd")
        grant = self.run_ahead()
        with refused(StorageError):
            self.send(grant, 2).answer()
        assert self.unsettled() == ["b", "c", "d"]
        for index in (1, 2):
            assert self.send(grant, index).answer().status is SettleStatus.DONE
        assert self.unsettled() == ["d"]

    def test_repeated_settlements_change_nothing(self) -> None:
        """After a lost connection the worker repeats all that was not answered, from the oldest, and is told
        whichever of them had been done; also with a call that waits."""
        self.put(*"abcde")
        grant = self.run_ahead()
        for index in (1, 2):
            self.send(grant, index).answer()
        for index, status in ((1, SettleStatus.ALREADY), (2, SettleStatus.ALREADY), (3, SettleStatus.DONE)):
            ending = self.ending(grant, index, begun=True)
            [answer] = self.store.settle(ALICE, [ending])
            assert (answer.status, answer.held) == (status, True)
        assert self.unsettled() == ["e"]
        assert self.stats().settled["succeeded"] == 4
        assert self.stats().leased == 1

    def test_a_repetition_forgets_no_wish_to_cancel(self) -> None:
        """What was asked of the job that runs is still told."""
        jobs = self.put("a", "b", "c")
        grant = self.run_ahead()
        self.send(grant, 1).answer()
        assert self.elsewhere().cancel(jobs[2].id) is Cancellation.ASKED
        assert self.send(grant, 1).answer().status is SettleStatus.ALREADY
        assert self.store.renew(ALICE, [grant.lease], lease_seconds=LEASE).cancelled == {jobs[2].id}

    def test_a_stale_or_foreign_settlement_is_fenced(self) -> None:
        """O5: as any other write."""
        self.put("a", "b", "c")
        grant = self.run_ahead()
        old = msgspec.structs.replace(grant, lease=stale(grant.lease))
        for answer in (self.send(old, 1).answer(), self.send(grant, 1, BOB).answer()):
            assert (answer.status, answer.held) == (SettleStatus.FENCED, False)
        assert self.unsettled() == ["b", "c"]

    def test_a_change_ends_the_running_ahead(self) -> None:
        """A new higher level is announced by the change counter or by a window, and comes next once nothing
        is on its way."""
        self.put(*"abcd")
        grant = self.run_ahead()
        self.put("urgent", level=Priority.HIGH)
        answer = self.send(grant, 1).answer()
        assert answer.held
        assert answer.change != grant.change
        if answer.jobs:  # answered at once: nothing had begun
            assert bodies(answer) == ["urgent", "c", "d"]
        else:
            assert bodies(self.settle_now(grant, 2)) == ["urgent", "d"]

    def test_a_pause_takes_effect_at_the_next_settlement_that_waits(self) -> None:
        """What has begun is not disturbed, and nothing else of the lane begins."""
        self.put(*"abcd")
        grant = self.run_ahead()
        self.elsewhere().pause(QUEUE)
        answer = self.send(grant, 1).answer()
        if answer.held:
            assert answer.change != grant.change
            assert not self.settle_now(grant, 2).held
        assert self.claim(BOB).grants == ()
        self.elsewhere().resume(QUEUE)
        assert bodies(self.claim_one(BOB)) in (["c", "d"], ["d"])

    def test_what_the_same_handle_was_told_takes_effect_at_once(self) -> None:
        """A task that pauses its own queue is the last one to run."""
        self.put(*"abcd")
        grant = self.run_ahead()
        self.store.pause(QUEUE)
        sent = self.send(grant, 1)
        assert sent.arrived()
        assert not sent.answer().held
        self.store.resume(QUEUE)
        assert bodies(self.claim_one(BOB)) == ["c", "d"]

    def test_a_job_that_may_have_begun_is_asked_or_never_runs(self) -> None:
        """`removed` means that it will not run. Whoever is asked ends unrun, unless it had begun."""
        jobs = self.put(*"abcdef")
        grant = self.run_ahead()
        near = self.elsewhere().cancel(jobs[3].id)
        answer = self.send(grant, 1).answer()
        assert answer.held
        following = answer.jobs or self.settle_now(grant, 2).jobs
        assert jobs[3].id not in [job.id for job in following]
        assert near in (Cancellation.REMOVED, Cancellation.ASKED)
        assert self.stats().settled["cancelled"] == 1
        assert "d" not in self.unsettled()

    def test_a_job_that_had_begun_when_it_was_asked_may_succeed(self) -> None:
        """The wish for it is told to its worker while it runs, and is over with it."""
        jobs = self.put(*"abcd")
        grant = self.run_ahead()
        if self.elsewhere().cancel(jobs[2].id) is Cancellation.REMOVED:
            return  # a store that answers at once: it cannot have begun
        self.send(grant, 1).answer()
        assert self.store.renew(ALICE, [grant.lease], lease_seconds=LEASE).cancelled == {jobs[2].id}
        assert bodies(self.settle_now(grant, 2)) == ["d"]
        assert (self.stats().settled["cancelled"], self.stats().settled["succeeded"]) == (0, 3)

    def test_a_wish_outlives_the_worker(self) -> None:
        """Whoever takes the lane over does not run what was asked to be cancelled and had not begun."""
        jobs = self.put(*"abcd")
        grant = self.run_ahead()
        self.elsewhere().cancel(jobs[3].id)
        self.send(grant, 1).answer()
        self.live_through(LEASE + 1)
        taken = self.claim_one(BOB)
        left = [job.body.decode() for job in taken.jobs]
        assert left == ["c"]
        assert self.unsettled() == ["c"]
        assert self.stats().settled["cancelled"] == 1

    def test_far_jobs_are_removed(self) -> None:
        """What no worker can have begun is taken out as ever."""
        jobs = self.put(*"abcdefgh")
        grant = self.run_ahead()
        assert self.elsewhere().cancel(jobs[7].id) is Cancellation.REMOVED
        assert self.send(grant, 1).answer().held

    def test_a_purge_leaves_what_may_have_begun(self) -> None:
        """The rest is dropped."""
        self.put(*"abcdefgh")
        grant = self.run_ahead()
        self.elsewhere().purge(QUEUE, dead=False)
        left = self.unsettled()
        assert left in (["b"], ["b", "c", "d", "e"])
        if len(left) > 1:
            for index in (1, 2, 3):
                assert self.send(grant, index).answer().status is SettleStatus.DONE
            assert not self.settle_now(grant, 4).held

    def test_a_replay_to_the_front_comes_behind_what_may_have_begun(self) -> None:
        """O8, and the settlements that are on their way are of the heads."""
        self.put("dead", *"abcdef")
        self.bury(self.claim_one(), leaving=Leaving.YIELD)
        grant = self.run_ahead()
        [dead] = self.store.dead(QUEUE, 1)
        self.elsewhere().replay(QUEUE, [dead.job.id], front=True)
        for index in (1, 2):
            answer = self.send(grant, index).answer()
            assert answer.status is SettleStatus.DONE
            if answer.jobs:  # answered at once: nothing had begun
                assert bodies(answer)[0] == "dead"
                return
        following = self.settle_now(grant, 3)
        assert sorted(bodies(following)) == ["dead", "e", "f"]

    def test_the_end_of_running_ahead_lifts_its_limits(self) -> None:
        """After a settlement that says nothing of it, everything is as before."""
        jobs = self.put(*"abcde")
        grant = self.run_ahead()
        self.send(grant, 1).answer()
        assert self.settle_now(grant, 2).held
        assert self.elsewhere().cancel(jobs[4].id) is Cancellation.REMOVED

    def test_a_retry_after_settlements_on_their_way(self) -> None:
        """The head is the job that failed, with its history."""
        self.put(*"abcd")
        grant = self.run_ahead()
        self.send(grant, 1)
        failed = msgspec.structs.replace(self.ending(grant, 2), action=Action.RETRY, wait=0.0)
        [answer] = self.store.settle(ALICE, [failed])
        assert (answer.status, answer.held) == (SettleStatus.DONE, False)
        again = self.claim_one(BOB)
        assert (bodies(again), again.attempts) == (["c"], 1)
