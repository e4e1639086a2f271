"""What spans know of the lane they are in: which one ran last there, and what all of them say."""

from __future__ import annotations

from collections import OrderedDict

from opentelemetry.trace import Link, SpanContext

from glassq.context import JobContext
from glassq.forking import begin_in_children
from glassq.observe.spancontexts import link_to
from glassq.observe.spans import PREDECESSOR, PREVIOUS_ATTEMPT, SpanSource
from glassq.observe.starting import Attributes

MAX_LANES_REMEMBERED = 1024


class LaneSpans:
    """The process spans of one lane in this process."""

    __slots__ = ("_last", "_said")

    def __init__(self) -> None:
        self._last: tuple[str, int, SpanContext] | None = None
        """The attempt that ran last: its job, its token and its span."""
        self._said: tuple[str, Attributes] | None = None
        """A task, and what spans of all its jobs say."""

    def before(self, job: JobContext) -> Link | None:
        """A link to the job's previous attempt, or to the job that ran just before it in the lane."""
        if self._last is None:
            return None
        job_id, token, context = self._last
        if job_id == job.id:
            return link_to(context, PREVIOUS_ATTEMPT)
        # Under another token somebody else may have run jobs in between.
        return link_to(context, PREDECESSOR) if token == job.token else None

    def note(self, job: JobContext, context: SpanContext) -> None:
        """An attempt of this job runs now."""
        if context.is_valid:
            self._last = (job.id, job.token, context)

    def common(self, source: SpanSource, job: JobContext, task: str) -> Attributes:
        """What all spans of this task's jobs say here."""
        if self._said is None or self._said[0] != task:
            said = source.common("process", "process", job.queue) | {"glassq.task.name": task}
            if job.key is not None:
                said["messaging.destination.partition.id"] = job.key
            self._said = (task, said)
            return said
        return self._said[1]


class LaneMemory:
    """The lanes of this process; the least recently used are forgotten."""

    def __init__(self) -> None:
        begin_in_children(self)

    def begin(self) -> None:
        """Nothing ran in this process yet."""
        self._lanes: OrderedDict[tuple[str, str | None], LaneSpans] = OrderedDict()

    def of(self, job: JobContext) -> LaneSpans:
        """The job's lane, which is the one that was used last from now on."""
        # No lock: each of these steps is whole, and at worst two threads forget one lane more.
        place, lanes = (job.queue, job.key), self._lanes
        lane = lanes.pop(place, None)
        if lane is None:
            lane = LaneSpans()
            if len(lanes) >= MAX_LANES_REMEMBERED:
                lanes.popitem(last=False)
        lanes[place] = lane
        return lane
