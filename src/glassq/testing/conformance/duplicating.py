"""What deduplication promises: never a silent drop, never a second job."""

# ruff: noqa: S101, PLR2004 - asserts, and the numbers of an example, are the trade of a test

from __future__ import annotations

from glassq.errors import QueueFull
from glassq.model.jobs import Appended, Dedup, Disposition, NewJob
from glassq.model.verdicts import Action
from glassq.testing.conformance.scenario import QUEUE, Scenario, refused

WINDOW = 300.0


class Duplicating(Scenario):
    """One id, one job: for a window of time, or until the job is settled."""

    def once(
        self, body: str = "a", *, mark: str = "d", window: float | None = WINDOW, due: float | None = None
    ) -> Appended:
        """Append a job under a deduplication id."""
        job = NewJob(body=body.encode(), dedup=Dedup(mark, window), due=due)
        [answer] = self.store.append(QUEUE, [job])
        return answer

    def test_a_duplicate_is_told_which_job_it_is(self) -> None:
        """It stores nothing, takes no sequence, and carries the id and seq of the first."""
        first = self.once()
        second = self.once("another body")
        assert (second.id, second.seq) == (first.id, first.seq)
        assert second.disposition is Disposition.DUPLICATE
        assert self.once(mark="e").seq == 2
        assert self.unsettled() == ["a", "a"]
        assert self.stats().enqueued == 2

    def test_the_window_outlasts_the_job(self) -> None:
        """Counted from acceptance, remembered after the job is settled, forgotten afterwards."""
        first = self.once()
        self.settle(self.claim_one())
        self.clock.advance(WINDOW - 1)
        assert self.once().id == first.id
        self.clock.advance(2)
        assert self.once().disposition is Disposition.CREATED

    def test_until_settled_means_until_settled(self) -> None:
        """However long it takes: a retrying or halted job still counts, a settled one no more."""
        first = self.once(window=None)
        self.retry(self.claim_one(), wait=5)
        self.live_through(10 * WINDOW)
        assert self.once(window=None).id == first.id
        self.halt(self.claim_one())
        assert self.once(window=None).id == first.id
        self.store.retry_lane(QUEUE, "")
        self.settle(self.claim_one())
        assert self.once(window=None).disposition is Disposition.CREATED

    def test_every_end_frees_a_unique_job(self) -> None:
        """Buried, expired, cancelled, skipped or purged: the next call is a new job."""
        for action in (Action.BURY, Action.EXPIRE, Action.CANCEL):
            self.once(window=None)
            self.settle(self.claim_one(), action)
        job = self.once(window=None)
        self.store.cancel(job.id)
        job = self.once(window=None, due=60)
        assert job.disposition is Disposition.CREATED
        assert self.once(window=None).id == job.id, "scheduled is not settled"
        self.store.cancel(job.id)
        self.once(window=None)
        self.halt(self.claim_one())
        self.store.skip_lane(QUEUE, "")
        self.once(window=None)
        self.store.purge(QUEUE, dead=False)
        assert self.once(window=None).disposition is Disposition.CREATED

    def test_duplicates_inside_one_append(self) -> None:
        """Of two alike in one batch the second is the duplicate; the others are contiguous."""
        jobs = [
            NewJob(body=body.encode(), dedup=Dedup(mark, WINDOW))
            for body, mark in (("1", "x"), ("2", "y"), ("3", "x"), ("4", "z"))
        ]
        answers = self.store.append(QUEUE, jobs)
        assert [answer.seq for answer in answers] == [1, 2, 1, 3]
        assert (answers[2].id, answers[2].disposition) == (answers[0].id, Disposition.DUPLICATE)
        assert self.unsettled() == ["1", "2", "4"]

    def test_a_duplicate_needs_no_room(self) -> None:
        """A full queue refuses new jobs and recognises known ones."""
        first = self.once()
        again = NewJob(body=b"a", dedup=Dedup("d", WINDOW))
        [answer] = self.store.append(QUEUE, [again], max_length=1)
        assert answer.id == first.id
        with refused(QueueFull):
            self.store.append(QUEUE, [NewJob(body=b"b", dedup=Dedup("e", WINDOW))], max_length=1)
        assert self.once(mark="e").disposition is Disposition.CREATED, "a refused job is not remembered"

    def test_queues_do_not_share_ids(self) -> None:
        """The same id on another queue is another job."""
        self.once()
        [other] = self.store.append("other", [NewJob(body=b"a", dedup=Dedup("d", WINDOW))])
        assert other.disposition is Disposition.CREATED
