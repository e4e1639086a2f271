"""The stored schedules. A change replaces exactly what was read, or is not made: two at once lose nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

import msgspec

from glassq.errors import CorruptRecord, FormatMismatch, ScheduleNotFound
from glassq.model.names import nearest
from glassq.schedules.records import Plan, Schedule, from_bytes, to_bytes
from glassq.shielding import Log
from glassq.storage import ShardedStorage

log = Log("glassq.schedules")

OFFICE: Final = "glassq:schedules"
"""The queue whose values the schedules and their leader are. No job is ever in it."""
_PREFIX: Final = "schedule/"


class Stored(msgspec.Struct, frozen=True):
    """A schedule together with the bytes it was read from, which a change has to find again."""

    schedule: Schedule
    body: bytes

    @property
    def plan(self) -> Plan:
        """What it was declared as."""
        return self.schedule.plan


class Catalogue:
    """Reads and changes the schedules of one store. Costs are round trips."""

    def __init__(self, storage: Callable[[], ShardedStorage]) -> None:
        self._storage = storage
        self._unreadable: frozenset[bytes] = frozenset()

    def all(self) -> list[Stored]:
        """All that can be read, by name; the others are logged, once. One for each hundred."""
        found: list[Stored] = []
        unreadable = []
        for name, body in self._bodies():
            try:
                found.append(Stored(from_bytes(name, body), body))
            except (CorruptRecord, FormatMismatch) as error:
                unreadable.append(body)
                if body not in self._unreadable:
                    log.error("%s", error)  # noqa: TRY400 - the message says it all
        self._unreadable = frozenset(unreadable)
        return found

    def _bodies(self) -> Iterator[tuple[str, bytes]]:
        after = ""
        while page := self._storage().values(OFFICE, _PREFIX, after=after):
            for value in page:
                yield value.name.removeprefix(_PREFIX), value.body
            after = page[-1].name

    def find(self, name: str) -> Stored | None:
        """One schedule. One round trip. Raises `FormatMismatch`, `CorruptRecord`."""
        value = self._storage().value(OFFICE, _PREFIX + name)
        return None if value is None else Stored(from_bytes(name, value.body), value.body)

    def known(self, name: str) -> Stored:
        """The same; `ScheduleNotFound` when there is none."""
        found = self.find(name)
        if found is None:
            raise ScheduleNotFound(name, self.nearest(name))
        return found

    def nearest(self, name: str) -> str | None:
        """The name of a schedule that `name` was most likely meant to be. One for each hundred."""
        return nearest(name, [each for each, _ in self._bodies()])

    def now(self) -> float:
        """The store's time. One round trip."""
        return self._storage().exchange(OFFICE, "clock", was=None, body=None).now

    def keep(self, was: Stored | None, schedule: Schedule) -> Stored | None:
        """Put a schedule where `was` is (None: where none is); None when that is not what is there. One."""
        body = to_bytes(schedule)
        name = _PREFIX + schedule.plan.name
        exchanged = self._storage().exchange(OFFICE, name, was=was.body if was else None, body=body)
        return Stored(schedule, body) if exchanged.done else None

    def remove(self, name: str) -> bool:
        """Forget a schedule, also one that cannot be read; False when there is none. One."""
        return self._storage().drop(OFFICE, _PREFIX + name)

    def change(self, name: str, how: Callable[[Schedule, float], Schedule]) -> Schedule:
        """Make of a schedule what `how` makes of it and the time, again where somebody was faster; returns
        what is stored then. Three round trips. Raises as `known`."""
        while True:
            was = self.known(name)
            wanted = how(was.schedule, self.now())
            if wanted == was.schedule or self.keep(was, wanted) is not None:
                return wanted
