"""What an application can do with workflows: submit them, and find them again."""

from __future__ import annotations

import asyncio
import secrets
from abc import abstractmethod

from glassq.client.awaited import AwaitedProducer
from glassq.client.options import check_failure_policy
from glassq.client.results import Results
from glassq.codec import Serializer
from glassq.model.clock import Clock
from glassq.model.compositions import Composable
from glassq.model.edges import EdgePolicy
from glassq.model.events import WorkflowSubmitted
from glassq.model.layouts import shard_of
from glassq.model.names import check_name, flow_id
from glassq.model.quantities import check_seconds
from glassq.storage import ShardedStorage
from glassq.telemetry import Bus, Submitting
from glassq.workflows.graph import Graph
from glassq.workflows.handle import Workflow
from glassq.workflows.planning import planned, shape_of
from glassq.workflows.records import check_flow_id
from glassq.workflows.submitting import Submission

KEEP = 7 * 86_400.0
"""Seconds for which the record of a workflow is kept after its end, if nothing else is said."""


class Workflows:
    """The part of an application that is about workflows."""

    bus: Bus
    _producer: AwaitedProducer
    _results: Results
    _clock: Clock
    _serializer: Serializer

    @property
    @abstractmethod
    def storage(self) -> ShardedStorage:
        """The store, opened at its first use."""

    def submit(
        self,
        workflow: Composable,
        *,
        name: str | None = None,
        on_failure: EdgePolicy | str = "cancel",
        keep: float = KEEP,
    ) -> Workflow:
        """Enqueue signatures that wait for one another, all or none: `app.submit(a.s() >> b.s())`.

        A step runs when all those before it have succeeded, in the lane it was made for, behind what waits
        there by then. `on_failure` says what becomes of it when one has not, unless the edge says it
        (`a.then(b, on_failure=...)`) or its own options: "cancel" (it is cancelled, and so are those behind
        it; the replay of the dead letter brings them back), "run" (it runs nevertheless) or "wait" (until the
        dead letter is replayed and succeeds). `name` (the first step's, if not given) is what its metrics
        are told by, so give one name to all of a kind. Its record is kept for `keep` seconds after its end.

        Everything is checked before any of it is stored: raises `BadOption`, `WorkflowCycle`, `WorkflowError`
        over a bound, and what a call of a step would raise. `SubmitFailed` when the store failed meanwhile;
        then nothing of it runs. Costs a round trip for each 100 steps, one for each step that another queue
        waits for, and two more. Blocks: on an event loop, `asubmit`.
        """
        policy = check_failure_policy("on_failure", on_failure) or EdgePolicy.CANCEL
        seconds = check_seconds("keep", keep, above_zero=True)
        label = None if name is None else check_name("name", name)
        shape = shape_of(workflow)
        first, mark = shape.steps[0].enclosed.task.queue, secrets.token_hex(8)
        home = shard_of(self.storage.shards(first), mark)
        known = planned(shape, flow_id(home, mark), policy, self._producer)
        submission = Submission(self.storage, self._producer, known)
        label = label or shape.steps[0].name
        with self.bus.around(Submitting(known.flow, label, first, len(shape.steps))):
            graph = submission.submit(name=label, keep=seconds)
        self.bus.emit(WorkflowSubmitted(workflow=known.flow, name=label))
        return self._handle(known.flow, graph)

    async def asubmit(
        self,
        workflow: Composable,
        *,
        name: str | None = None,
        on_failure: EdgePolicy | str = "cancel",
        keep: float = KEEP,
    ) -> Workflow:
        """As `submit`, in a thread that is awaited. Cancelled, it is submitted nevertheless."""
        return await asyncio.to_thread(self.submit, workflow, name=name, on_failure=on_failure, keep=keep)

    def workflow(self, workflow_id: str) -> Workflow:
        """A handle on a workflow by its id, whoever submitted it. No round trip; `BadOption` for what is no
        such id."""
        return self._handle(check_flow_id(workflow_id))

    def _handle(self, flow: str, graph: Graph | None = None) -> Workflow:
        mailbox = self._results.mailbox
        return Workflow(flow, lambda: self.storage, self._clock, self._serializer, mailbox, graph)
