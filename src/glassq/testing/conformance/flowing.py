"""What the record of a workflow promises."""

# ruff: noqa: S101, PLR2004 - asserts, and the numbers of an example, are the trade of a test

from __future__ import annotations

from glassq.model.flows import FlowEnded, FlowRecord
from glassq.model.jobs import JobState
from glassq.model.verdicts import Action
from glassq.testing.conformance.following import BOTH, FLOW, GATE, OTHER, Following
from glassq.testing.conformance.scenario import QUEUE, near

KEPT = 60.0


class Flowing(Following):
    """A workflow ends with the last of its jobs, wherever these are; that is told once."""

    def submit(self, *, other: str = QUEUE) -> tuple[str, str]:
        """A workflow of two jobs, the second after the first, in a queue of its own if need be."""
        first = self.child("first", GATE, flow=FLOW)
        second = self.child("second", first, flow=FLOW, queue=other)
        self.store.open_flow(FLOW, name="etl", total=2, body=b"graph", keep_seconds=KEPT)
        self.open_gate()
        return first, second

    def record(self) -> FlowRecord:
        """The workflow's record."""
        found = self.store.flow(FLOW)
        assert found is not None
        return found

    def test_a_workflow_from_its_begin_to_its_end(self) -> None:
        """What the record says meanwhile, and that the end is told by the call that settled the last job."""
        began = self.clock.wall()
        first, second = self.submit()
        record = self.record()
        assert (record.id, record.name, record.total, record.body) == (FLOW, "etl", 2, b"graph")
        assert (record.ended, record.ended_at, record.status) == ({}, None, "running")
        assert near(record.began_at, began)
        self.live_through(3)
        assert self.finish("first").ended == ()
        assert self.record().ended == {JobState.SUCCEEDED: 1}
        assert self.store.flow_outcomes(FLOW) == {first: JobState.SUCCEEDED}
        self.live_through(4)
        [ended] = self.finish("second").ended
        assert (ended.id, ended.name, ended.status) == (FLOW, "etl", "succeeded")
        assert near(ended.seconds, 7)
        record = self.record()
        assert (record.ended, record.status) == ({JobState.SUCCEEDED: 2}, "succeeded")
        assert near(record.ended_at or 0, began + 7)
        assert set(self.store.flow_outcomes(FLOW)) == {first, second}
        assert self.relay() == []

    def test_a_workflow_over_two_queues(self) -> None:
        """Its home hears of every job; the end is told once, by a settlement or by a relay."""
        self.submit(other=OTHER)
        told: list[FlowEnded] = [*self.finish("first").ended, *self.relay(*BOTH)]
        assert told == []
        told = [*self.finish("second", queue=OTHER).ended, *self.relay(*BOTH)]
        assert [each.status for each in told] == ["succeeded"]
        assert self.record().status == "succeeded"
        assert self.relay(*BOTH) == []

    def test_a_failed_workflow(self) -> None:
        """A dead letter, and what it cancelled."""
        first, second = self.submit()
        [ended] = self.finish("first", Action.BURY).ended
        assert ended.status == "failed"
        assert self.record().ended == {JobState.BURIED: 1, JobState.CANCELLED: 1}
        outcomes = {first: JobState.BURIED, second: JobState.CANCELLED}
        assert self.store.flow_outcomes(FLOW) == outcomes

    def test_a_replay_opens_a_workflow_again(self) -> None:
        """It has not ended any more; it ends anew with its last job."""
        first, _ = self.submit()
        self.finish("first", Action.BURY)
        self.store.replay(QUEUE, [first], front=True)
        record = self.record()
        assert (record.ended, record.ended_at, record.status) == ({}, None, "running")
        assert self.finish("first").ended == ()
        [ended] = self.finish("second").ended
        assert ended.status == "succeeded"

    def test_a_cancelled_workflow(self) -> None:
        """The mark is the status's; its jobs are cancelled one by one, and the relay tells of the end."""
        first, second = self.submit()
        assert self.store.cancel_flow(FLOW)
        assert (self.record().cancelled, self.record().status) == (True, "running")
        self.store.cancel(second)
        self.store.cancel(first)
        assert [each.status for each in self.relay()] == ["cancelled"]
        assert self.record().ended == {JobState.CANCELLED: 2}
        assert self.record().status == "cancelled"
        assert not self.store.cancel_flow(FLOW)
        assert self.relay() == []

    def test_a_workflow_that_somebody_purged(self) -> None:
        """Nobody's answer tells of that: the relay does."""
        self.submit()
        assert self.store.purge(QUEUE, dead=False) == 2
        assert [each.status for each in self.relay()] == ["cancelled"]
        assert self.record().ended == {JobState.CANCELLED: 2}
        assert self.relay() == []

    def test_what_ended_before_the_record_was_made_counts(self) -> None:
        """Somebody may cancel or purge while a workflow is still being stored."""
        first = self.child("first", GATE, flow=FLOW)
        self.child("second", first, flow=FLOW)
        assert self.store.flow(FLOW) is None
        assert self.store.flow_outcomes(FLOW) == {}
        self.store.purge(QUEUE, dead=False)
        self.relay()
        self.store.open_flow(FLOW, name="etl", total=2, body=b"", keep_seconds=KEPT)
        assert [each.status for each in self.relay()] == ["cancelled"]

    def test_a_record_is_made_once(self) -> None:
        """A repeated call changes nothing."""
        self.submit()
        self.finish("first")
        self.store.open_flow(FLOW, name="other", total=9, body=b"other", keep_seconds=1)
        record = self.record()
        assert (record.name, record.total, record.body) == ("etl", 2, b"graph")
        assert record.ended == {JobState.SUCCEEDED: 1}

    def test_a_record_is_dropped_some_time_after_the_end(self) -> None:
        """Not before, however long the workflow runs."""
        self.submit()
        self.live_through(2 * KEPT)
        self.finish("first")
        self.live_through(2 * KEPT)
        self.finish("second")
        self.live_through(KEPT - 5)
        assert self.store.flow(FLOW) is not None
        self.live_through(10)
        assert self.store.flow(FLOW) is None
        assert self.store.flow_outcomes(FLOW) == {}

    def test_nobody_knows_a_workflow_that_never_was(self) -> None:
        """Reading and cancelling say so."""
        assert self.store.flow(FLOW) is None
        assert self.store.flow_outcomes(FLOW) == {}
        assert not self.store.cancel_flow(FLOW)

    def test_a_job_of_a_workflow_need_not_wait_for_anybody(self) -> None:
        """Its end counts all the same, also when it comes back from the dead letters."""
        self.one("only", flow=FLOW)
        self.store.open_flow(FLOW, name="single", total=1, body=b"", keep_seconds=KEPT)
        [ended] = self.finish("only").ended
        assert (ended.name, ended.status) == ("single", "succeeded")
