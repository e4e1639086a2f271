"""What answers tell in passing of how far a queue has come, so that a store which lost data is found out."""

# ruff: noqa: S101, PLR2004 - asserts, and the numbers of an example, are the trade of a test

from __future__ import annotations

from glassq.model.jobs import Dedup, NewJob
from glassq.model.watermarks import Counts, Watermark
from glassq.testing.conformance.scenario import ALICE, LEASE, QUEUE, Scenario


class Remembering(Scenario):
    """Each answer carries the counters its call found, under the name of this life of the queue."""

    def found(self, queue: str = QUEUE) -> Watermark:
        """Where the queue stands now."""
        return self.store.report(ALICE, [queue])[queue]

    def test_a_queue_that_does_not_exist_has_no_life(self) -> None:
        """Nothing was counted, and there is nothing that could be lost."""
        assert self.found() == Watermark()
        assert self.claim().found == {QUEUE: Watermark()}
        [first] = self.put("a")
        assert first.found
        assert first.found.counts == Counts()
        assert first.found.incarnation == self.found().incarnation != ""

    def test_an_append_tells_what_it_found(self) -> None:
        """Not what it made of it: otherwise new jobs would hide that as many had been lost."""
        self.put("a", "b")
        answers = self.put("c")
        assert [answer.found and answer.found.counts for answer in answers] == [Counts(2, 2, 0)]
        assert self.found().counts == Counts(3, 3, 0)

    def test_scheduled_jobs_and_duplicates_are_counted_as_what_they_are(self) -> None:
        """A scheduled job is accepted without a seq; a duplicate is nothing new."""
        once = NewJob(body=b"x", dedup=Dedup("d", 60.0))
        answers = self.store.append(QUEUE, [once, once, NewJob(body=b"later", due=60)])
        assert len({answer.found for answer in answers}) == 1
        assert self.found().counts == Counts(1, 2, 0)

    def test_settlements_tell_what_they_found(self) -> None:
        """Their own ordinal comes on top of it."""
        self.put("a", "b")
        grant = self.claim_one()
        first = self.settle(grant, next_id=grant.jobs[1].id)
        second = self.settle(grant, index=1)
        assert [answer.found and answer.found.counts for answer in (first, second)] == [
            Counts(2, 2, 0),
            Counts(2, 2, 1),
        ]
        assert second.ordinal == 2

    def test_every_verb_of_a_worker_tells_the_same(self) -> None:
        """Claims, renewals and reports, of every queue they are about."""
        self.put("a")
        self.put("b", queue="other")
        both = (QUEUE, "other")
        told = [self.claim(queues=both).found]
        leases = [grant.lease for grant in self.claim(queues=both).grants]
        told.append(self.claim(queues=both).found)
        told.append(self.store.report(ALICE, both))
        assert told[0] == told[1] == told[2]
        assert set(told[0]) == set(both)
        assert leases == []

    def test_renewals_tell_of_the_queues_of_their_leases(self) -> None:
        """Also where a lease is lost: that is when it matters."""
        self.put("a")
        lease = self.claim_one().lease
        assert self.store.renew(ALICE, [lease], lease_seconds=LEASE).found == {QUEUE: self.found()}
        self.store.release(ALICE, [lease])
        assert self.store.renew(ALICE, [lease], lease_seconds=LEASE).found == {QUEUE: self.found()}

    def test_a_life_lasts(self) -> None:
        """Running empty, a purge and another handle change nothing about which life it is, and no counter
        goes back."""
        self.put("a", "b", "c")
        begun = self.found()
        self.bury(self.claim_one())
        self.store.purge(QUEUE, dead=False)
        self.store.purge(QUEUE, dead=True)
        left = self.another_handle().report(ALICE, [QUEUE])[QUEUE]
        assert left.incarnation == begun.incarnation != ""
        assert left.counts.seq == left.counts.enqueued == 3

    def test_a_paused_queue_has_begun_its_life(self) -> None:
        """What is put into it later belongs to the same one."""
        self.store.pause(QUEUE)
        begun = self.found()
        assert begun.incarnation
        assert begun.counts == Counts()
        self.put("a")
        assert self.found().incarnation == begun.incarnation

    def test_queues_live_apart(self) -> None:
        """Two queues never bear the same name of a life."""
        self.put("a")
        self.put("b", queue="other")
        assert self.found().incarnation != self.found("other").incarnation
