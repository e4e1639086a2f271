"""What delayed jobs, expiry and limits promise."""

# ruff: noqa: S101, PLR2004 - asserts, and the numbers of an example, are the trade of a test

from __future__ import annotations

from glassq.errors import QueueFull
from glassq.model.jobs import Cancellation, NewJob
from glassq.testing.conformance.scenario import ALICE, BOB, QUEUE, Scenario, bodies, near, refused


class Scheduling(Scenario):
    """A delayed job joins the tail of its lane when it is due, by the store's clock."""

    def later(self, body: str, seconds: float, *, lane: str = "", ttl: float | None = None) -> str:
        """Append a delayed job; returns its id."""
        [answer] = self.store.append(QUEUE, [NewJob(body=body.encode(), lane=lane, due=seconds, ttl=ttl)])
        assert answer.seq is None
        return answer.id

    def test_a_delayed_job_takes_its_place_when_due(self) -> None:
        """O6: it has no sequence until then, and goes behind what was enqueued meanwhile."""
        delayed = self.later("late", 5)
        self.put("now")
        assert self.stats().scheduled == 1
        assert self.unsettled() == ["now"]
        assert near(self.claim(lanes=0).next_due or -1, 5)
        self.live_through(4.5)
        self.put("meanwhile")
        self.live_through(1)
        assert self.stats().scheduled == 0
        assert self.unsettled() == ["now", "meanwhile", "late"]
        assert [record.job.seq for record in self.store.waiting(QUEUE, 9)] == [1, 2, 3]
        assert self.store.waiting(QUEUE, 9)[2].job.id == delayed

    def test_jobs_due_together_keep_the_order_of_their_calls(self) -> None:
        """(due, submission) is the order in which delayed jobs take their places."""
        for body, seconds in (("c", 3), ("a", 1), ("b", 2), ("d", 3)):
            self.later(body, seconds)
        self.live_through(5)
        assert self.unsettled() == ["a", "b", "c", "d"]

    def test_a_time_is_kept_as_given(self) -> None:
        """An absolute time is the store's clock's; one that has passed, or no delay, is now."""
        at = self.clock.wall() + 3
        [future] = self.store.append(QUEUE, [NewJob(body=b"future", due=at, due_is_time=True)])
        [past] = self.store.append(QUEUE, [NewJob(body=b"past", due=at - 60, due_is_time=True)])
        [now] = self.store.append(QUEUE, [NewJob(body=b"now", due=0)])
        assert (future.seq, past.seq, now.seq) == (None, 1, 2)
        self.live_through(4)
        assert self.unsettled() == ["past", "now", "future"]

    def test_time_in_queue_begins_when_a_job_is_due(self) -> None:
        """What waited for its time did not wait for a worker."""
        self.later("late", 5)
        due = self.clock.wall() + 5
        self.live_through(8)
        assert near(self.store.waiting(QUEUE, 1)[0].job.eligible_at, due)

    def test_a_waiting_worker_hears_of_a_delayed_job(self) -> None:
        """It must know that its next look is due earlier than it thought."""
        with self.listening(ALICE) as bell:
            self.later("late", 5)
            assert bell.wait(5)

    def test_a_delayed_job_can_be_found_and_cancelled(self) -> None:
        """Until it is due it is `scheduled`; cancelled it never comes, and counts as settled."""
        job = self.later("late", 5, lane="x", ttl=10)
        record = self.store.get(job)
        assert record is not None
        assert (record.state, record.lane, record.seq) == ("scheduled", "x", None)
        assert near(record.due_at or 0, self.clock.wall() + 5)
        assert near(record.expires_at or 0, self.clock.wall() + 15)
        assert self.store.cancel(job) is Cancellation.REMOVED
        self.live_through(10)
        assert self.store.get(job) is None
        stats = self.stats()
        assert (stats.enqueued, stats.settled["cancelled"], stats.depth) == (1, 1, 0)

    def test_expiry_is_counted_from_when_a_job_may_run(self) -> None:
        """A job carries when it expires: acceptance, or its due time, and its ttl."""
        self.store.append(QUEUE, [NewJob(body=b"a", ttl=10)])
        accepted = self.clock.wall()
        self.later("b", 5, ttl=10)
        self.live_through(6)
        first, second = self.store.waiting(QUEUE, 9)
        assert near(first.job.expires_at or 0, accepted + 10)
        assert near(second.job.expires_at or 0, accepted + 15)
        assert near(self.claim_one().jobs[0].expires_at or 0, accepted + 10)

    def test_a_full_queue_takes_nothing(self) -> None:
        """`max_length` counts what is unsettled, scheduled jobs too; a batch is taken whole or not at all."""
        self.later("late", 60)
        self.store.append(QUEUE, [NewJob(body=b"a")], max_length=3)
        with refused(QueueFull):
            self.store.append(QUEUE, [NewJob(body=b"b"), NewJob(body=b"c")], max_length=3)
        assert self.unsettled() == ["a"]
        self.store.append(QUEUE, [NewJob(body=b"b")], max_length=3)
        with refused(QueueFull):
            self.store.append(QUEUE, [NewJob(body=b"c")], max_length=3)
        grant = self.claim_one(BOB)
        assert bodies(grant) == ["a", "b"]
        self.settle(grant, owner=BOB)
        self.store.append(QUEUE, [NewJob(body=b"c")], max_length=3)
        assert self.stats().depth == 3
