"""The composition root: the one room that knows all others and puts them together."""

from __future__ import annotations

import inspect
import os
import random
import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from types import TracebackType
from typing import TYPE_CHECKING, Any, Never, Self, TypeVar, Unpack

from prometheus_client import REGISTRY, CollectorRegistry

from glassq.client.awaited import AwaitedProducer
from glassq.client.declaring import Declaring, checked, refuse_unknown
from glassq.client.means import Means
from glassq.client.queues import Queue
from glassq.client.results import Results
from glassq.client.task import Signature, calls_of
from glassq.codec import JsonSerializer, Serializer
from glassq.model.events import StorageReconnected
from glassq.model.jobs import Cancellation, JobView, Priority, Receipt
from glassq.model.leases import Owner
from glassq.model.names import check_name
from glassq.observe.collector import collect_store, look_at_stores
from glassq.observe.declared import show_declared
from glassq.observe.failures import log_failures
from glassq.observe.health import Health
from glassq.observe.history import HistoryFile, record_attempts
from glassq.observe.losses import log_losses
from glassq.observe.prometheus import observe_metrics
from glassq.observe.tokens import watch_tokens
from glassq.observe.traceoptions import TraceOptions
from glassq.observe.tracing import Tracing, instead_of
from glassq.policy.decide import FinalAction
from glassq.policy.retry import Backoff
from glassq.registry import KeyOf, QueueOption, Registry, TaskDefault
from glassq.schedules.scheduler import Scheduler
from glassq.scheduling import Scheduled, Schedules
from glassq.serving import Served
from glassq.shielding import Log
from glassq.storage import ShardedStorage, Storage
from glassq.stores.instrumented import InstrumentedStorage
from glassq.stores.lazy import LazyStore
from glassq.stores.open import Place, locate, open_storage
from glassq.stores.recorded import RecordedStorage
from glassq.stores.sharded import ShardedQueues
from glassq.systemclock import SystemClock
from glassq.telemetry import Bus
from glassq.web.server import HttpServer
from glassq.worker.engine import Worker
from glassq.worker.hosting import AsyncWorker
from glassq.worker.loops import CallersLoop, LoopHome, OwnLoop
from glassq.worker.options import WorkerOption, WorkerOptions, worker_options
from glassq.worker.watching import LoopWatch
from glassq.workflows.verbs import Workflows

if TYPE_CHECKING:
    from redis import Redis  # a program on SQLite does not pay for importing it

log = Log("glassq")
R = TypeVar("R")

DEFAULT_URL = "sqlite:///glassq.db"
URL_VARIABLE = "GLASSQ_URL"


class Glassq(Scheduled, Workflows, Served):
    """An application's queues on one store.

    Making one opens nothing: the store is opened by the first call that needs it. Several applications in
    one process work side by side, also on one Prometheus registry.

    `url`: where the jobs are, or a ready redis-py client for there; without one `$GLASSQ_URL`, else
    `sqlite:///glassq.db`.
    `lease_seconds`: how long a worker that fell silent keeps its lanes (from 1).
    `node_id`: a stable name of this instance; when it comes back it takes its own lanes over at once. Two
    live instances must not share one, so a process forked from this one works without it.
    `registry`: the Prometheus registry its metrics are in; the process-wide one if not given.
    `serializer`: how arguments become bytes; JSON if not given.
    `history`: a directory into which every process writes what it did, for `glassq verify`; see there what
    it costs.
    `tracing`: how its spans are made, where they are wanted otherwise than by default.
    `otel_metrics`: count with OpenTelemetry's meter provider, too; dearer than Prometheus' counters.
    Raises `BadOption` for a URL no store answers to, or a directory that cannot be used.
    """

    def __init__(
        self,
        url: str | Redis | None = None,
        *,
        lease_seconds: float = 15.0,
        node_id: str | None = None,
        registry: CollectorRegistry | None = None,
        serializer: Serializer | None = None,
        history: str | os.PathLike[str] | None = None,
        tracing: TraceOptions | None = None,
        otel_metrics: bool = False,
    ) -> None:
        place = locate(url or os.environ.get(URL_VARIABLE) or DEFAULT_URL)
        self._store = LazyStore(place, self._open)
        WorkerOptions(lease_seconds=lease_seconds)  # refuses now what a worker would refuse later
        self._lease_seconds = lease_seconds
        self._node = check_name("node_id", node_id) if node_id else secrets.token_hex(6)
        self._clock = SystemClock()
        self._serializer: Serializer = serializer or JsonSerializer()
        self.metrics_registry = registry if registry is not None else REGISTRY
        self.bus = Bus()
        self.registry = Registry(self.bus)
        self.health = Health(self._clock)
        self._tracing = tracing
        self._spans: Tracing | None = None
        self._detach: Callable[[], None] = lambda: None
        self._loop = OwnLoop(LoopWatch(self.bus, self._clock))
        self._workers: list[Worker] = []
        self._servers: list[HttpServer] = []
        self._worker_numbers = count()
        self._history = None if history is None else HistoryFile(history)
        self._begin_incarnation()
        self._results = Results(self._store.get, self._clock, self._serializer, self.registry)
        means = Means(
            storage=self._store.get,
            registry=self.registry,
            bus=self.bus,
            clock=self._clock,
            serializer=self._serializer.name,
            random=random.random,
            kept_receipt=self._results.receipt,
        )
        self._producer = AwaitedProducer(means)
        self.schedules = Schedules(means)
        self._observe()
        if otel_metrics:
            from glassq.observe.otelmetrics import observe_otel_metrics

            observe_otel_metrics(self.bus)

    def _begin_incarnation(self) -> None:
        """A process of its own is an owner of its own: siblings forked from one parent are not the same."""
        self._pid = os.getpid()
        self._incarnation = secrets.token_hex(6)

    def _observe(self) -> None:
        observe_metrics(self.bus, self.metrics_registry, store=lambda: self._store.place.kind)
        show_declared(self.metrics_registry, self.registry)
        self._other_tokens = watch_tokens(self.bus)
        self.health.attach(self.bus)
        if self._history is not None:
            record_attempts(self.bus, self._history)
        log_losses(self.bus, lambda: self.address)
        log_failures(self.bus)

    @property
    def address(self) -> str:
        """Where the jobs are, for people: passwords are left out."""
        return self._store.place.address

    @property
    def storage(self) -> ShardedStorage:
        """The store, opened at its first use. Raises what opening it raises."""
        return self._store.get()

    def _open(self, place: Place) -> ShardedStorage:
        opened = self._observed(open_storage(place, reconnected=self._count_reconnect))
        storage = ShardedQueues(opened, lambda queue: self.registry.options(queue).shards)
        self._detach = collect_store(
            self.metrics_registry,
            storage,
            self.registry.queues,
            told=self.health.told,
            lags=self.schedules.lags,
        )
        self.health.look = lambda: look_at_stores(self.metrics_registry)
        self._spans = Tracing(self.bus, address=storage.address, options=self._tracing)
        self._spans.attach()
        return storage

    def _observed(self, storage: Storage) -> Storage:
        if self._history is None:
            return InstrumentedStorage(storage, self.bus)
        return RecordedStorage(storage, self.bus, self._history)

    def use(
        self,
        url: str | Redis | None = None,
        *,
        lease_seconds: float | None = None,
        node_id: str | None = None,
    ) -> None:
        """Move to another store before any was opened; `ConfigurationError` naming both afterwards.

        `lease_seconds` and `node_id` hold for workers made from now on. Raises `BadOption` as `Glassq` does.
        """
        if url is not None:
            self._store.move(locate(url))
        if lease_seconds is not None:
            WorkerOptions(lease_seconds=lease_seconds)
            self._lease_seconds = lease_seconds
        if node_id is not None:
            self._node = check_name("node_id", node_id)

    @contextmanager
    def lend(self, storage: ShardedStorage) -> Iterator[tuple[float, str]]:
        """For `glassq.testing`: every call here goes to this store, for as long as this lasts. Yields what a
        worker of it has to know: the length of a lease, and the serializer's name."""
        spans = Tracing(self.bus, address=storage.address, options=self._tracing)
        with self._store.lent(storage), instead_of(self._spans, spans), self._other_tokens():
            yield self._lease_seconds, self._serializer.name

    def _count_reconnect(self) -> None:
        self.bus.emit(StorageReconnected(store=self._store.place.kind))

    # -- declaring ---------------------------------------------------------------------------------------

    def fifo(
        self,
        queue: str,
        on_success: Callable[..., Any] | None = None,
        on_error: Callable[..., Any] | None = None,
        max_retries: int | None = None,
        retry_wait: float | Backoff | None = None,
        *,
        key: KeyOf = None,
        name: str | None = None,
        on_exhausted: FinalAction | None = None,
        timeout: float | None = None,
        ttl: float | None = None,
        result_ttl: float | None = None,
        priority: Priority = Priority.NORMAL,
        **unknown: Never,
    ) -> Declaring:
        """Make a function a task of `queue`: calling it enqueues the call, a worker runs it in its turn; an
        `async def` on an event loop.

        `on_success(retval, job, binding)` and `on_error(exc, job, binding)` run after the settlement, at most
        once. A failed job is tried again in its place, `max_retries` times (3; -1: for ever), `retry_wait`
        seconds apart (10; or by a `Backoff`); then `on_exhausted` buries it ("bury") or halts its lane
        ("halt"); see `defaults`. `key` names the argument that is the ordering key, or computes it from the
        arguments; `glassq.UNORDERED` makes a lane of every job. `timeout` (seconds) bounds one attempt, `ttl`
        (seconds) the time a job may wait before it begins; past it ends as expired. `result_ttl` (seconds)
        keeps results and histories so long (0), for `receipt.result()`. `priority` is the level of its calls
        within their lane. `name` replaces the task's name (module and qualname).

        Raises `BadOption`, `DuplicateTask`.
        """
        refuse_unknown(unknown, inspect.signature(self.fifo).parameters.keys() - {"unknown"})
        options = checked(
            queue=queue,
            on_success=on_success,
            on_error=on_error,
            retries={"max_retries": max_retries, "retry_wait": retry_wait, "on_exhausted": on_exhausted},
            timeout=timeout,
            ttl=ttl,
            result_ttl=result_ttl,
            priority=priority,
        )
        return Declaring(self.registry, self._producer, self._serializer, key=key, name=name, options=options)

    def defaults(self, **options: Unpack[TaskDefault]) -> None:
        """Say what holds for tasks whose decorators leave it out, those declared before too.

        `max_retries` (3), `retry_wait` (10), `on_exhausted` ("bury") and `result_ttl` (0: no results are
        kept), as `fifo` takes them. Raises `BadOption`.
        """
        self.registry.default(**options)

    def queue(self, name: str, **options: Unpack[QueueOption]) -> Queue:
        """A handle on a queue, declaring it and the options given.

        `on_unknown`: "halt" (default) or "bury" jobs whose task is unknown or that cannot be decoded.
        `max_length`: unsettled jobs it takes at most; then a call waits up to `full_wait` seconds (0) and
        raises `QueueFull`. `max_payload`: bytes of arguments a call may have (262,144). `durability`:
        "memory", or "replicated:N" to return only when N replicas have the job. `shards`: cuts it into so
        many parts (1 to 256), which a cluster spreads over its nodes; a key always lives in the same one,
        `max_length` is shared out among them, and only an empty queue can be cut otherwise later.

        Fairness among keys, and among queues in a worker. `turn`: jobs one key may run before it goes behind
        others that wait (1); more trades fairness for rate. `weights`: keys whose turns are so many times as
        long (1 to 100), as a mapping, or a callable that is given the key (None: no key) whenever a turn
        begins. `slots`: how many of a worker's slots this queue may have (all; all but one among others).

        Objectives, which the alerts take their thresholds from; all in seconds, none declared means no such
        alert. `max_age`: within which a job is settled, one of the bounds of the histograms (5, 10, 30, 60,
        300, 900, ...). `max_blocked`: for which a failing head may hold up its lane. `job_timeout`: within
        which an attempt ends; it ends none (a task's `timeout` does). Raises `BadOption`.
        """
        self.registry.declare(name, **options)
        return Queue(name, lambda: self.storage, self.bus)

    # -- producing ---------------------------------------------------------------------------------------

    def enqueue_many(self, signatures: Iterable[Signature[R]]) -> list[Receipt[R]]:
        """Enqueue calls of any tasks, keys and queues, and return their receipts in the same order:
        `app.enqueue_many([charge.s("o-1", 500), charge.s("o-2", 700), greet.s("bob")])`.

        Calls of one queue keep their order, and go in chunks of up to 100 jobs or 1 MiB, each with one round
        trip, contiguous, and stored whole or not at all. Between queues there is no order, and nothing is
        atomic across two: chunks are sent one after another, in the order of their first calls.

        A list is checked whole before its first call is stored. Of an iterator, which may be of any length,
        1,000 calls (or 8 MiB) at a time are; `enqueue_each` keeps no receipts either.

        After a failure nothing further is sent. The error is the one a single call would raise, or, where
        some calls are in and that is no `EnqueueError`, one with it as its cause. Its `accepted` has the
        receipts of the calls that are in, by their places from 0; `uncertain` the places of those whose
        answer was lost; no other call is in.
        """
        return self._producer.enqueue_many(calls_of(signatures))

    def enqueue_each(self, signatures: Iterable[Signature[R]]) -> Iterator[Receipt[R]]:
        """As `enqueue_many`, for calls without end: reads them, and stores them, as the receipts are taken.

        Memory does not grow with their number. Nothing is enqueued before the first receipt is asked for, nor
        after the last that is; up to 1,000 calls are read before the receipt of the first. An error's
        `accepted` has the receipts that were not handed out.
        """
        return self._producer.enqueue_each(calls_of(signatures))

    async def aenqueue_many(self, signatures: Sequence[Signature[R]]) -> list[Receipt[R]]:
        """As `enqueue_many`, awaited."""
        return await self._producer.aenqueue_many(list(calls_of(signatures)))

    # -- single jobs ---------------------------------------------------------------------------------------

    def job(self, job_id: str) -> JobView:
        """A scheduled, unsettled or buried job by id, or one whose end is kept (`result_ttl`), with its
        progress; `JobNotFound` otherwise. May read its whole queue, unless it has ended."""
        return self._results.job(job_id)

    def cancel(self, job: str | Receipt) -> Cancellation:
        """Take a job out: `removed`, it will not run; or `asked`, it is running.

        A job that runs sees it in `current_job().check()`, which raises `JobCancelled` from the next renewal
        of its lease on; if it lets that pass out, it ends as cancelled, and it is never run again.
        `JobNotFound` when no scheduled, waiting or running job has this id. May read its whole queue.
        """
        return self._results.cancel(job)

    # -- working -----------------------------------------------------------------------------------------

    def worker(
        self, queues: Sequence[str] | None = None, concurrency: int = 4, **options: Unpack[WorkerOption]
    ) -> Worker:
        """A worker for these queues (None: all of the application, later ones too), not started yet.

        `concurrency` lanes run at the same time, one thread each; async jobs all on one event loop of the
        application. Other options are those of `WorkerOptions`: `window`, `max_in_flight`, `max_crashes`,
        `callback_timeout`, `schedules` (whether it may lead them). Raises `BadOption`.

        `assigned`: keys, and patterns in which a `*` stands for any text, that this worker takes first. Then
        come those of `steal_from`, in their order, and then, unless it is `exclusive`, any; what is not
        assigned to it only once it has waited for 0.2 s. A lane then stays with its worker for two leases.
        """
        return self._make_worker(queues, concurrency, options, self._loop)

    def async_worker(
        self,
        queues: Sequence[str] | None = None,
        concurrency: int = 4,
        *,
        drain: float = 10.0,
        **options: Unpack[WorkerOption],
    ) -> AsyncWorker:
        """The same for a program with an event loop: `async with app.async_worker(): ...`. Async jobs run on
        that loop, as tasks beside the program's own.

        Leaving the block, also by a cancellation, is a clean stop: running jobs have `drain` seconds to end;
        then async ones are cancelled and their jobs given back, to run again. Raises `BadOption`.
        """
        home = CallersLoop(LoopWatch(self.bus, self._clock))
        return AsyncWorker(self._make_worker(queues, concurrency, options, home), home, drain)

    async def run_worker_async(
        self,
        queues: Sequence[str] | None = None,
        concurrency: int = 4,
        *,
        drain: float = 10.0,
        **options: Unpack[WorkerOption],
    ) -> bool:
        """Work on the running event loop, see `async_worker`, until cancelled, stopped, or sent SIGTERM or
        SIGINT, which are left to the program where it handles them; True after a clean drain."""
        return await self.async_worker(queues, concurrency, drain=drain, **options).run()

    def _make_worker(
        self, queues: Sequence[str] | None, concurrency: int, options: WorkerOption, loop: LoopHome
    ) -> Worker:
        said = {"lease_seconds": self._lease_seconds, "concurrency": concurrency, **options}
        known = worker_options(queues, said)
        if os.getpid() != self._pid:
            # Not the parent's name either: forked siblings under one name take each other's lanes over.
            self._node = secrets.token_hex(6)
            self._begin_incarnation()
        self._workers = [each for each in self._workers if not each.finished]
        worker = Worker(
            registry=self.registry,
            storage=self._store.get,
            bus=self.bus,
            clock=self._clock,
            owner=Owner(self._node, self._incarnation, next(self._worker_numbers)),
            options=known,
            serializer=self._serializer.name,
            random=random.random,
            loop=loop,
            beside=self.scheduler() if self.schedules.wanted(known.schedules) else None,
        )
        self._workers.append(worker)
        return worker

    def scheduler(self) -> Scheduler:
        """What leads the schedules and runs no jobs, not started yet: `with app.scheduler(): ...`. Workers do
        the same beside their work, so that it is needed only where none of them may."""
        return self.schedules.scheduler(self._node, self._lease_seconds)

    # -- ending ------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Stop workers and HTTP servers of this application and close its store. Idempotent.

        Attempts that outlast the drain of their worker (10 s) keep the store open, so that their leases are
        renewed until they end: closing it would hand a running job to somebody else.
        """
        drained = [worker.stop() for worker in self._workers]
        for server in self._servers:
            server.close()
        storage = self._store.take()
        self._detach()
        if not all(drained):
            log.warning("attempts still run after the drain; the store stays open for them")
            return
        self._loop.close()
        if storage is not None:
            storage.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Glassq {self.address}>"
