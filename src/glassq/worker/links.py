"""An attempt's ties to others: what was left for it, what it leaves, and the values of its workflow."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from glassq.codec import Place, Serializer
from glassq.codec.results import result_headers, result_loader, result_payload
from glassq.errors import CorruptRecord, FormatMismatch, StorageError, StorageUnavailable, UpstreamMissing
from glassq.model.flows import Upstream
from glassq.model.upstreams import Left, Upstreams, why_nothing
from glassq.registry import TaskDefinition
from glassq.sharing import SharedValues
from glassq.shielding import Log
from glassq.storage import Storage

log = Log("glassq.worker")


class Links:
    """Of one attempt of a job that comes after others, or belongs to a workflow.

    What those before it left is read once, and only when somebody wants to know. The one before it in its
    lane may have been settled without waiting: `catch_up` hears of that before (see `HeldLane`).
    """

    def __init__(
        self,
        task: TaskDefinition,
        place: Place,
        job_id: str,
        storage: Storage,
        catch_up: Callable[[], bool] = lambda: True,
    ) -> None:
        self.place = place
        self._job_id = job_id
        self._storage = storage
        self._catch_up = catch_up
        self.trail: dict[str, str] = {}
        """Headers for those behind it, which Arounds may add to."""
        self._task = task
        self._found: tuple[Upstream, ...] | None = None

    @property
    def flow(self) -> str | None:
        """The workflow that it belongs to."""
        return self.place.flow or None

    def upstream(self) -> Upstreams:
        """The results of the jobs before it. Raises `StorageError` when they cannot be read now."""
        return Upstreams(self._left())

    def given(self, *, at_once: bool) -> Callable[[], dict[str, Any]]:
        """What makes the arguments that steps before it give, and raises what keeps them from being made:
        where user code runs, as its failure. `at_once`: what was left is read here, as code follows that must
        not wait; what fails now is tried again then."""
        if at_once:
            self.trails()
        return self._arguments

    def trails(self) -> list[dict[str, str]]:
        """The headers that the jobs before it left. Never raises: they only explain."""
        try:
            return [result_headers(each.result) for each in self._upstream() if each.result is not None]
        except (StorageError, CorruptRecord, FormatMismatch) as error:
            log.warning("what was left for a job of %s cannot be read: %s", self._task.name, error)
            return []

    def _arguments(self) -> dict[str, Any]:
        """The arguments that steps before it give. Raises `StorageError`; `UpstreamMissing` where a step
        left nothing and the parameter has no default; `SerializationFailed`, `CorruptRecord` for what it
        cannot be."""
        given = {}
        for argument, gift in self.place.given.items():
            step = gift.step
            found = [each for each in self._upstream() if each.name == step]
            several = gift.many or len(found) > 1
            left = [each.result for each in found if each.result is not None]
            if left:
                payloads = [result_payload(each, self._serializer.name) for each in left]
                given[argument] = self._task.codec.restore_given(argument, payloads, several=several)
            elif self._task.signature.parameters[argument].default is self._task.signature.empty:
                why = why_nothing([each for each in self._left() if each.name == step])
                raise UpstreamMissing(argument, step, why)
        return given

    def push(self, name: str, value: Any, ttl: float) -> None:
        """See `JobContext.xcom_push`."""
        self._values().push(name, value, ttl)

    def pull(self, name: str, default: Any) -> Any:
        """See `JobContext.xcom_pull`."""
        return self._values().pull(name, default)

    def _values(self) -> SharedValues:
        return SharedValues(self._storage, self.place.flow, self._serializer)

    @property
    def _serializer(self) -> Serializer:
        return self._task.codec.serializer

    def _left(self) -> list[Left]:
        return [
            Left(
                each.name,
                each.job,
                each.outcome,
                None if each.result is None else result_loader(each.result, self._serializer),
            )
            for each in self._upstream()
        ]

    def _upstream(self) -> tuple[Upstream, ...]:
        if self._found is None:
            if self.place.behind and not self._catch_up():
                raise StorageUnavailable(f"the lane of {self._job_id} is lost; it runs elsewhere")
            self._found = self._storage.upstream(self._job_id) if self.place.behind else ()
        return self._found
