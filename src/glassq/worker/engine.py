"""The worker: starts, drains and stops the threads that do the work. No business logic."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Sequence
from operator import attrgetter
from types import TracebackType
from typing import Self

from glassq.errors import ConfigurationError, StorageError
from glassq.model.clock import Clock
from glassq.model.events import QueueDeclared, WorkerChanged
from glassq.model.leases import Lease, Owner
from glassq.registry import Registry
from glassq.shielding import Log
from glassq.storage import Storage
from glassq.telemetry import Bus
from glassq.worker.assignment import Assignment
from glassq.worker.attempt import Attempts
from glassq.worker.beating import Beats
from glassq.worker.bundles import Bundles, Held
from glassq.worker.callbacks import Callbacks
from glassq.worker.claiming import Claiming
from glassq.worker.crew import Stoppable, run_together
from glassq.worker.granted import PLACE, GrantedLane
from glassq.worker.holdings import Holdings
from glassq.worker.idling import wait_until_idle
from glassq.worker.loops import LoopHome, OwnLoop
from glassq.worker.options import WorkerOptions
from glassq.worker.pool import LanePool
from glassq.worker.progress import ProgressWriter
from glassq.worker.reach import Reach
from glassq.worker.relaying import Relay
from glassq.worker.services import Services, give_back
from glassq.worker.settle import Settler
from glassq.worker.shares import Shares
from glassq.worker.telling import Teller
from glassq.worker.turns import Turns
from glassq.worker.upkeep import Upkeep
from glassq.worker.watching import LoopWatch

log = Log("glassq.worker")

_LEASE: Callable[[Held], Lease] = attrgetter("held.lease")
_TELLING = 1.0
"""Seconds a stop waits for observers and log handlers that are behind."""


class Worker:
    """Runs the jobs of an application's queues, each lane in order, several lanes at a time.

    Use it as a context manager, by `start` and `stop`, or by `run` as a process of its own.
    """

    _pool_kind: type[LanePool[GrantedLane]] = LanePool
    _relay_kind: type[Relay] = Relay
    _progress_kind: type[ProgressWriter] = ProgressWriter

    def __init__(
        self,
        *,
        registry: Registry,
        storage: Callable[[], Storage],
        bus: Bus,
        clock: Clock,
        owner: Owner,
        options: WorkerOptions,
        serializer: str,
        random: Callable[[], float],
        loop: LoopHome | None = None,
        beside: Stoppable | None = None,
    ) -> None:
        self._registry = registry
        self._storage = storage
        self._bus = bus
        self._clock = clock
        self._owner = owner
        self._options = options
        self._serializer = serializer
        self._random = random
        self._beside = beside
        self._loop = loop or OwnLoop(LoopWatch(bus, clock))
        self._stopping = threading.Event()
        self._over: Callable[[], bool] = self._stopping.is_set
        """Whether no further job is to begin."""
        self._finished = threading.Event()
        self._holdings = Holdings()
        self._pid: int | None = None

    @property
    def queues(self) -> tuple[str, ...]:
        """The queues this worker serves now."""
        return self._options.queues or self._registry.queues()

    @property
    def concurrency(self) -> int:
        """How many lanes it runs at the same time."""
        return self._options.concurrency

    @property
    def running(self) -> bool:
        """Whether it was started and has not stopped, in this process."""
        return self._pid == os.getpid() and not self._finished.is_set()

    @property
    def finished(self) -> bool:
        """Whether it was started and has stopped."""
        return self._finished.is_set()

    # -- starting and stopping -----------------------------------------------------------------------------

    def start(self) -> Self:
        """Begin to take lanes, in threads of its own. Returns once the store knows this worker.

        Raises `StorageError` when the store cannot be reached, `ConfigurationError` on a second start.
        """
        if self._pid is not None:
            raise ConfigurationError("this worker was started before; make a new one with app.worker(...)")
        self._bus.emit(WorkerChanged(worker=str(self._owner), state="starting", queues=self.queues))
        storage = self._storage()
        self._doorbell = storage.listen(self._owner, self.queues)
        self._bus.subscribe(self._declared, QueueDeclared)
        self._assemble(storage)
        self._pid = os.getpid()  # from here on others may stop it
        self._begin_threads()
        self._bus.emit(WorkerChanged(worker=str(self._owner), state="running", queues=self.queues))
        return self

    def _begin_threads(self) -> None:
        self._teller.start()
        threading.Thread(target=self._upkeep_until_done, name="glassq-upkeep", daemon=True).start()
        self._pool.begin()
        if self._beside is not None:
            self._beside.start()

    def _assemble(self, storage: Storage) -> None:
        self._relay = self._relay_kind(storage, self._bus, self._clock, self._random)
        settler = Settler(storage, self._bus, self._clock, self._owner, self._random, relay=self._relay.ring)
        self._progress = self._progress_kind(storage.put, self._clock)
        attempts = Attempts(
            self._registry,
            self._bus,
            self._clock,
            serializer=self._serializer,
            max_crashes=self._options.max_crashes,
            random=self._random,
            loop=self._loop,
            storage=storage,
            worker=str(self._owner),
            tell=self._progress.tell,
        )
        self._services = Services(
            storage=storage,
            bus=self._bus,
            clock=self._clock,
            owner=self._owner,
            options=self._options,
            attempts=attempts,
            settler=settler,
            callbacks=Callbacks(self._bus, self._clock, self._loop),
            stopping=self._stopping.is_set,
            over=self._over,
            crowded=self._crowded,
        )
        self._teller = Teller(self._bus, "glassq-telling")
        self._upkeep = Upkeep(
            storage=storage,
            clock=self._clock,
            owner=self._owner,
            options=self._options,
            holdings=self._holdings,
            settler=settler,
            teller=self._teller,
            queues=lambda: self.queues,
            relay=self._relay.look,
        )
        self._assemble_claiming(settler)

    def _assemble_claiming(self, settler: Settler) -> None:
        assignment = Assignment(self._options, self._clock) if self._options.chooses else None
        self._shares = Shares(self._registry, self._holdings, self._options.concurrency, assignment)
        self._pool = self._pool_kind(
            self._options.concurrency,
            "glassq-lane",
            serve=self._serve,
            on_free=self._freed,
            fits=self._fits,
            place=PLACE,
            watch=self._watch,
        )
        self._reach = Reach(self._clock, self._pool)
        self._bundles = Bundles(settler, self._clock, self._options)
        self._claims = Claiming(
            self._services,
            queues=lambda: self.queues,
            doorbell=self._doorbell,
            pool=self._pool,
            holdings=self._holdings,
            shares=self._shares,
            reach=self._reach,
            assignment=assignment,
            bundles=self._bundles,
            beats=Beats(self._bus, self._clock, self._owner, self._holdings),
            random=self._random,
            rest=self._stopping.wait,
            give_back=self._give_back,
            withdraw=self._withdraw,
        )

    def stop(self, drain: float = 10.0) -> bool:
        """Take no more lanes, let running attempts end, give all lanes back; True when that is done.

        After `drain` seconds it returns False: attempts still running go on, their leases are renewed until
        they end, and nothing else starts. A worker that never started, or that was inherited by a fork, is
        stopped already.
        """
        if not self.running:
            return True
        if not self._stopping.is_set():
            self._bus.emit(WorkerChanged(worker=str(self._owner), state="draining", queues=self.queues))
            self._stopping.set()
            if self._beside is not None:
                self._beside.stop(0)
            self._pool.wake()
            self._doorbell.ring()
        return self._finished.wait(drain)

    def interrupt(self) -> None:
        """Cancel the async jobs that outlast a stop: they go back with their lanes and run again, and it does
        not count as a failure. For a process that ends; it does not wait. Plain jobs cannot be ended.

        Workers of one application share an event loop: it holds for the async jobs of all of them.
        """
        if self.running and self._stopping.is_set():
            self._loop.interrupt()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def run(self, drain: float = 10.0) -> bool:
        """Start, work until SIGTERM or SIGINT, then stop; True after a clean drain. Async jobs that outlast
        it are interrupted.

        A second signal ends the drain at once. Signals are handled in the main thread only.
        """
        return run_together([self], drain)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until this worker has stopped, whoever stops it; False after `timeout` seconds."""
        return self._finished.wait(timeout)

    def run_until_idle(self, timeout: float = 30.0) -> bool:
        """Wait until nothing is ready, running or waiting for a retry; False after `timeout` seconds.

        Halted, paused, scheduled and deferred jobs are not waited for. A worker that is not running is
        started for it, and stopped before this returns.
        """
        if self.running:
            return wait_until_idle(self._idle, self._holdings, self._clock, timeout)
        self.start()
        try:
            return wait_until_idle(self._idle, self._holdings, self._clock, timeout)
        finally:
            self.stop()

    def _idle(self) -> bool:
        if len(self._holdings) or self._relay.busy:  # what is told to others may let some of them go
            return False
        stats = self._services.storage.stats(self.queues)
        busy = any(queue.ready or queue.leased or queue.waiting_retry for queue in stats)
        # Looked at again: a lane may have been taken and served while the figures were read.
        return not (busy or self._claims.under_way or len(self._holdings) or self._relay.busy)

    # -- the threads -----------------------------------------------------------------------------------------

    def _watch(self) -> None:
        """What one thread of the pool does for all: a turn of taking lanes; in the end, to give back what
        waits."""
        try:
            if not self._stopping.is_set():
                self._claims.turn()
        except BaseException:  # licensed: what no turn survives ends the worker
            self._stopping.set()
            raise
        finally:
            if self._stopping.is_set():
                self._pool.close()
                self._withdraw()
                self._bundles.send_old(0)  # of threads whose jobs go on
                self._upkeep.stop()

    def _freed(self) -> None:
        """A thread has nothing to do."""
        self._claims.freed()

    def _declared(self, _: QueueDeclared) -> None:
        """A queue more to serve, perhaps: look at once."""
        self._doorbell.ring()

    def _serve(self, first: GrantedLane) -> None:
        """The work of a lane's thread: this lane, and those that wait behind it."""
        Turns(
            bundles=self._bundles,
            next_lane=self._next_lane,
            is_watched=self._is_watched,
            give_back=self._keep_from_beginning,
            done=self._drop,
            unfinished=self._pool.unfinished,
            resume=self._pool.resume,
            is_wanted=self._is_wanted,
            are_free=self._are_free,
            share=self._pool.put,
        ).run(first)

    def _is_wanted(self) -> bool:
        """Whether a thread that serves lanes is to take further ones."""
        return not self._pool.is_overstaffed or self._stopping.is_set()

    def _are_free(self) -> bool:
        """Whether other threads have nothing to do."""
        return self._pool.free() > 0 and not self._stopping.is_set()

    def _crowded(self, queue: str) -> bool:
        """Whether a lane of this queue is to end its turn for others, as far as this worker knows of them."""
        # Only where lanes are many: one that is alone would end its turn for the claim that it causes.
        pool = self._pool
        if pool.waiting or pool.unfinished or (self._claims.under_way and self._reach.crowded):
            return True
        return self._shares.several and self._shares.should_yield(queue)

    def _fits(self, lane: GrantedLane, running: Iterable[GrantedLane]) -> bool:
        """Whether a lane may begin beside those that run."""
        shares = self._shares
        return not shares.bounded or shares.fits(lane.lease.queue, [each.lease.queue for each in running])

    def _is_watched(self) -> bool:
        """Whether the thread that claims looks after bundles now, or is about to."""
        return bool(self._pool.waiting) or self._claims.under_way

    def _next_lane(self) -> GrantedLane | None:
        return None if self._stopping.is_set() else self._pool.take()

    def _keep_from_beginning(self, queue: str, lanes: Sequence[GrantedLane]) -> None:
        """Nothing more of this queue is to begin, nor in these lanes, which the calling thread has taken.
        Waits for a claim that is under way."""
        with self._claims.handing_out:
            self._give_back([*lanes, *self._pool.take_back(lambda lane: lane.lease.queue == queue)])
            self._pool.give_up(lanes)

    def _withdraw(self) -> None:
        """Give back all lanes that wait for a thread: those alone that came first would come last."""
        with self._claims.handing_out:
            self._give_back(self._pool.take_back(lambda _: True))

    def _give_back(self, lanes: Sequence[Held]) -> None:
        if lanes:
            give_back(self._services, [lane.held for lane in lanes if not lane.held.lost])
            self._drop(lanes)

    def _drop(self, lanes: Sequence[Held]) -> None:
        self._reach.note(lanes)
        self._holdings.drop(map(_LEASE, lanes))

    def _upkeep_until_done(self) -> None:
        """Upkeep outlives everything else: what still runs after the drain keeps its lease."""
        self._upkeep.run()
        if self._beside is not None:
            self._beside.wait(_TELLING)
        self._relay.stop(_TELLING)
        self._progress.stop(_TELLING)
        self._teller.wait(_TELLING)
        try:
            self._doorbell.close()
        except StorageError as error:
            log.warning("taking leave of the store: %s", error)
        self._bus.unsubscribe(self._declared)
        self._bus.emit(WorkerChanged(worker=str(self._owner), state="stopped", queues=self.queues))
        self._finished.set()
