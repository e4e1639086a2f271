"""Calls that the clock makes: what an application declares and asks about schedules."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, TypeVar, get_args

from msgspec.structs import replace

from glassq.client.means import Means
from glassq.client.packing import encode_alone
from glassq.client.task import BoundAsyncTask, BoundTask, Signature
from glassq.errors import BadOption
from glassq.model.jobs import Receipt
from glassq.model.names import UNORDERED, check_name
from glassq.model.quantities import check_seconds
from glassq.model.schedules import ScheduleView
from glassq.policy.slots import Missed
from glassq.schedules.catalogue import Catalogue
from glassq.schedules.enqueuing import Enqueuing
from glassq.schedules.leading import Leadership
from glassq.schedules.planning import Planning
from glassq.schedules.records import Order, Plan, Schedule
from glassq.schedules.scheduler import Scheduler
from glassq.schedules.ticking import Ticking, is_due
from glassq.schedules.timetables import Timetable, parse_cron, parse_interval, timetable

T = TypeVar("T", bound=BoundTask[..., Any] | BoundAsyncTask[..., Any])


class Schedules:
    """The schedules of an application and of its store: `app.schedules`.

    Those that the application declares are stored when one of its workers starts; what is stored is led by
    one of all workers, whoever declared it.
    """

    def __init__(self, means: Means) -> None:
        self._means = means
        self._registry = means.registry
        self._plans: dict[str, Plan] = {}
        self._catalogue = Catalogue(means.storage)
        enqueuing = Enqueuing(means.storage, means.registry, means.bus, means.kept_receipt)
        self._ticking = Ticking(self._catalogue, enqueuing, means.bus)
        self._planning = Planning(self._catalogue, self._ticking)

    @property
    def declared(self) -> tuple[str, ...]:
        """The names of the schedules that this application declares."""
        return tuple(self._plans)

    def wanted(self, said: bool | None) -> bool:  # noqa: FBT001 - as `WorkerOptions.schedules` says
        """Whether a worker is to be a candidate for the lead."""
        return bool(self._plans) if said is None else said

    def declare(self, name: str, call: Signature[Any], timetable: Timetable, **options: Any) -> None:
        """Have a schedule stored when a worker starts. `BadOption` for two different ones of one name."""
        plan = self._plan(name, call, timetable, options)
        if self._plans.setdefault(plan.name, plan) != plan:
            raise BadOption("name", f"two schedules are named {plan.name!r}; give one of them name=...")

    def add(
        self,
        name: str,
        call: Signature[Any],
        *,
        cron: str | None = None,
        timezone: str = "UTC",
        every: float | timedelta | None = None,
        at: datetime | float | None = None,
        missed: Missed = "last",
        jitter: float = 0.0,
    ) -> None:
        """Store a schedule at run time: `app.schedules.add("eu", report.s("eu"), cron="0 9 * * *")`. Three
        round trips. Options are those of `app.schedule`. Raises `BadOption`, also when the name is taken."""
        when = timetable(cron=cron, timezone=timezone, every=every, at=at)
        plan = self._plan(name, call, when, {"missed": missed, "jitter": jitter})
        self._planning.add(self._to_store(plan))

    def all(self) -> list[ScheduleView]:
        """All stored schedules, by name. Two round trips, and one for each further hundred."""
        now = self._catalogue.now()
        return [_view(stored.schedule, now) for stored in self._catalogue.all()]

    def pause(self, name: str) -> None:
        """Let no further slot of a schedule be enqueued; jobs that are there are not touched. Three round
        trips. Raises `ScheduleNotFound`."""
        self._planning.pause(name)

    def resume(self, name: str) -> None:
        """Undo `pause`: it goes on with its first slot after now, those before were not missed. Three round
        trips. Raises `ScheduleNotFound`."""
        self._planning.resume(name)

    def run_now(self, name: str) -> Receipt:
        """Enqueue the call of a schedule once more, at the tail of its lane, beside its slots. Two round
        trips. Raises `ScheduleNotFound`, and what enqueuing raises."""
        return self._planning.run_now(name)

    def remove(self, name: str) -> None:
        """Forget a schedule; one that is declared in code comes back with the next worker that starts. One
        round trip. Raises `ScheduleNotFound`."""
        self._planning.remove(name)

    def lags(self) -> Mapping[str, float]:
        """Seconds by which the slots of each queue are overdue; of no queue where this application declares
        none. Two round trips, and one for each further hundred."""
        found: dict[str, float] = {}
        for view in self.all() if self._plans else ():
            found[view.queue] = max(found.get(view.queue, 0.0), view.lag)
        return found

    def scheduler(self, who: str, lease_seconds: float) -> Scheduler:
        """A candidate for the lead, not started yet."""
        means = self._means
        return Scheduler(
            catalogue=self._catalogue,
            planning=self._planning,
            ticking=self._ticking,
            leadership=Leadership(means.storage, means.clock, who, lease_seconds),
            clock=means.clock,
            random=means.random,
            lease_seconds=lease_seconds,
            declared=lambda: (tuple(map(self._to_store, self._plans.values())), self._registry.queues()),
        )

    def _to_store(self, plan: Plan) -> Plan:
        """A plan with the time for which results are kept, where the call did not say it: by what holds when
        it is stored, since the application's defaults may come after its declaration."""
        order = plan.order
        if order.keep is not None:
            return plan
        task = self._registry.find(order.task)
        return replace(plan, order=replace(order, keep=0.0 if task is None else float(task.result_ttl)))

    def _plan(self, name: str, call: Signature[Any], when: Timetable, options: Mapping[str, Any]) -> Plan:
        missed = options.get("missed", "last")
        if missed not in get_args(Missed):
            raise BadOption("missed", f'is "skip", "last" or "all", got {missed!r}')
        revision = options.get("revision", 0)
        if not isinstance(revision, int) or isinstance(revision, bool):
            raise BadOption("revision", f"is a whole number, got {revision!r}")
        return Plan(
            name=check_name("name", name),
            timetable=when,
            order=self._order(call),
            missed=missed,
            jitter=check_seconds("jitter", options.get("jitter", 0.0)),
            revision=revision,
        )

    def _order(self, signature: object) -> Order:
        """A call, packed as it is stored. Raises `TypeError` for arguments the task does not take."""
        if not isinstance(signature, Signature):
            what = type(signature).__name__
            raise BadOption("call", f"is a call such as report.s('eu'), got {what}")
        call = signature.enclosed
        task, options = call.task, call.options
        for option in ("delay", "eta", "dedup_id", "unique", "depends_on"):
            if getattr(options, option) not in (None, False, ()):
                raise BadOption(option, "is the schedule's own to say; leave it out of the call")
        return Order(
            queue=task.queue,
            task=task.name,
            serializer=self._means.serializer,
            payload=encode_alone(call, self._registry.options(task.queue).max_payload),
            key=None if call.key is UNORDERED else call.key,
            unordered=call.key is UNORDERED,
            level=task.priority if options.priority is None else options.priority,
            ttl=task.ttl if options.ttl is None else options.ttl,
            keep=options.result_ttl,
        )


class Scheduled:
    """What an application has to say about schedules; a part of `Glassq`."""

    schedules: Schedules

    def cron(
        self,
        expression: str,
        *,
        timezone: str = "UTC",
        missed: Missed = "last",
        jitter: float = 0.0,
        name: str | None = None,
        revision: int = 0,
    ) -> Callable[[T], T]:
        """Have a task called without arguments at the times of a cron expression: `@app.cron("0 9 * * *",
        timezone="Europe/Stockholm")` above `@app.fifo(...)`. Needs the extra `cron`.

        Five fields (minute, hour, day of month, month, day of week), six with seconds before them. A time
        that the change to summer time skips is due when the gap is over, one that comes twice in autumn once;
        with a `*` in its minutes or hours it follows the time that passes. `missed`: of slots that nobody
        enqueued in time the "last" is made up for, "all" are (the newest 100), or those that are over a
        minute late are a thing to "skip". `jitter`: puts each job off by less than so many seconds, always
        the same for one slot. `name` is the schedule's (the task's). A stored schedule of a higher `revision`
        is not replaced. Raises `BadOption`, `MissingExtra`.
        """
        return self._decorate(parse_cron(expression, timezone), name, missed, jitter, revision)

    def every(
        self,
        interval: float | timedelta,
        *,
        missed: Missed = "last",
        jitter: float = 0.0,
        name: str | None = None,
        revision: int = 0,
    ) -> Callable[[T], T]:
        """Have a task called without arguments at an interval in whole seconds, or a timedelta of such: at
        its multiples since 1970-01-01 UTC, so that no restart moves it. Options are those of `cron`. Raises
        `BadOption`."""
        return self._decorate(parse_interval(interval), name, missed, jitter, revision)

    def _decorate(
        self, when: Timetable, name: str | None, missed: Missed, jitter: float, revision: int
    ) -> Callable[[T], T]:
        def declare(task: T) -> T:
            if not isinstance(task, BoundTask | BoundAsyncTask):
                what = getattr(task, "__qualname__", type(task).__name__)
                raise BadOption(
                    what,
                    "is no task yet; write this decorator above @app.fifo(...), so that it comes after it",
                )
            options = {"missed": missed, "jitter": jitter, "revision": revision}
            self.schedules.declare(name or task.definition.name, task.s(), when, **options)
            return task

        return declare

    def schedule(
        self,
        name: str,
        call: Signature[Any],
        *,
        cron: str | None = None,
        timezone: str = "UTC",
        every: float | timedelta | None = None,
        at: datetime | float | None = None,
        missed: Missed = "last",
        jitter: float = 0.0,
        revision: int = 0,
    ) -> None:
        """Have a call made by the clock: `app.schedule("eu-report", report.s("eu"), cron="0 9 * * *")`.

        By a `cron` expression, `every` so many seconds, or once `at` a moment (an aware datetime or epoch
        seconds; not at all if that is over when it is stored). Stored when a worker of this application
        starts. Options are those of `cron`. Raises `BadOption`, `MissingExtra`.
        """
        when = timetable(cron=cron, timezone=timezone, every=every, at=at)
        options: dict[str, Any] = {"missed": missed, "jitter": jitter, "revision": revision}
        self.schedules.declare(name, call, when, **options)


def _view(schedule: Schedule, now: float) -> ScheduleView:
    plan = schedule.plan
    late = is_due(schedule, now) and schedule.next is not None
    return ScheduleView(
        name=plan.name,
        timetable=str(plan.timetable),
        queue=plan.order.queue,
        task=plan.order.task,
        key=plan.order.key,
        next_at=None if schedule.next is None else float(schedule.next),
        lag=max(0.0, now - schedule.next) if late and schedule.next is not None else 0.0,
        paused=schedule.paused,
        missed=plan.missed,
        jitter=plan.jitter,
        declared=schedule.declared,
        revision=plan.revision,
        slots_enqueued=schedule.enqueued,
        slots_missed=schedule.missed,
    )
