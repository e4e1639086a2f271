"""What is done with a schedule that is due: enqueue, then move on."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime

import msgspec

from glassq.model.events import SlotsPassed
from glassq.model.jobs import Receipt
from glassq.policy.slots import MARGIN, due, remembered_until, spread
from glassq.schedules.catalogue import Catalogue, Stored
from glassq.schedules.enqueuing import Enqueuing, Slot
from glassq.schedules.records import Plan, Schedule
from glassq.telemetry import Bus


class Ticking:
    """Brings schedules up to date, one at a time."""

    def __init__(self, catalogue: Catalogue, enqueuing: Enqueuing, bus: Bus) -> None:
        self._catalogue = catalogue
        self._enqueuing = enqueuing
        self._bus = bus

    def tick(self, stored: Stored, now: float) -> Stored | None:
        """Enqueue the slots that are due by now, and move the schedule behind them.

        Its position is moved last, and only if it is still where it was: whoever fails in between leaves the
        slots to the next, who enqueues them again and finds them known. None when somebody else moved or
        changed it meanwhile. One round trip a slot, and one. Raises as `Enqueuing.enqueue`.
        """
        schedule = stored.schedule
        if not is_due(schedule, now):
            return stored
        plan = schedule.plan
        found = due(plan.timetable.after, plan.missed, position=schedule.position, now=now)
        for slot in found.slots:
            self._enqueuing.enqueue(_slot(plan, slot, now))
        moved = self._catalogue.keep(
            stored, _passed(schedule, found.position, len(found.slots), found.missed)
        )
        if moved is not None:
            self._bus.emit(
                SlotsPassed(
                    queue=plan.order.queue,
                    schedule=plan.name,
                    enqueued=len(found.slots),
                    missed=found.missed,
                    lag=max(0.0, now - found.position),
                )
            )
        return moved

    def run_now(self, plan: Plan) -> Receipt:
        """Enqueue its call once more, beside its slots."""
        mark = f"schedule/{plan.name}/now/{secrets.token_hex(8)}"
        return self._enqueuing.enqueue(Slot(order=plan.order, mark=mark, remembered=MARGIN))


def is_due(schedule: Schedule, now: float) -> bool:
    """Whether there is something to do: a slot has come, or the clock was wrong when it came this far."""
    if schedule.paused or schedule.next is None:
        return False
    return schedule.next <= now or schedule.position > now + MARGIN


def _passed(schedule: Schedule, position: int, enqueued: int, missed: int) -> Schedule:
    return msgspec.structs.replace(
        schedule,
        position=position,
        next=schedule.plan.timetable.after(position),
        enqueued=schedule.enqueued + enqueued,
        missed=schedule.missed + missed,
    )


def _slot(plan: Plan, due_at: int, now: float) -> Slot:
    put_off_to = due_at + spread(plan.name, due_at, plan.jitter)
    return Slot(
        order=plan.order,
        mark=f"schedule/{plan.name}/{datetime.fromtimestamp(due_at, UTC):%Y%m%dT%H%M%SZ}",
        remembered=remembered_until(plan.timetable.after, plan.missed, due_at) - now,
        due=due_at,
        put_off_to=put_off_to if put_off_to > now else None,
    )
