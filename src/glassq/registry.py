"""What the application declared: tasks with their options, queues with theirs."""

from __future__ import annotations

import inspect
import re
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypedDict, Unpack

import msgspec

from glassq.codec import DEFAULT_MAX_PAYLOAD, ArgumentCodec
from glassq.errors import BadOption, DuplicateTask, UnknownTask
from glassq.model.events import QueueDeclared, TaskDeclared
from glassq.model.jobs import Priority
from glassq.model.layouts import MAX_SHARDS
from glassq.model.names import Key, check_key, check_name, is_reserved, nearest
from glassq.model.objectives import check_latency, check_limit
from glassq.model.quantities import check_count, check_seconds
from glassq.policy.decide import FinalAction, Rules
from glassq.policy.fairness import MAX_TURN, MAX_WEIGHT, Weights, is_weight
from glassq.policy.retry import Backoff
from glassq.storage import MAX_APPEND_BYTES
from glassq.telemetry import Bus

MAX_PAYLOAD = MAX_APPEND_BYTES - (32 << 10)
"""One job has to fit into one append, with its envelope."""

KeyOf = Callable[..., Key] | Key


class QueueOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Options of one queue, the same for all of its tasks."""

    on_unknown: FinalAction = "halt"
    """What becomes of a job whose task is not registered or whose payload cannot be decoded."""
    max_length: int | None = None
    """Unsettled jobs the queue takes at most. Without it, what nobody serves fills the store."""
    full_wait: float = 0
    """Seconds a call waits for room in a full queue before it raises `QueueFull`."""
    max_payload: int = DEFAULT_MAX_PAYLOAD
    """Bytes of serialized arguments a call may have."""
    shards: int | None = None
    """Into how many shards the queue is cut; None leaves that to whoever says it, and to what its store
    remembers."""
    durability: str = "memory"
    """`memory`: a call returns when the store has the job. `replicated:N`: when N replicas have it too."""

    turn: int = 1
    """Jobs one lane may run before it goes behind others that wait. More trades fairness for rate."""
    weights: Weights | None = None
    """Keys whose turns are so many times as long."""
    slots: int | None = None
    """Slots of each worker that this queue may have. None: all but one of a worker with other queues."""

    max_age: float | None = None
    """Objective: seconds within which a job is settled, from when it may run. A bound of the histograms."""
    max_blocked: float | None = None
    """Objective: seconds for which a head that fails may hold up its lane."""
    job_timeout: float | None = None
    """Objective: seconds within which an attempt ends. Alerts rest on it, nothing is ended by it."""

    @property
    def replicas(self) -> int:
        """The N of `replicated:N`."""
        return 0 if self.durability == "memory" else int(self.durability.partition(":")[2])


class QueueOption(TypedDict, total=False):
    """What `app.queue(...)` takes, for type checkers: the fields of `QueueOptions`."""

    on_unknown: FinalAction
    max_length: int | None
    full_wait: float
    max_payload: int
    shards: int
    durability: str
    turn: int
    weights: Weights | None
    slots: int | None
    max_age: float | None
    max_blocked: float | None
    job_timeout: float | None


class TaskDefaults(msgspec.Struct, frozen=True, kw_only=True):
    """What holds for tasks whose decorators leave it out. Times are seconds."""

    max_retries: int = 3
    retry_wait: float | Backoff = 10.0
    on_exhausted: FinalAction = "bury"
    result_ttl: float = 0.0


class TaskDefault(TypedDict, total=False):
    """What `app.defaults(...)` takes, for type checkers: the fields of `TaskDefaults`."""

    max_retries: int
    retry_wait: float | Backoff
    on_exhausted: FinalAction
    result_ttl: float


class TaskDefinition(msgspec.Struct, frozen=True, kw_only=True):
    """One registered function with everything its decorator said. Times are seconds."""

    name: str
    queue: str
    func: Callable[..., Any]
    signature: inspect.Signature
    codec: ArgumentCodec
    on_success: Callable[..., Any] | None = None
    on_error: Callable[..., Any] | None = None
    max_retries: int = 3
    retry_wait: float | Backoff = 10.0
    key: KeyOf = None
    ttl: float | None = None
    priority: int = int(Priority.NORMAL)
    on_exhausted: FinalAction = "bury"
    timeout: float | None = None
    result_ttl: float = 0.0
    """For how long what becomes of its jobs is kept; 0: not at all."""
    is_async: bool = False
    """Whether the function is an `async def`: its attempts run on an event loop."""
    left_out: tuple[str, ...] = ()
    """Options the decorator left to the application's defaults; the values here are those in force."""

    def rules(self, queue: QueueOptions) -> Rules:
        """What `decide` needs to know about this task on its queue."""
        return Rules(
            max_retries=self.max_retries,
            retry_wait=self.retry_wait,
            on_exhausted=self.on_exhausted,
            on_unknown=queue.on_unknown,
        )


class Registry:
    """Tasks by name, queues by name. Look-ups are by exact string; nothing is ever imported by name."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._lock = threading.Lock()
        self._tasks: dict[str, TaskDefinition] = {}
        self._queues: dict[str, QueueOptions] = {}
        self._defaults = TaskDefaults()
        self.edition = 0
        """Another one whenever a task was added or changed: as long as it is the same, what was found out of
        tasks holds."""

    def add(self, task: TaskDefinition) -> None:
        """Register a task; `DuplicateTask` when its name belongs to another function, `BadOption` when its
        name or its queue's is not one. A task that is refused leaves nothing behind."""
        check_name("name", task.name)
        check_name("queue", task.queue)
        with self._lock:
            known = self._tasks.get(task.name)
            if known is not None and not _is_reload(known, task):
                raise DuplicateTask(task.name, _where(known.func), _where(task.func))
            self._tasks[task.name] = self._completed(task)
            self.edition += 1
        self.declare(task.queue)
        self._bus.emit(TaskDeclared(queue=task.queue, task=task.name))

    def default(self, **options: Unpack[TaskDefault]) -> TaskDefaults:
        """Change what holds for tasks whose decorators leave it out, those registered before too."""
        known = TaskDefaults.__struct_fields__
        for option, value in options.items():
            if option not in known:
                raise BadOption(option, "is not a default of tasks", nearest(option, known))
            check_task_option(option, value)
        with self._lock:
            self._defaults = msgspec.structs.replace(self._defaults, **options)
            self._tasks = {name: self._completed(task) for name, task in self._tasks.items()}
            self.edition += 1
            return self._defaults

    def _completed(self, task: TaskDefinition) -> TaskDefinition:
        if not task.left_out:
            return task
        return msgspec.structs.replace(
            task, **{option: getattr(self._defaults, option) for option in task.left_out}
        )

    def declare(self, queue: str, **options: Unpack[QueueOption]) -> QueueOptions:
        """Make a queue known, or change the options given; returns what is now in force."""
        if is_reserved(check_name("queue", queue)):
            raise BadOption("queue", f"{queue!r} begins as the library's own do; choose another name")
        for option, value in options.items():
            check_queue_option(option, value)
        with self._lock:
            new = queue not in self._queues
            current = self._queues.get(queue, QueueOptions())
            self._queues[queue] = merged = msgspec.structs.replace(current, **options)
        if new:
            self._bus.emit(QueueDeclared(queue=queue))
        return merged

    def task(self, name: str) -> TaskDefinition:
        """The task of this name; `UnknownTask` otherwise."""
        try:
            return self._tasks[name]
        except KeyError:
            raise UnknownTask(name, nearest(name, self._tasks)) from None

    def find(self, name: str) -> TaskDefinition | None:
        """The task of this name, if any."""
        return self._tasks.get(name)

    def options(self, queue: str) -> QueueOptions:
        """The options in force for a queue, declared or not."""
        return self._queues.get(queue, _DEFAULT_OPTIONS)

    def queues(self) -> tuple[str, ...]:
        """All queues known so far, in the order they were declared."""
        return tuple(self._queues)

    def tasks(self) -> tuple[TaskDefinition, ...]:
        """All tasks known so far."""
        return tuple(self._tasks.values())


_DEFAULT_OPTIONS = QueueOptions()


def task_name(func: Callable[..., Any]) -> str:
    """Module and qualified name, without `<locals>.`; stable between `python app.py` and `import app`.

    `__main__` is named by its spec (`python -m package.app`), else by its file's stem, so that the script
    that enqueues and the worker that imports it agree. (`__mp_main__` is what `multiprocessing` calls it
    in a process it spawned.)
    """
    module = func.__module__
    if module in ("__main__", "__mp_main__"):
        main = sys.modules[module]
        spec = getattr(main, "__spec__", None)
        file = getattr(main, "__file__", None)
        module = spec.name.removesuffix(".__main__") if spec else Path(file).stem if file else "__main__"
    return f"{module}.{func.__qualname__.replace('<locals>.', '')}"


def check_queue_option(option: str, value: object) -> None:
    """`BadOption` unless a queue has such an option and may have it so."""
    if option not in _QUEUE_CHECKS:
        raise BadOption(option, "is not an option of a queue", nearest(option, _QUEUE_CHECKS))
    _QUEUE_CHECKS[option](option, value)


def check_task_option(option: str, value: object) -> None:
    """`BadOption` unless this default of tasks may be so."""
    _TASK_CHECKS[option](option, value)


def check_final_action(option: str, value: object) -> None:
    """`BadOption` unless the value is one of the two ways to end."""
    if value not in ("bury", "halt"):
        raise BadOption(option, f'is "bury" or "halt", got {value!r}')


def _check_durability(option: str, value: object) -> None:
    if not isinstance(value, str) or not re.fullmatch(r"memory|replicated:[1-9][0-9]?", value):
        raise BadOption(option, f'is "memory" or "replicated:N" with N replicas, got {value!r}')


def _check_max_length(option: str, value: object) -> None:
    if value is not None:
        check_count(option, value)


def _check_shards(option: str, value: object) -> None:
    if check_count(option, value) > MAX_SHARDS:
        raise BadOption(option, f"is at most {MAX_SHARDS}, got {value}; a worker asks each for its lanes")


def _check_max_payload(option: str, value: object) -> None:
    if check_count(option, value) > MAX_PAYLOAD:
        raise BadOption(
            option, f"is at most {MAX_PAYLOAD} bytes, got {value}; pass the key of a larger thing"
        )


def _check_turn(option: str, value: object) -> None:
    if check_count(option, value) > MAX_TURN:
        raise BadOption(option, f"is at most {MAX_TURN:,} jobs, got {value}; others wait for all of them")


def _check_weights(option: str, value: object) -> None:
    if value is None or callable(value):
        return
    if not isinstance(value, Mapping):
        raise BadOption(
            option, f"maps keys to weights, or is a callable that is given a key; got {type(value).__name__}"
        )
    for key, weight in value.items():
        check_key(key)
        if not is_weight(weight):
            raise BadOption(option, f"{key!r} has {weight!r}; a weight is a whole number, 1 to {MAX_WEIGHT}")


def _check_slots(option: str, value: object) -> None:
    if value is not None:
        check_count(option, value)


_QUEUE_CHECKS: dict[str, Callable[[str, object], object]] = {
    "on_unknown": check_final_action,
    "max_length": _check_max_length,
    "full_wait": check_seconds,
    "max_payload": _check_max_payload,
    "durability": _check_durability,
    "shards": _check_shards,
    "turn": _check_turn,
    "weights": _check_weights,
    "slots": _check_slots,
    "max_age": check_latency,
    "max_blocked": check_limit,
    "job_timeout": check_limit,
}


def _check_max_retries(option: str, value: object) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < -1:
        raise BadOption(option, f"is a whole number from 0 up, or -1 for ever; got {value!r}")


def _check_retry_wait(option: str, value: object) -> None:
    if not isinstance(value, Backoff):
        check_seconds(option, value)


_TASK_CHECKS: dict[str, Callable[[str, object], object]] = {
    "max_retries": _check_max_retries,
    "retry_wait": _check_retry_wait,
    "on_exhausted": check_final_action,
    "result_ttl": check_seconds,
}


def _where(func: Callable[..., Any]) -> str:
    code = getattr(func, "__code__", None)
    return f"{code.co_filename}:{code.co_firstlineno}" if code else repr(func)


def _is_reload(known: TaskDefinition, task: TaskDefinition) -> bool:
    """A module loaded twice (as `__main__` and by import, or reloaded) defines the same task again.

    Functions made inside functions are not: two closures share their source but not what they do.
    """
    if known.func is task.func:
        return True
    inner = "<locals>" in task.func.__qualname__
    return not inner and known.queue == task.queue and _where(known.func) == _where(task.func)
