"""What people do with schedules: declare them in code, add them at run time, pause, resume, remove them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from msgspec.structs import replace

from glassq.errors import BadOption, CorruptRecord, EnqueueError, FormatMismatch, ScheduleNotFound
from glassq.model.jobs import Receipt
from glassq.schedules.catalogue import Catalogue, Stored
from glassq.schedules.records import Plan, Schedule
from glassq.schedules.ticking import Ticking
from glassq.shielding import Log

log = Log("glassq.schedules")


class Planning:
    """Brings what is stored in line with what people want. Costs are round trips."""

    def __init__(self, catalogue: Catalogue, ticking: Ticking) -> None:
        self._catalogue = catalogue
        self._ticking = ticking

    def declare(self, plans: Sequence[Plan]) -> list[Plan]:
        """Store what a program declares; returns what is to be tried again, as due slots wait for room.

        Done once by each process, when it starts: of two versions that run side by side during a deploy, the
        one that started last has its way, and neither takes it back. A plan's `revision` decides where that
        is not enough. One round trip a plan that is stored already, four or more for one that is not.
        """
        waiting = []
        for plan in plans:
            try:
                self._declare(plan)
            except (CorruptRecord, FormatMismatch) as error:  # somebody has to remove it, or to upgrade
                log.error("%s", error)  # noqa: TRY400 - the message says it all
            except EnqueueError as error:
                log.warning("schedule %s is replaced once its due slots are enqueued: %s", plan.name, error)
                waiting.append(plan)
        return waiting

    def tell_of_others(self, plans: Sequence[Plan], queues: Sequence[str]) -> None:
        """Say which stored schedules of these queues were declared by a program, and are not any more. One
        round trip for each hundred."""
        names = {plan.name for plan in plans}
        for stored in self._catalogue.all():
            name = stored.plan.name
            left = stored.schedule.declared == "code" and stored.plan.order.queue in queues
            if left and name not in names:
                log.warning(
                    "schedule %s goes on, though this program does not declare it any more; if no other one "
                    "does, remove it: glassq schedule remove %s",
                    name,
                    name,
                )

    def _declare(self, plan: Plan) -> None:
        """A stored schedule of this name that differs is replaced. What was due until now is enqueued as it
        was planned before. One whose timetable stays goes on where it is; one that is paused stays so."""
        while True:
            was = self._catalogue.find(plan.name)
            if was is None:
                if self._begin(plan, "code"):
                    return
                continue
            if was.plan == plan:
                return
            if was.plan.revision > plan.revision:
                log.info("schedule %s is stored as revision %d, newer than %d", *_revisions(was, plan))
                return
            if self._replace(was, plan):
                log.info("schedule %s is replaced by what this program declares", plan.name)
                return

    def add(self, plan: Plan) -> None:
        """Store a schedule at run time. Two round trips. `BadOption` when there is one of this name, or it
        would never be due."""
        if plan.timetable.after(self._catalogue.now()) is None:
            raise BadOption("at", f"is over: {plan.timetable}")
        if not self._begin(plan, "run time"):
            raise BadOption("name", f"there is a schedule {plan.name} already; remove it first")

    def _begin(self, plan: Plan, declared: Literal["code", "run time"]) -> bool:
        """Store it as one that has had no slots yet."""
        now = int(self._catalogue.now())
        fresh = Schedule(plan=plan, declared=declared, position=now, next=plan.timetable.after(now))
        return self._catalogue.keep(None, fresh) is not None

    def _replace(self, was: Stored, plan: Plan) -> bool:
        now = self._catalogue.now()
        current = self._ticking.tick(was, now)
        if current is None:
            return False
        schedule = replace(current.schedule, plan=plan, declared="code")
        if was.plan.timetable != plan.timetable:
            schedule = _from(schedule, now)
        return self._catalogue.keep(current, schedule) is not None

    def pause(self, name: str) -> None:
        """Let no further slot be enqueued. Three round trips. `ScheduleNotFound`."""
        self._catalogue.change(name, lambda schedule, _: replace(schedule, paused=True))

    def resume(self, name: str) -> None:
        """Undo `pause`: it goes on with the first slot after now; those before were not missed. Three round
        trips. `ScheduleNotFound`."""
        self._catalogue.change(
            name,
            lambda schedule, now: (
                _from(replace(schedule, paused=False), now) if schedule.paused else schedule
            ),
        )

    def remove(self, name: str) -> None:
        """Forget a schedule. Its jobs are not touched. `ScheduleNotFound`."""
        if not self._catalogue.remove(name):
            raise ScheduleNotFound(name, self._catalogue.nearest(name))

    def run_now(self, name: str) -> Receipt:
        """Enqueue its call once more, beside its slots. Two round trips. `ScheduleNotFound`, and what
        enqueuing raises."""
        return self._ticking.run_now(self._catalogue.known(name).plan)


def _from(schedule: Schedule, now: float) -> Schedule:
    """The same, with no slot behind it."""
    return replace(schedule, position=int(now), next=schedule.plan.timetable.after(int(now)))


def _revisions(was: Stored, plan: Plan) -> tuple[str, int, int]:
    return plan.name, was.plan.revision, plan.revision
