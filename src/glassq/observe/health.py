"""Whether this process is alive, ready and started, answered from memory alone.

An outage of the store must not restart every worker, so liveness never looks at the store; and an answer
that had to ask the store would hang exactly when it is needed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Literal

import msgspec

from glassq.forking import begin_in_children
from glassq.model.clock import Clock
from glassq.model.events import (
    LaneClaimed,
    LoopBlocked,
    LoopFreed,
    QueueDeclared,
    StorageCalled,
    WorkerBeat,
    WorkerChanged,
)
from glassq.model.runs import Run
from glassq.model.stats import QueueStats
from glassq.observe.running import Running, running_on
from glassq.telemetry import Bus
from glassq.version import __version__

LOOP_SECONDS = 30.0
"""A worker's loop that has not turned for this long is stuck."""
CONTACT_SECONDS = 10.0
"""A worker without an answer from its store for this long is not ready."""
GRACE_SECONDS = 30.0
"""What an attempt may take beyond its timeout before the process counts as stuck."""
IDLE_SECONDS = 30.0
"""A worker that runs nothing while lanes have been ready for this long consumes nothing."""
LOOKED_SECONDS = 90.0
"""What was read from the store longer ago than this says nothing about now."""
LEASE_MARGIN_SECONDS = 2.0
"""Less left on a lease than this is a warning: the next hiccup loses the lane."""

Status = Literal["pass", "warn", "fail"]
_ORDER: dict[Status, int] = {"pass": 0, "warn": 1, "fail": 2}


class Check(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One thing looked at, in the words of the `application/health+json` draft."""

    status: Status
    componentType: str = "component"  # noqa: N815 - the draft's names
    observedValue: float | str | None = None  # noqa: N815
    observedUnit: str | None = None  # noqa: N815
    output: str | None = None


class HealthReport(msgspec.Struct, frozen=True, kw_only=True):
    """An answer: the worst status of all checks, and the checks as the draft lays them out."""

    status: Status
    service: str
    version: str
    time: str
    checks: dict[str, list[dict[str, Any]]]

    @property
    def ok(self) -> bool:
        """True for `pass` and `warn`: what makes an HTTP probe answer 200."""
        return self.status != "fail"


class _Worker(msgspec.Struct, kw_only=True):
    """A worker and when its loop was last seen to turn (this process's monotonic clock)."""

    state: str
    turned: float
    queues: tuple[str, ...] = ()
    lease_remaining: float | None = None


class Health:
    """Listens to one application's bus; every answer is put together from what it heard.

    Single dictionary operations and plain assignments only, so events never wait for a probe.
    """

    def __init__(self, clock: Clock, *, service: str = "glassq", grace: float = GRACE_SECONDS) -> None:
        self._clock = clock
        self._service = service
        self._grace = grace
        self._queues: set[str] = set()
        self.look: Callable[[], None] = lambda: None
        """Begins to read from the store, and `told` of it, without waiting for the answer."""
        self._running = Running()
        begin_in_children(self)

    def begin(self) -> None:
        """Begin, here and in a forked child: the parent's workers do not turn here, and owe no beat."""
        self._workers: dict[str, _Worker] = {}
        self._last_answer: float | None = None
        self._last_error: str | None = None
        self._most_running = 0
        self._waits_since: float | None = None
        self._looked_at = 0.0
        self._expected = 0
        self._blocked: LoopBlocked | None = None
        self._blocked_since = 0.0

    def expect(self, workers: int) -> None:
        """So many workers are to run in this process: it has started, and is ready, once all of them do."""
        self._expected = workers

    def attach(self, bus: Bus) -> None:
        """Listen to what liveness and readiness depend on."""
        self._running = running_on(bus)
        bus.subscribe(self._queue_declared, QueueDeclared)
        bus.subscribe(self._worker_changed, WorkerChanged)
        bus.subscribe(self._worker_beat, WorkerBeat)
        bus.subscribe(self._lane_claimed, LaneClaimed, together=self._lane_claimed)
        bus.subscribe(self._storage_called, StorageCalled, together=self._storage_called_often)
        bus.subscribe(self._loop_changed, LoopBlocked, LoopFreed)

    def told(self, stats: Sequence[QueueStats]) -> None:
        """What was read from the store: whether lanes wait that this process should take."""
        now = self._clock.monotonic()
        seen_lately = now - self._looked_at <= LOOKED_SECONDS
        self._looked_at = now
        served = {queue for worker in self._workers.copy().values() for queue in worker.queues}
        if not any(each.queue in served and each.lanes.get("ready") for each in stats):
            self._waits_since = None
        elif self._waits_since is None or not seen_lately:
            self._waits_since = now

    # -- answers -------------------------------------------------------------------------------------

    def live(self) -> HealthReport:
        """Fails when only a restart helps: a worker's loop stands still, or an attempt cannot be ended."""
        return self._report({**self._loops(), "attempts:overrun": self._overrun()})

    def ready(self) -> HealthReport:
        """Fails while this process should get no traffic. A standby without a lane is ready."""
        return self._report({"worker:state": self._state("fail"), "store:contact": self._contact()})

    def startup(self) -> HealthReport:
        """Fails until the worker runs, has had an answer from its store and knows its queues."""
        return self._report({"worker:started": self._started(), "queues:declared": self._declared()})

    def full(self) -> HealthReport:
        """Everything; what is expected to pass by itself, like draining, is a warning. Asks for a look at the
        store that the next report will know of: where nobody scrapes, probes are enough."""
        self.look()
        return self._report(
            {
                **self._loops(),
                "attempts:overrun": self._overrun(),
                "worker:state": self._state("warn"),
                "worker:started": self._started(),
                "store:contact": self._contact(),
                "queues:declared": self._declared(),
                "leases:margin": self._margin(),
                "worker:consuming": self._consuming(),
                **self._event_loop(),
            }
        )

    def _report(self, checks: dict[str, Check]) -> HealthReport:
        worst = max((check.status for check in checks.values()), key=_ORDER.__getitem__)
        return HealthReport(
            status=worst,
            service=self._service,
            version=__version__,
            time=datetime.fromtimestamp(self._clock.wall(), UTC).isoformat(timespec="milliseconds"),
            checks={name: [msgspec.to_builtins(check)] for name, check in checks.items()},
        )

    # -- checks --------------------------------------------------------------------------------------

    def _loops(self) -> dict[str, Check]:
        """One check per worker whose loop should turn: not while it drains, when it takes nothing more.
        A process that only produces has none, and that is fine."""
        now = self._clock.monotonic()
        return {
            f"worker:{name}:loop": Check(
                status="pass" if now - worker.turned < LOOP_SECONDS else "fail",
                observedValue=round(now - worker.turned, 3),
                observedUnit="s",
            )
            for name, worker in self._workers.copy().items()
            if worker.state in ("starting", "running")
        }

    def _overrun(self) -> Check:
        """How far the worst attempt is past its timeout. One without a timeout may take for ever."""
        now, attempts = self._clock.monotonic(), self._running.attempts()
        over = [
            now - attempt.started - attempt.timeout for attempt in attempts if attempt.timeout is not None
        ]
        worst = max(over, default=0.0)
        if worst <= 0:
            return Check(status="pass", observedValue=len(attempts), observedUnit="attempts")
        status: Status = "fail" if worst > self._grace else "warn"
        return Check(
            status=status,
            observedValue=round(worst, 3),
            observedUnit="s",
            output="an attempt is past its timeout and does not end",
        )

    def _state(self, draining: Status) -> Check:
        """Running, or not needed: a process without a worker is ready to produce. Where several are to run,
        all of them are needed: each may be the only one that serves its queues."""
        states = [worker.state for worker in self._workers.copy().values()]
        if not states and not self._expected:
            return Check(status="pass", observedValue="no worker")
        if "draining" in states:
            return Check(status=draining, observedValue="draining")
        running = states.count("running")
        if running and running >= self._expected:
            return Check(status="pass", observedValue="running")
        return Check(
            status="fail",
            observedValue="stopped" if "stopped" in states else "starting",
            output=self._missing(running),
        )

    def _missing(self, running: int) -> str | None:
        """How many run of several that should."""
        return f"{running} of {self._expected} workers run" if self._expected > 1 else None

    def _contact(self) -> Check:
        """A worker speaks to its store all the time; a producer only when it has something to say, so
        that for it only a failed call counts."""
        if self._last_answer is None:
            working = bool(self._workers) or self._last_error is not None
            return Check(
                status="fail" if working else "pass",
                componentType="datastore",
                output=self._last_error or "not asked yet",
            )
        silent = self._clock.monotonic() - self._last_answer
        quiet_ok = not self._workers and self._last_error is None
        return Check(
            status="pass" if quiet_ok or silent < CONTACT_SECONDS else "fail",
            componentType="datastore",
            observedValue=round(silent, 3),
            observedUnit="s",
            output=self._last_error,
        )

    def _started(self) -> Check:
        if not self._workers and not self._expected:
            return Check(status="pass", observedValue="no worker")
        answered = self._last_answer is not None
        all_ran = self._most_running >= max(1, self._expected)
        return Check(
            status="pass" if all_ran and answered else "fail",
            observedValue="started" if all_ran else "starting",
            output=self._missing(self._most_running) if answered else "no answer from the store yet",
        )

    def _declared(self) -> Check:
        """A worker without a queue has nothing to do; a producer may declare its first one later."""
        bare = bool(self._workers) and not self._queues
        return Check(
            status="fail" if bare else "pass", observedValue=len(self._queues), observedUnit="queues"
        )

    def _margin(self) -> Check:
        now = self._clock.monotonic()
        left = [
            max(0.0, each.lease_remaining - (now - each.turned))
            for each in self._workers.copy().values()
            if each.lease_remaining is not None
        ]
        if not left:
            return Check(status="pass", observedValue="no lease held")
        status: Status = "warn" if min(left) < LEASE_MARGIN_SECONDS else "pass"
        return Check(status=status, observedValue=round(min(left), 3), observedUnit="s")

    def _consuming(self) -> Check:
        """Connected, running, and yet taking nothing of what waits: known as of the last look."""
        now, since = self._clock.monotonic(), self._waits_since
        running = any(worker.state == "running" for worker in self._workers.copy().values())
        if since is None or now - self._looked_at > LOOKED_SECONDS or self._running.attempts() or not running:
            return Check(status="pass")
        idle = now - since
        if idle < IDLE_SECONDS:
            return Check(status="pass", observedValue=round(idle, 3), observedUnit="s")
        return Check(
            status="fail",
            observedValue=round(idle, 3),
            observedUnit="s",
            output="lanes are ready and this worker takes none",
        )

    def _event_loop(self) -> dict[str, Check]:
        """Said while async jobs stand still because one of them blocks. Leases do not depend on that loop."""
        blocked = self._blocked
        if blocked is None:
            return {}
        since = self._clock.monotonic() - self._blocked_since
        return {
            "eventloop:blocked": Check(
                status="warn",
                observedValue=round(since, 3),
                observedUnit="s",
                output=f"{blocked.by} blocks the event loop: all async jobs stand still",
            )
        }

    # -- events --------------------------------------------------------------------------------------

    def _queue_declared(self, event: QueueDeclared) -> None:
        self._queues.add(event.queue)

    def _worker_changed(self, event: WorkerChanged) -> None:
        now = self._clock.monotonic()
        self._workers[event.worker] = _Worker(state=event.state, turned=now, queues=event.queues)
        running = sum(worker.state == "running" for worker in self._workers.copy().values())
        self._most_running = max(self._most_running, running)
        if event.state != "stopped":
            # Only a stopped worker says something when it is the only one: then nothing works here.
            for name, worker in list(self._workers.items()):
                if worker.state == "stopped":
                    self._workers.pop(name, None)

    def _worker_beat(self, event: WorkerBeat) -> None:
        known = self._workers.get(event.worker)
        self._workers[event.worker] = _Worker(
            state=known.state if known else "running",
            turned=self._clock.monotonic(),
            queues=known.queues if known else (),
            lease_remaining=min(event.lease_remaining.values(), default=None),
        )

    def _lane_claimed(self, _claimed: LaneClaimed | Run[LaneClaimed]) -> None:
        self._waits_since = None

    def _storage_called(self, event: StorageCalled) -> None:
        self._last_error = event.error
        if event.error is None:
            self._last_answer = self._clock.monotonic()

    def _storage_called_often(self, run: Run[StorageCalled]) -> None:
        errors = run.column("error")
        self._last_error = errors[-1]
        if None in errors:
            self._last_answer = self._clock.monotonic()

    def _loop_changed(self, event: LoopBlocked | LoopFreed) -> None:
        self._blocked_since = self._clock.monotonic() - event.seconds
        self._blocked = event if isinstance(event, LoopBlocked) else None
