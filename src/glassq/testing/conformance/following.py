"""What the tests of jobs that wait for others stand on."""

# ruff: noqa: S101 - asserts are the trade of a test

from __future__ import annotations

from collections.abc import Sequence

from glassq.model.edges import After, EdgePolicy
from glassq.model.flows import Delivery, FlowEnded
from glassq.model.jobs import Dedup, JobState, NewJob
from glassq.model.leases import Grant, Settled
from glassq.model.names import DEFAULT_LANE, gate_of, queue_of
from glassq.model.verdicts import Action
from glassq.testing.conformance.scenario import ALICE, QUEUE
from glassq.testing.conformance.steering import Balanced

OTHER = "mail"
BOTH = (QUEUE, OTHER)
FLOW = f"~{QUEUE}/0123456789abcdef"
GATE = gate_of(FLOW)
CANCEL, RUN, WAIT = EdgePolicy.CANCEL, EdgePolicy.RUN, EdgePolicy.WAIT


class Following(Balanced):
    """Short ways to put jobs that wait for others, to run them and to relay."""

    def one(self, body: str, *, lane: str = DEFAULT_LANE, queue: str = QUEUE, flow: str | None = None) -> str:
        """Append a job that waits for nothing; its id."""
        [answer] = self.store.append(queue, [NewJob(body=body.encode(), lane=lane, flow=flow)])
        return answer.id

    def child(
        self,
        body: str,
        *parents: str | After,
        policy: EdgePolicy = CANCEL,
        lane: str = DEFAULT_LANE,
        queue: str = QUEUE,
        level: int = 3,
        ttl: float | None = None,
        dedup: Dedup | None = None,
        flow: str | None = None,
    ) -> str:
        """Append a job that waits for others, as a client does: edges to other shards are noted there."""
        after = tuple(each if isinstance(each, After) else After(each, policy) for each in parents)
        job = NewJob(body=body.encode(), lane=lane, level=level, ttl=ttl, dedup=dedup, flow=flow, after=after)
        [answer] = self.store.append(queue, [job])
        assert answer.seq is None, "it takes its place when it is released"
        for each in after:
            parent = str(each.job)
            if queue_of(parent) == queue or parent.startswith("!"):
                continue
            outcome = self.store.follow(parent, [(answer.id, each.policy)])
            if outcome is not None:
                self.store.deliver(queue, [Delivery(to=answer.id, parent=parent, outcome=outcome)])
        return answer.id

    def children(self, count: int, parent: str, *, policy: EdgePolicy = CANCEL, lane: str = "fan") -> None:
        """Append so many children `0`, `1`, ... of one parent."""
        for begin in range(0, count, 100):
            names = range(begin, min(count, begin + 100))
            self.store.append(
                QUEUE,
                [NewJob(body=str(n).encode(), lane=lane, after=(After(parent, policy),)) for n in names],
            )

    # -- working ---------------------------------------------------------------------------------------

    def finish(
        self, body: str, action: Action = Action.ACK, *, queue: str = QUEUE, result: bytes | None = None
    ) -> Settled:
        """Claim the lane whose head is this job, and end that; other lanes are given back."""
        grant = self.granted(body, queue)
        answer = self.settle(grant, action, reason="exception", error=b"boom", result=result)
        if answer.held:
            self.store.release(ALICE, [grant.lease])
        return answer

    def granted(self, body: str, queue: str = QUEUE) -> Grant:
        """The lane whose head is this job; other lanes are given back."""
        found = None
        for grant in self.claim(queues=(queue,), lanes=100).grants:
            if grant.jobs[0].body.decode() == body:
                found = grant
            else:
                self.store.release(ALICE, [grant.lease])
        assert found is not None, f"{body} was to be the head of a lane"
        return found

    def run_all(self, *queues: str) -> list[str]:
        """Run whatever can run, one job after the other, relaying between; the bodies in that order."""
        ran: list[str] = []
        names = queues or (QUEUE,)
        while True:
            self.relay(*names)
            granted = self.claim(queues=names, lanes=1, window=1).grants
            if not granted:
                return ran
            [grant] = granted
            ran.append(grant.jobs[0].body.decode())
            answer = self.settle(grant, window=1)
            while answer.held:
                job = answer.jobs[0]
                ran.append(job.body.decode())
                answer = self.settle(grant, job_id=job.id, change=answer.change, window=1)

    def relay(self, *queues: str) -> list[FlowEnded]:
        """Deliver all there is in the outboxes of these queues, as workers do; the workflows that ended."""
        ended: list[FlowEnded] = []
        while True:
            found = {queue: self.store.outbox(queue) for queue in queues or (QUEUE,)}
            if not any(found.values()):
                return ended
            for queue, deliveries in found.items():
                ended += self.hand_over(deliveries)
                self.store.delivered(queue, [each.number for each in deliveries])

    def hand_over(self, deliveries: Sequence[Delivery]) -> list[FlowEnded]:
        """Deliver these to their shards; the workflows that ended."""
        ended: list[FlowEnded] = []
        for shard in dict.fromkeys(queue_of(each.to) for each in deliveries):
            there = [each for each in deliveries if queue_of(each.to) == shard]
            ended += self.store.deliver(shard, there).ended
        return ended

    def open_gate(self, queue: str = QUEUE) -> None:
        """Let go what waits at the gate of `FLOW` in this queue."""
        self.store.deliver(queue, [Delivery(to=GATE, parent=GATE, outcome=JobState.SUCCEEDED)])
