"""What `purge` promises: what waits ends, what is dead is gone, and what runs goes on."""

# ruff: noqa: S101, PLR2004 - asserts, and the numbers of an example, are the trade of a test

from __future__ import annotations

from glassq.model.jobs import Dedup, Disposition, NewJob
from glassq.model.leases import Leaving
from glassq.testing.conformance.scenario import QUEUE, bodies
from glassq.testing.conformance.steering import Balanced


class Purging(Balanced):
    """Dropping what waits, or what is dead."""

    def test_dead_letters_are_dropped(self) -> None:
        """They are gone, what waits is untouched, and the totals stay."""
        self.put("a", "b")
        self.bury(self.claim_one(), leaving=Leaving.RELEASE)
        assert self.store.purge(QUEUE, dead=True) == 1
        assert self.store.purge(QUEUE, dead=True) == 0
        assert (self.store.dead(QUEUE, 9), self.unsettled()) == ([], ["b"])
        assert self.stats().settled["buried"] == 1
        self.balance()

    def test_dropping_nothing_settles_nothing(self) -> None:
        """Nor does it look like a settlement to whoever watches the queue."""
        self.put("a")
        self.claim_one()
        assert self.store.purge(QUEUE, dead=False) == 0
        assert self.stats().last_settled_at == 0

    def test_what_waits_is_dropped_and_what_runs_goes_on(self) -> None:
        """Waiting, retrying and halted jobs end as cancelled; a running one is settled by its owner."""
        for lane in ("running", "retrying", "halted"):
            self.put("1", "2", lane=lane)
        grants = {grant.lease.lane: grant for grant in self.claim().grants}
        self.retry(grants["retrying"])
        self.halt(grants["halted"])
        self.put("3", lane="ready")
        assert self.store.purge(QUEUE, dead=False) == 6
        assert self.unsettled() == ["1"]
        stats = self.stats()
        assert (stats.leased, stats.depth, stats.settled["cancelled"]) == (1, 1, 6)
        answer = self.settle(grants["running"], next_id=grants["running"].jobs[-1].id)
        assert answer.held is False
        assert sum(self.stats().lanes.values()) == 0
        assert self.store.purge("never-used", dead=False) == 0
        self.balance()

    def test_one_lane_is_dropped_and_others_are_not(self) -> None:
        """What waits in it, in whatever level, and what is scheduled for it; a running job goes on."""
        for lane in ("x", "y"):
            self.put("1", "2", "3", lane=lane)
            self.put("urgent", lane=lane, level=6)
        self.store.append(
            QUEUE, [NewJob(body=b"later", due=60.0, lane=lane) for lane in ("x", "y", "x", "z")]
        )
        assert self.store.purge(QUEUE, dead=False, lane="unknown") == 0
        assert self.store.purge(QUEUE, dead=False, lane="x") == 6
        found = self.stats()
        assert (found.depth, found.scheduled, found.settled["cancelled"]) == (6, 2, 6)
        assert {record.lane for record in self.store.waiting(QUEUE, 100)} == {"y"}
        grant = self.claim_one()
        assert self.store.purge(QUEUE, dead=False, lane="y") == 4
        assert [record.job.id for record in self.store.waiting(QUEUE, 100)] == [grant.jobs[0].id]
        assert self.settle(grant, next_id=grant.jobs[1].id).held is False
        assert (self.stats().depth, sum(self.stats().lanes.values())) == (1, 0)
        self.balance()

    def test_a_lane_that_waits_or_halted_is_dropped(self) -> None:
        """It is gone with the last of its jobs, whatever its head has been through; the next one is new."""
        for lane in ("retrying", "halted", "paused"):
            self.put("1", "2", lane=lane)
        for grant in self.claim(lanes=2).grants:
            if grant.lease.lane == "retrying":
                self.retry(grant)
            else:
                self.halt(grant)
        self.store.pause(QUEUE, "paused")
        for lane in ("retrying", "halted", "paused"):
            assert self.store.purge(QUEUE, dead=False, lane=lane) == 2
        assert (self.stats().depth, self.stats().head_blocked, self.store.halted(QUEUE, 9)) == (0, 0, [])
        self.put("3", lane="halted")
        assert bodies(self.claim_one()) == ["3"]
        self.balance()

    def test_more_of_a_lane_than_one_step_drops(self) -> None:
        """However much there is of it, and of other lanes in between: all of it, and nothing else."""
        for _ in range(3):
            for lane in ("x", "y"):
                self.put(*"j" * 100, lane=lane)
                later = [NewJob(body=b"s", due=60.0 + number // 40, lane=lane) for number in range(100)]
                self.store.append(QUEUE, later)
        assert self.store.purge(QUEUE, dead=False, lane="x") == 600
        found = self.stats()
        assert (found.depth, found.scheduled, found.settled["cancelled"]) == (600, 300, 600)
        assert self.store.purge(QUEUE, dead=False, lane="x") == 0
        self.balance()

    def test_dead_letters_of_one_lane_are_dropped(self) -> None:
        """Others stay, and what waits does."""
        for number in range(130):
            self.put(str(number), lane="xy"[number % 2])
        while self.stats().ready:
            for grant in self.claim(window=1).grants:
                self.bury(grant, leaving=Leaving.YIELD)
        self.put("waits", lane="x")
        assert self.store.purge(QUEUE, dead=True, lane="x") == 65
        assert {record.lane for record in self.store.dead(QUEUE, 200)} == {"y"}
        assert (self.store.purge(QUEUE, dead=True, lane="x"), self.unsettled()) == (0, ["waits"])
        assert self.stats().dead_letters == 65
        self.balance()

    def test_what_a_dropped_job_alone_might_hold_is_free_again(self) -> None:
        """Of the jobs that are gone, waiting or scheduled, and of no others."""

        def unique(name: str, lane: str, due: float | None = None) -> NewJob:
            return NewJob(body=b"u", lane=lane, due=due, dedup=Dedup(name, None))

        jobs = [unique("a", "x"), unique("b", "y"), unique("c", "x", 60.0), unique("d", "y", 60.0)]
        self.store.append(QUEUE, jobs)
        assert self.store.purge(QUEUE, dead=False, lane="x") == 2
        again = [answer.disposition for answer in self.store.append(QUEUE, jobs)]
        created, duplicate = Disposition.CREATED, Disposition.DUPLICATE
        assert again == [created, duplicate, created, duplicate]
