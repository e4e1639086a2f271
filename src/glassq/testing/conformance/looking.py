"""What the reading verbs promise: lists that are complete and ordered, figures that add up."""

# ruff: noqa: S101, PLR2004 - asserts, and the numbers of an example, are the trade of a test

from __future__ import annotations

from glassq.model.jobs import Cancellation, NewJob
from glassq.model.leases import Leaving
from glassq.model.stats import QueueStats
from glassq.testing.conformance.scenario import ALICE, BOB, QUEUE, Scenario, near


class Looking(Scenario):
    """Lists and figures."""

    def test_waiting_lists_every_unsettled_job_by_sequence(self) -> None:
        """Over all lanes, in whatever state they are: ready, held, waiting for a retry, halted."""
        for lane in ("retrying", "halted", "held"):
            self.put(f"{lane}-1", f"{lane}-2", lane=lane)
        grants = self.claim().grants
        self.retry(grants[0])
        self.halt(grants[1])
        self.put("ready-1", "ready-2", lane="ready")
        self.put("held-3", lane="held")
        records = self.store.waiting(QUEUE, 100)
        assert [record.job.seq for record in records] == list(range(1, 10))
        assert [(record.lane, record.job.body.decode()) for record in records[:3]] == [
            ("retrying", "retrying-1"),
            ("retrying", "retrying-2"),
            ("halted", "halted-1"),
        ]
        assert records[-1].job.body == b"held-3"

    def test_waiting_is_cut_at_its_limit(self) -> None:
        """The first so many by sequence, even if lanes and levels are interleaved."""
        for number in range(30):
            self.put(str(number), lane=f"lane-{number % 7}", level=1 + number % 6)
        assert [record.job.seq for record in self.store.waiting(QUEUE, 11)] == list(range(1, 12))
        assert self.store.waiting(QUEUE, 0) == []
        assert self.store.waiting("never-used", 10) == []

    def test_waiting_follows_a_lane_that_moves(self) -> None:
        """What is settled leaves the list at once, within a turn as after it."""
        self.put("a", "b", "c", lane="x")
        self.put("d", lane="y")
        grant = self.claim_one()
        self.settle(grant)
        assert self.unsettled() == ["b", "c", "d"]
        self.settle(grant, index=1, job_id=self.store.waiting(QUEUE, 1)[0].job.id, leaving=Leaving.YIELD)
        assert self.unsettled() == ["c", "d"]

    def test_waiting_follows_a_replay(self) -> None:
        """What comes back to the front of its lane comes back to the front of the list."""
        [dead] = self.put("a", lane="x")
        self.bury(self.claim_one())
        self.put("b", lane="y")
        self.put("c", lane="x")
        self.store.replay(QUEUE, [dead.id], front=True)
        assert [record.job.seq for record in self.store.waiting(QUEUE, 1)] == [1]
        assert self.unsettled() == ["a", "b", "c"]

    def test_dead_letters_are_listed_by_sequence(self) -> None:
        """In the order in which they were accepted, not in which they were given up."""
        for lane in ("x", "y", "z"):
            self.put("1", lane=lane)
        for grant in reversed(self.claim().grants):
            self.bury(grant)
            self.clock.advance(1)
        assert [record.job.seq for record in self.store.dead(QUEUE, 10)] == [1, 2, 3]
        assert [record.lane for record in self.store.dead(QUEUE, 2)] == ["x", "y"]
        assert self.store.dead("never-used", 10) == []

    def test_a_queue_nothing_was_put_into_is_all_zeros(self) -> None:
        """Names nobody knows are answered, in their place, and stay unknown."""
        self.put("a")
        never, used, nope = self.store.stats(["never-used", QUEUE, "nope"])
        for empty, name in ((never, "never-used"), (nope, "nope")):
            assert (empty.queue, empty.depth, empty.enqueued, sum(empty.settled.values())) == (name, 0, 0, 0)
            assert sum(empty.lanes.values()) == 0
        assert (used.queue, used.enqueued) == (QUEUE, 1)
        assert self.store.stats([]) == []

    def test_queues_are_listed_by_name(self) -> None:
        """Every queue anything was put into, also when nothing is left in it, and no other."""
        assert self.store.queues() == []
        for queue in ("b", "a", "B"):
            self.put("1", queue=queue)
        self.claim(queues=["a", "claimed-only"])
        assert self.store.queues() == ["B", "a", "b"]
        assert self.another_handle().queues() == ["B", "a", "b"]

    def test_states_add_up(self) -> None:
        """Every job is in exactly one state; together they are what was enqueued and not settled."""
        for lane in ("retrying", "halted", "held", "ready"):
            self.put("1", "2", "3", lane=lane)
        for grant in self.claim(lanes=2).grants:
            if grant.lease.lane == "retrying":
                self.retry(grant)
            else:
                self.halt(grant)
        self.claim(lanes=1)
        found = self.stats()
        assert (found.leased, found.waiting_retry, found.halted, found.ready) == (1, 1, 3, 7)
        assert (found.paused, found.scheduled, found.deferred) == (0, 0, 0)
        lanes = {state: count for state, count in found.lanes.items() if count}
        assert lanes == {"leased": 1, "waiting_retry": 1, "halted": 1, "ready": 1}
        self._adds_up(found)

    def test_what_runs_in_a_paused_lane_is_leased(self) -> None:
        """The pause holds what is behind it."""
        self.put("a", "b", "c", lane="x")
        self.claim_one()
        self.store.pause(QUEUE, "x")
        found = self.stats()
        assert (found.leased, found.paused, found.ready) == (1, 2, 0)
        self._adds_up(found)

    def test_a_job_that_became_due_is_cancelled_like_any_other(self) -> None:
        """It is no longer where scheduled jobs are: it is taken out of its lane, and counted once."""
        [job] = self.store.append(QUEUE, [NewJob(body=b"a", due=5.0)])
        self.clock.advance(6)
        self.claim(lanes=0)
        assert self.unsettled() == ["a"]
        assert self.store.cancel(job.id) is Cancellation.REMOVED
        assert self.unsettled() == []
        self._adds_up(self.stats())

    def test_a_cancelled_head_blocks_no_more(self) -> None:
        """Neither its failures nor its attempts show once it is taken out."""
        head, _ = self.put("a", "b")
        self.retry(self.claim_one())
        self.clock.advance(1)
        self.store.cancel(head.id)
        found = self.stats()
        assert (found.head_blocked, found.head_attempts, found.waiting_retry, found.ready) == (0, 0, 0, 1)

    def test_settled_jobs_are_counted_by_outcome(self) -> None:
        """Succeeded, buried, cancelled; and enqueued = settled + left."""
        self.put(*["x"] * 7)
        grant = self.claim_one()
        for index in range(3):
            last = index == 2
            self.settle(grant, index=index, leaving=Leaving.YIELD if last else Leaving.STAY)
        self.bury(self.claim_one(), leaving=Leaving.YIELD)
        self.halt(self.claim_one())
        self.store.skip_lane(QUEUE, "")
        found = self.stats()
        outcomes = {outcome: count for outcome, count in found.settled.items() if count}
        assert outcomes == {"succeeded": 3, "buried": 1, "cancelled": 1}
        assert (found.enqueued, found.depth, found.dead_letters) == (7, 2, 1)
        self._adds_up(found)

    def test_a_drained_queue_leaves_no_lanes(self) -> None:
        """Thousands of keys come and go: nothing grows with them."""
        for number in range(20):
            self.put("1", lane=f"lane-{number}")
        for grant in self.claim(lanes=100).grants:
            self.settle(grant)
        found = self.stats()
        assert (found.depth, sum(found.lanes.values()), found.oldest_job_age) == (0, 0, 0)
        assert self.claim(BOB).next_due is None

    def test_ages_are_by_the_stores_clock(self) -> None:
        """How old the oldest job, the oldest dead letter and the worst head are; 0 when there is none."""
        found = self.stats()
        assert (found.oldest_job_age, found.head_blocked, found.dead_letter_oldest_age) == (0, 0, 0)
        self.put("a", lane="x")
        self.clock.advance(3)
        self.put("b", lane="y")
        first, second = self.claim().grants
        self.retry(first, wait=100)
        self.clock.advance(4)
        found = self.stats()
        assert near(found.oldest_job_age, 7)
        assert near(found.head_blocked, 4)
        assert found.head_attempts == 1
        self.bury(second)
        self.clock.advance(2)
        found = self.stats()
        assert near(found.dead_letter_oldest_age, 2)
        assert near(found.last_settled_at, self.clock.wall() - 2)

    def test_the_oldest_job_is_the_first_by_sequence(self) -> None:
        """Of whatever level; a replayed one counts from its replay."""
        [dead] = self.put("dead", lane="x")
        self.bury(self.claim_one())
        self.put("low", lane="x", level=1)
        self.clock.advance(5)
        self.put("high", lane="x", level=6)
        assert near(self.stats().oldest_job_age, 5)
        self.settle(self.claim_one(), leaving=Leaving.STAY)
        assert near(self.stats().oldest_job_age, 5)
        self.store.replay(QUEUE, [dead.id], front=True)
        self.clock.advance(2)
        assert near(self.stats().oldest_job_age, 2)

    def test_the_oldest_job_is_the_oldest_left(self) -> None:
        """The age follows the jobs: within a turn, at its end, and to zero."""
        for body in "abc":
            self.put(body)
            self.clock.advance(1)
        grant = self.claim_one()
        assert near(self.stats().oldest_job_age, 3)
        self.settle(grant)
        assert near(self.stats().oldest_job_age, 2)
        self.settle(grant, index=1, leaving=Leaving.YIELD)
        assert near(self.stats().oldest_job_age, 1)
        self.settle(self.claim_one())
        assert self.stats().oldest_job_age == 0

    def test_a_settled_head_blocks_no_more(self) -> None:
        """Neither its failures nor its attempts show once it is gone."""
        self.put("a", "b")
        self.retry(self.claim_one(), wait=0)
        self.clock.advance(1)
        assert near(self.stats().head_blocked, 1)
        self.settle(self.claim_one())
        found = self.stats()
        assert (found.head_blocked, found.head_attempts) == (0, 0)

    def test_listening_workers_are_counted(self) -> None:
        """Each worker that listens serves its queues until it says goodbye."""
        self.put("a")
        with self.listening(ALICE), self.listening(BOB, self.another_handle()):
            self.store.report(ALICE, [QUEUE])
            assert self.stats().workers == 2
            assert self.stats("letters").workers == 0
        assert self.stats().workers == 0

    def test_nothing_is_lost_and_nothing_appears(self) -> None:
        """Enqueued + replayed = settled + what is there, whatever is done: settled in every way, brought
        back, cancelled, purged, not due yet."""
        jobs = self.put("a", "b", "c", "d", "e", "f", lane="x")
        for end in (self.bury, self.bury, self.settle):
            end(self.claim_one(), leaving=Leaving.RELEASE)
            self._adds_up(self.stats())
        self.store.replay(QUEUE, [jobs[0].id], front=True)
        self.store.replay(QUEUE, [jobs[1].id], front=False)
        self.store.append(QUEUE, [NewJob(body=b"later", due=60.0), NewJob(body=b"soon", due=1.0)])
        self._adds_up(self.stats())
        self.store.cancel(jobs[4].id)
        self.clock.advance(2)
        self.bury(self.claim_one(), leaving=Leaving.RELEASE)
        found = self.stats()
        assert (found.enqueued, found.replayed, sum(found.settled.values()), found.depth) == (8, 2, 5, 5)
        self._adds_up(found)
        self.store.purge(QUEUE, dead=True)
        self.store.purge(QUEUE, dead=False)
        found = self.stats()
        assert (sum(found.settled.values()), found.depth) == (10, 0)
        self._adds_up(found)

    def test_lanes_handed_out_are_counted(self) -> None:
        """By one for each token: a lane that goes on under its lease counts once, one that waits not yet."""
        assert self.stats().lease_tokens == 0
        self.put("a", "b", "c", lane="x")
        self.put("d", lane="y")
        assert self.stats().lease_tokens == 0
        grant = self.claim_one()
        assert self.stats().lease_tokens == 1
        self.settle(grant)
        assert self.stats().lease_tokens == 1
        self.settle(grant, job_id=self.store.waiting(QUEUE, 1)[0].job.id, leaving=Leaving.YIELD)
        assert self.stats().lease_tokens == 1
        self.retry(self.claim_one(), wait=1.0)
        self.clock.advance(2)
        assert self.stats().lease_tokens == 2
        self.claim(lanes=2)
        assert self.stats().lease_tokens == 4

    def test_a_schedule_lags_when_nobody_lets_its_jobs_in(self) -> None:
        """The first job that is due and has not joined its lane says by how much; none is due yet: 0."""
        assert self.stats().schedule_lag == 0
        self.store.append(QUEUE, [NewJob(body=b"b", due=20.0), NewJob(body=b"a", due=5.0)])
        assert self.stats().schedule_lag == 0
        self.clock.advance(12)
        assert near(self.stats().schedule_lag, 7.0)
        self.claim()
        assert self.stats().schedule_lag == 0

    def _adds_up(self, found: QueueStats) -> None:
        assert found.depth == found.enqueued + found.replayed - sum(found.settled.values())
        assert found.depth == len(self.unsettled()) + found.scheduled
