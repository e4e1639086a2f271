"""One application under test: its calls go to a store in memory, and its worker works when it is told to."""

from __future__ import annotations

import asyncio
import contextvars
import itertools
import random
import secrets
import threading
from contextlib import AbstractContextManager, ExitStack
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from glassq.app import Glassq
from glassq.errors import BadOption, ConfigurationError, JobFailed, MissingExtra
from glassq.model.events import (
    AttemptFailed,
    AttemptStarted,
    CallbackFailed,
    Event,
    JobEnqueued,
    WorkflowSubmitted,
)
from glassq.model.leases import Owner
from glassq.model.stats import QueueStats
from glassq.observe.running import running_on
from glassq.storage import Storage
from glassq.stores.open import open_storage
from glassq.stores.sharded import ShardedQueues
from glassq.systemclock import SystemClock
from glassq.testing.clock import FakeClock
from glassq.testing.expecting import Expecting
from glassq.testing.seen import FailedAttempt, Seen
from glassq.testing.sent import SeenStorage, SentJobs
from glassq.testing.stepping import SteppedWorker, WorkerCrashed
from glassq.worker.loops import CallersLoop, LoopHome, OwnLoop
from glassq.worker.options import WorkerOptions
from glassq.worker.watching import LoopWatch

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan  # of the extra otel

MOST = 10_000
"""Attempts that one call runs unless told otherwise: jobs that enqueue themselves have no end."""
_STRIDE = 50.0
"""Seconds of time that pass at once while nobody holds a lane: a worker that is not heard of for a minute
counts as gone."""
_INSTANT = 0.001
"""Seconds that pass at least while something is awaited: what is due is so in µs, and floats round."""


class Kit(Expecting):
    """What `testing(app)` yields. Belongs to one test.

    Nothing passes by itself, neither jobs nor time: the worker works in the calls named `run...`, and by
    the clock of the kit. Jobs' code runs in the calling thread, in a context of its own, as in a worker's.
    """

    def __init__(
        self,
        app: Glassq,
        *,
        inline: bool,
        raises: bool,
        spans: bool,
        schedules: bool,
        url: str,
        clock: FakeClock,
    ) -> None:
        self.clock = clock
        """The clock of the store and of the worker; it begins at the real time, and stands still."""
        self.lease_seconds = 0.0
        """For how long a worker that fell silent keeps its lanes."""
        self._app = app
        self._inline = inline
        self._raises = raises
        self._with_spans = spans
        self._schedules = schedules
        self._url = url
        self._stack = ExitStack()
        self._turn = threading.Lock()
        self._wanted = False
        self._home: LoopHome | None = None
        self._worker: SteppedWorker | None = None
        self._doomed: SteppedWorker | None = None
        self._numbers = itertools.count()
        self._raised = 0
        self._asked = False
        self._sent = SentJobs(app.registry)

    # -- beginning and ending ------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        home = OwnLoop(LoopWatch(self._app.bus, SystemClock()))
        self._stack.callback(home.close)
        return self._begin(home)

    async def __aenter__(self) -> Self:
        if self._inline:
            raise BadOption(
                "mode",
                'inline runs jobs inside their calls, which would block this loop; use "manual" and arun()',
            )
        home = CallersLoop(LoopWatch(self._app.bus, SystemClock()))
        home.enter(asyncio.get_running_loop())
        self._stack.callback(home.dismiss)
        return self._begin(home)

    def _begin(self, home: LoopHome) -> Self:
        if self._listener is not None:
            raise ConfigurationError("this kit was used before; make a new one with testing(app)")
        self._home, app = home, self._app
        with self._stack as stack:
            stack.callback(self._leave)
            if self._with_spans:
                self._spans = stack.enter_context(_kept_spans())
            opened = open_storage(self._url, clock=self.clock)
            stack.callback(opened.close)
            _refuse_used(opened)
            store = SeenStorage(opened, app.bus, self._sent)
            self._store = ShardedQueues(store, lambda queue: app.registry.options(queue).shards)
            self.lease_seconds, self._serializer = stack.enter_context(app.lend(self._store))
            self._listener = Seen(app.bus, app.registry, self._store, self.clock, self._heard)
            stack.enter_context(self._listener.listening())
            # The application's probes must not go on about a worker that was the test's, or that died in it.
            stack.callback(app.health.begin)
            stack.callback(running_on(app.bus).begin)
            stack.callback(self._stop)
            if self._inline:
                app.bus.subscribe(self._enqueued, JobEnqueued, WorkflowSubmitted)
                stack.callback(app.bus.unsubscribe, self._enqueued)
            if self._leads():
                self._living()  # what is declared counts from now on
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        __tracebackhide__ = True
        self._stack.close()
        if error is None:
            self._raise(asked=True)

    async def __aexit__(self, *failure: Any) -> None:
        __tracebackhide__ = True
        self.__exit__(*failure)

    def _leave(self) -> None:
        self._home = self._worker = None

    # -- the worker ----------------------------------------------------------------------------------------

    def run_next(self) -> bool:
        """Let the worker run the next job, once; False when none is ready."""
        __tracebackhide__ = True
        return self._work(1) > 0

    def run(self, at_most: int = MOST) -> int:
        """Let it run all that is ready, and what those jobs enqueue; how many attempts it made. No time
        passes.

        Raises the error of the first attempt that fails (unless `errors="keep"`), once that is settled; what
        is left is run by the next call. `AssertionError` when there is still something ready after `at_most`.
        """
        __tracebackhide__ = True
        ran = self._work(at_most)
        if ran == at_most and any(each.lanes.get("ready") for each in self._stats()):
            raise AssertionError(f"jobs are still ready after {at_most:,} attempts: {self._standing()}")
        return ran

    def run_until_idle(self, within: float = 86_400.0) -> int:
        """The same, and let time pass up to each retry, and up to the end of the lease of a worker that died,
        until nothing is waited for. Jobs that are scheduled, halted or paused are not.

        `AssertionError` when there is still something after `within` seconds of the kit's time.
        """
        __tracebackhide__ = True
        until, ran, least = self.clock.wall() + within, self.run(), _INSTANT
        while self._busy():
            due = self._living().due_in()
            wait = max(self.lease_seconds if due is None else due, least)
            if self.clock.wall() + wait > until:
                raise AssertionError(f"not idle within {within:g} s: {self._standing()}")
            self.advance(wait)
            more = self.run()
            ran, least = ran + more, _INSTANT if more else min(2 * least, 1.0)
        return ran

    async def arun_next(self) -> bool:
        """As `run_next`; async jobs run on this event loop if the block began with `async with`."""
        return await asyncio.to_thread(self.run_next)

    async def arun(self, at_most: int = MOST) -> int:
        """As `run`; see `arun_next`."""
        return await asyncio.to_thread(self.run, at_most)

    async def arun_until_idle(self, within: float = 86_400.0) -> int:
        """As `run_until_idle`; see `arun_next`."""
        return await asyncio.to_thread(self.run_until_idle, within)

    def crash_worker(self) -> str:
        """Let the worker die as by `kill -9`: nothing is settled, no lease given back, no callback called.

        Called by a job's code, it dies there. Called from outside, it takes the next job, runs its code to
        the end, and dies before it could settle it, the worst moment there is; returns that job's id. The
        next `run` is another worker's, which takes the lane over once the lease has ended:
        `advance(kit.lease_seconds)`. `AssertionError` when no job is ready.
        """
        __tracebackhide__ = True
        if self._turn.locked():
            self._living().die()
            raise WorkerCrashed("the test let the worker of this job die")
        worker = self._doomed = self._living()
        try:
            while worker.alive and self._work(1):
                pass  # what ends without being run, as it has expired, is nothing to die of
        finally:
            self._doomed = None
        if worker.alive:
            raise AssertionError(f"no job is ready that a worker could die of: {self._standing()}")
        return self._seen.events.of(AttemptStarted)[-1].job_id

    def advance(self, seconds: float) -> None:
        """Let time pass: delays, retries, leases, expiries and windows of deduplication go by it.

        The worker does meanwhile what it does while it has nothing to run; jobs that become ready wait for a
        `run`, or with `mode="inline"` run at their time. Called by a job's code, the job takes so long.
        """
        if seconds < 0:
            raise ValueError(
                f"time does not go back, got {seconds!r}; kit.clock.step_wall sets the clock back"
            )
        __tracebackhide__ = True
        self._living()
        target, least, within_a_job = self.clock.wall() + seconds, _INSTANT, self._turn.locked()
        while (left := target - self.clock.wall()) > 0:
            stride = self.lease_seconds / 3 if any(each.leased for each in self._stats()) else _STRIDE
            if (due := self._due_in(within_a_job=within_a_job)) is not None:
                stride = min(stride, max(due, least))
            self.clock.advance(min(left, stride))
            self._living().keep_up()
            # What is due and yet cannot be done, in a lane that is paused, say, must not hold up time.
            done = self._inline and self._catch_up() > 0
            least = 2 * least if due is not None and due < _INSTANT and not done else _INSTANT
        if not within_a_job:
            self._raise(asked=self._inline)

    def _due_in(self, *, within_a_job: bool) -> float | None:
        """Seconds until something has to be done at its very time: what is run inline, and slots."""
        due = [self._living().due_in()] if self._inline and not within_a_job else []
        if self._leads():
            now = self.clock.wall()
            slots = [each.next_at for each in self._app.schedules.all() if not each.paused]
            due += [max(0.0, slot - now) for slot in slots if slot is not None]
        return min((each for each in due if each is not None), default=None)

    def _work(self, most: int) -> int:
        """Let up to `most` attempts be made, as long as anything is ready; then raise what they raised."""
        __tracebackhide__ = True
        self._check_thread()
        if not self._turn.acquire(blocking=False):
            raise ConfigurationError(
                "the worker runs a job just now, and runs one at a time: what a job enqueues is run after it"
            )
        try:
            ran = self._steps(most, asked=True)
        finally:
            self._turn.release()
        self._raise(asked=True)
        return ran

    def _steps(self, most: int, *, asked: bool) -> int:
        """Step the worker, in a context that is empty as that of a worker's thread."""
        self._asked, ran = asked, 0
        while ran < most and self._due(asked=asked) is None:
            worker = self._living()
            began = contextvars.Context().run(worker.step, most - ran)
            ran += began
            if not (began and worker.alive):
                break
        return ran

    def _heard(self, event: Event) -> None:
        """Stop the worker where something is to be raised, before anything more begins; and in the midst of a
        job where it is to die."""
        if isinstance(event, AttemptFailed | CallbackFailed) and self._due(asked=self._asked):
            self._living().enough()
        elif isinstance(event, AttemptStarted) and self._doomed is not None:
            self._doomed.doom()

    def _living(self) -> SteppedWorker:
        """The worker, or another one when it has died."""
        if self._worker is None or not self._worker.alive:
            home = self._home
            if home is None:
                raise ConfigurationError("the kit works inside its block: with testing(app) as kit: ...")
            app, name = self._app, f"testing-{next(self._numbers)}"
            self._worker = SteppedWorker(
                registry=app.registry,
                storage=self._store,
                bus=app.bus,
                clock=self.clock,
                # Not the name of the one that died: who comes back takes its lanes over at once.
                owner=Owner(name, secrets.token_hex(6), 0),
                options=WorkerOptions(lease_seconds=self.lease_seconds, concurrency=1),
                serializer=self._serializer,
                random=random.Random(0).random,  # noqa: S311 - jitter, the same in each test
                loop=home,
                scheduler=app.schedules.scheduler(name, self.lease_seconds) if self._leads() else None,
            )
            self._worker.start()
            self._worker.keep_up()
        return self._worker

    def _leads(self) -> bool:
        """Whether the worker enqueues the slots of schedules."""
        return self._schedules and self._app.schedules.wanted(None)

    def _stop(self) -> None:
        if self._worker is not None and self._worker.alive:
            self._worker.stop()

    def _check_thread(self) -> None:
        home = self._home
        if isinstance(home, CallersLoop) and home.thread == threading.get_ident():
            raise ConfigurationError(
                "async jobs run on this event loop, which this call would block: await kit.arun(), "
                "kit.arun_next() or kit.arun_until_idle(), or asyncio.to_thread(kit.crash_worker)"
            )

    # -- inline --------------------------------------------------------------------------------------------

    def _enqueued(self, _: Event) -> None:
        """A call was stored, and its caller waits. What a job calls is run after the job: it cannot overtake
        itself. So it is with what another thread calls meanwhile."""
        self._catch_up()
        self._raise(asked=False)

    def _catch_up(self) -> int:
        """Run what is ready, unless somebody does: who then goes on with it. How many attempts began."""
        self._wanted, ran = True, 0
        while self._wanted and self._turn.acquire(blocking=False):
            try:
                self._wanted = False
                ran += self._steps(MOST, asked=False)
            finally:
                self._turn.release()
        return ran

    # -- errors --------------------------------------------------------------------------------------------

    def _due(self, *, asked: bool) -> FailedAttempt | None:
        """The failure that is to be raised next, if the test `asked` for work, or by a call of the program's
        own: that raises only what is no job's error, but an interrupt, or the end of a test."""
        new = self.failures[self._raised :]
        return next((each for each in new if (asked and self._raises) or _ends_the_test(each.error)), None)

    def _raise(self, *, asked: bool) -> None:
        """Raise what a job's code raised, once."""
        __tracebackhide__ = True
        failure = self._due(asked=asked)
        if failure is None:
            return
        self._raised = self.failures.index(failure) + 1
        error = failure.error
        what = failure.callback or f"attempt {failure.attempt}"
        where = f"in {what} of {self._sent.find(failure.job_id) or failure.task}"
        if isinstance(error, SystemExit | asyncio.CancelledError | GeneratorExit):
            raise JobFailed(type(error).__qualname__, f"{error} {where}") from error
        error.add_note(where)
        raise error

    # -- what the store says -------------------------------------------------------------------------------

    def _stats(self) -> list[QueueStats]:
        return self._store.stats(self._app.registry.queues())

    def _busy(self) -> bool:
        return any(each.ready or each.leased or each.waiting_retry for each in self._stats())

    def _standing(self) -> str:
        """How many jobs are where, for a message."""
        states = [
            (each.queue, state, jobs) for each in self._stats() for state, jobs in each.by_state().items()
        ]
        return ", ".join(f"{jobs} {state} in {queue}" for queue, state, jobs in states if jobs) or "no jobs"


def _ends_the_test(error: BaseException) -> bool:
    """Whether code of a job was left by something that is not for its worker: Ctrl-C, `pytest.fail`."""
    return not isinstance(error, Exception | SystemExit | asyncio.CancelledError | GeneratorExit)


def _refuse_used(store: Storage) -> None:
    """A test must never run what somebody else has enqueued."""
    used = store.queues()
    if used:
        raise ConfigurationError(
            f"{store.address} is in use (by the queue {used[0]}), and a test runs all that it finds; "
            "leave url out for a store in memory, or name an empty one"
        )


def _kept_spans() -> AbstractContextManager[list[ReadableSpan]]:
    try:
        from glassq.testing.spans import kept_spans
    except ModuleNotFoundError:
        raise MissingExtra("testing(app, spans=True)", "otel") from None
    return kept_spans()
