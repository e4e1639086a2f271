"""What `append` promises."""

# ruff: noqa: S101, PLR2004 - asserts, and the numbers of an example, are the trade of a test

from __future__ import annotations

from glassq.model.jobs import Dedup, Disposition, NewJob, Priority
from glassq.model.leases import Leaving
from glassq.model.names import queue_of
from glassq.storage import MAX_APPEND_BYTES, MAX_APPEND_JOBS
from glassq.testing.conformance.scenario import QUEUE, Scenario, bodies, lanes_of, near, refused


class Appending(Scenario):
    """Sequences, bounds, bytes, names, levels."""

    def test_sequences_are_contiguous_from_one(self) -> None:
        """O1: the first job of a queue has seq 1, and no number is left out, over calls and within one."""
        answers = self.put("a") + self.put("b", "c") + self.put("d")
        assert [answer.seq for answer in answers] == [1, 2, 3, 4]
        assert {answer.disposition for answer in answers} == {Disposition.CREATED}

    def test_sequences_ascend_over_all_lanes_of_a_queue(self) -> None:
        """One order for the whole queue: lanes share its counter, also within one call."""
        answers = self.store.append(QUEUE, [NewJob(body=b"", lane=lane) for lane in ("x", "y", "x", "z")])
        answers += self.put("e", lane="y")
        assert [answer.seq for answer in answers] == [1, 2, 3, 4, 5]

    def test_queues_count_apart(self) -> None:
        """What is put into one queue moves no number of another."""
        self.put("a", "b", queue="letters")
        assert [answer.seq for answer in self.put("c", queue="parcels")] == [1]

    def test_sequences_go_on_after_the_queue_ran_empty(self) -> None:
        """A number is never given twice, even if nothing is left of the job that had it."""
        self.put("a")
        self.settle(self.claim_one())
        assert [answer.seq for answer in self.put("b")] == [2]

    def test_ids_are_unique_over_handles_and_name_their_queue(self) -> None:
        """Two producers never share an id, and an id tells where its job is."""
        answers = self.put("a", "b")
        for _ in range(2):
            answers += self.another_handle().append(QUEUE, [NewJob(body=b"c"), NewJob(body=b"d")])
        ids = [answer.id for answer in answers]
        assert len(set(ids)) == len(ids)
        assert {queue_of(each) for each in ids} == {QUEUE}
        assert [answer.seq for answer in answers] == [1, 2, 3, 4, 5, 6]

    def test_a_full_append_is_taken(self) -> None:
        """The bounds themselves are allowed: 100 jobs, and 1 MiB in all."""
        assert len(self.put(*["x"] * MAX_APPEND_JOBS)) == MAX_APPEND_JOBS
        half = bytes(MAX_APPEND_BYTES // 2)
        assert len(self.store.append(QUEUE, [NewJob(body=half), NewJob(body=half)])) == 2

    def test_too_many_jobs_are_refused_whole(self) -> None:
        """More than 100 jobs are a `ValueError`: nothing is stored, no number is used up."""
        with refused(ValueError):
            self.put(*["x"] * (MAX_APPEND_JOBS + 1))
        assert self.unsettled() == []
        assert [answer.seq for answer in self.put("a")] == [1]

    def test_too_many_bytes_are_refused_whole(self) -> None:
        """More than 1 MiB in all is a `ValueError`, however it is spread."""
        with refused(ValueError):
            self.store.append(QUEUE, [NewJob(body=bytes(MAX_APPEND_BYTES)), NewJob(body=b"x")])
        assert self.unsettled() == []

    def test_bodies_are_opaque(self) -> None:
        """Every byte comes back as it went in: separators, zeros, invalid UTF-8, nothing at all, a lot."""
        sent = [bytes(range(256)), b"", b"|:|1:2:r:x|", b"\xff\xfe", b"\r\n", b"x" * 300_000]
        self.store.append(QUEUE, [NewJob(body=body) for body in sent])
        assert [record.job.body for record in self.store.waiting(QUEUE, 10)] == sent
        assert [job.body for job in self.claim_one().jobs] == sent

    def test_lane_names_are_opaque(self) -> None:
        """Any text is a lane of its own, whatever it looks like inside the store."""
        names = ["", " ", "{x}", "3:a", "a", "a ", "A", "é", "e\u0301", "a\nb", "%s", "客户", "x" * 512, "*"]
        self.store.append(QUEUE, [NewJob(body=name.encode(), lane=name) for name in names])
        claimed = self.claim(lanes=100)
        assert lanes_of(claimed) == names
        assert [bodies(grant) for grant in claimed.grants] == [[name] for name in names]

    def test_a_stored_job_says_what_it_is(self) -> None:
        """Id, sequence, level and time of acceptance come back with the job."""
        [answer] = self.put("a", level=Priority.HIGH)
        self.clock.advance(5)
        [job] = self.claim_one().jobs
        assert (job.id, job.seq, job.level, job.replayed) == (answer.id, 1, Priority.HIGH, False)
        assert near(job.eligible_at, self.clock.wall() - 5)

    def test_a_higher_level_is_served_first_in_order_within_each(self) -> None:
        """O7: levels before sequence, sequence within a level."""
        for body, level in [("low", 1), ("n1", 3), ("high", 6), ("n2", 3), ("high2", 6)]:
            self.put(body, level=level)
        assert bodies(self.claim_one()) == ["high", "high2", "n1", "n2", "low"]

    def test_a_begun_head_is_not_overtaken_by_a_higher_level(self) -> None:
        """O7: what was tried once stays the head, whatever arrives while it waits for its retry."""
        self.put("begun")
        self.retry(self.claim_one(), wait=5)
        self.put("urgent", level=Priority.CRITICAL)
        self.clock.advance(5)
        grant = self.claim_one()
        assert bodies(grant) == ["begun"]
        assert bodies(self.settle(grant)) == ["urgent"]

    def test_a_higher_level_moves_no_lane(self) -> None:
        """A ready lane keeps its place among the lanes when a level that is new to it comes in."""
        self.put("1", lane="x")
        self.put("1", lane="y")
        self.put("urgent", lane="x", level=Priority.CRITICAL)
        assert lanes_of(self.claim()) == ["x", "y"]

    def test_an_id_that_had_a_window_may_be_unique_later(self) -> None:
        """What was remembered for a while is forgotten; what holds until it is settled is not, with it."""
        once = NewJob(body=b"a", dedup=Dedup("once", 10.0))
        self.store.append(QUEUE, [once])
        self.settle(self.claim_one())
        self.clock.advance(11)
        unique = NewJob(body=b"b", dedup=Dedup("once"))
        [created] = self.store.append(QUEUE, [unique])
        self.store.append(QUEUE, [NewJob(body=b"c", lane="other", dedup=Dedup("another", 1.0))])
        [twin] = self.store.append(QUEUE, [unique])
        assert (created.disposition, twin.disposition) == (Disposition.CREATED, Disposition.DUPLICATE)
        assert twin.id == created.id

    def test_a_higher_level_is_served_before_the_rest_of_a_lane(self) -> None:
        """O7: a turn later the urgent job comes first."""
        self.put("n1", "n2")
        grant = self.claim_one()
        self.put("urgent", level=Priority.CRITICAL)
        self.settle(grant, leaving=Leaving.YIELD)
        assert bodies(self.claim_one()) == ["urgent", "n2"]
