"""A queue that was needed for a moment leaves nothing behind."""

# ruff: noqa: S101 - asserts are the trade of a test

from __future__ import annotations

from glassq.model.jobs import Dedup, NewJob
from glassq.model.leases import Leaving
from glassq.testing.conformance.scenario import ALICE, BOB, QUEUE, Scenario, bodies


class Forgetting(Scenario):
    """`forget` takes a queue out whole, or leaves it alone."""

    def test_a_queue_that_was_worked_off_is_gone(self) -> None:
        """Its name and its totals; other queues keep theirs, and one of that name begins anew."""
        [other] = self.put("kept", queue="mails")
        bell = self.store.listen(ALICE, [QUEUE, "mails"])
        dedup = Dedup(id="once", window=60)
        self.store.append(QUEUE, [NewJob(body=b"a", lane="x", dedup=dedup)])
        [grant] = self.claim(queues=[QUEUE]).grants
        self.settle(grant, leaving=Leaving.RELEASE)
        self.store.pause(QUEUE, "y")
        bell.close()
        assert self.store.forget(QUEUE) is True
        assert self.store.queues() == ["mails"]
        assert (self.stats().enqueued, sum(self.stats().settled.values())) == (0, 0)
        assert self.store.get(other.id) is not None
        [again] = self.store.append(QUEUE, [NewJob(body=b"b", lane="y", dedup=dedup)])
        assert (again.seq, self.store.queues()) == (1, ["mails", QUEUE])
        assert bodies(self.claim_one()) == ["b"]

    def test_nothing_is_forgotten_that_holds_something(self) -> None:
        """Neither jobs that wait, run or are due later, nor dead letters, nor what somebody serves."""
        [waiting] = self.put("a")
        assert self.store.forget(QUEUE) is False
        grant = self.claim_one()
        assert self.store.forget(QUEUE) is False
        self.bury(grant, leaving=Leaving.RELEASE)
        assert self.store.forget(QUEUE) is False
        assert [dead.job.id for dead in self.store.dead(QUEUE, 9)] == [waiting.id]
        self.store.purge(QUEUE, dead=True)
        [later] = self.store.append(QUEUE, [NewJob(body=b"b", due=60.0)])
        assert self.store.forget(QUEUE) is False
        self.store.cancel(later.id)
        bell = self.store.listen(BOB, [QUEUE])
        assert self.store.forget(QUEUE) is False
        assert self.stats().enqueued == 2  # noqa: PLR2004 - the numbers of an example
        bell.close()
        assert self.store.forget(QUEUE) is True
        assert self.stats().enqueued == 0

    def test_forgetting_what_is_not_there_is_done_already(self) -> None:
        """So it may be repeated when its answer was lost."""
        assert self.store.forget("never-used") is True
        assert self.store.queues() == []
