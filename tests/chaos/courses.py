"""Courses that are held up, or that send too late; see `glassq.settling.Course`."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from glassq.model.leases import Owner, Settlement
from glassq.settling import Course, Settling
from glassq.storage import Storage
from glassq.stores.recorded import RecordedStorage
from tests.chaos.notes import note


class HeldUp:
    """A store before whose n-th settlement, whatever way it goes, its worker waits until there is a file:
    `CHAOS_HOLD_SETTLING=n:file`."""

    def __init__(self, inner: Storage, spec: str) -> None:
        number, _, path = spec.partition(":")
        self._inner = inner
        self._left = int(number)
        self._until = Path(path)
        self._lock = threading.Lock()

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._inner, name)
        if name in ("settle", "settle_later", "settle_together"):
            return partial(self._after_a_while, value)
        return partial(self._course, value) if name == "course" else value

    def _after_a_while(self, call: Callable[..., Any], *about: Any, **more: Any) -> Any:
        with self._lock:
            self._left -= 1
            now = self._left == 0
        if now:
            note("held_up")
            while not self._until.exists():
                time.sleep(0.005)
        return call(*about, **more)

    def _course(self, begin: Callable[..., Course | None], *about: Any, **more: Any) -> Course | None:
        inner = begin(*about, **more)
        return None if inner is None else _HeldUpCourse(inner, partial(self._after_a_while, inner.send))


class _HeldUpCourse:
    """The same for what is sent on a course."""

    def __init__(self, inner: Course, send: Callable[..., Any]) -> None:
        self._inner = inner
        self.send = send

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


def hold_up(open_storage: Callable[..., Storage]) -> Callable[..., Any]:
    """What opens stores, with what the environment says of them."""
    spec = os.environ.get("CHAOS_HOLD_SETTLING")
    return open_storage if not spec else lambda *about, **more: HeldUp(open_storage(*about, **more), spec)


class LateCourse:
    """A defect: a job's settlement is sent when the next job on the course has ended, too. What a history is
    told of is what was really sent."""

    def __init__(self, store: RecordedStorage, inner: Course, owner: Owner, like: Settlement) -> None:
        self._store = store
        self._inner = inner
        self._owner = owner
        self._like = like
        self._held: tuple[str, str] | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def send(self, job_id: str, next_id: str) -> int | None:
        """Send the one before."""
        heard = self.hear() if self._held is not None else 0
        if self._held is not None:
            return None
        self._held = job_id, next_id
        return heard

    def hear(self) -> int:
        """Send what is held back, or hear of what was sent."""
        if self._held is None:
            return self._inner.hear()
        heard = self._inner.send(*self._held)
        if heard is not None:
            self._held = None
        return heard or 0

    def leave(self) -> list[tuple[Settling, int]]:
        """What was held back is on its way, too."""
        left = list(self._inner.leave())
        if self._held is not None:
            job_id, next_id = self._held
            what = msgspec.structs.replace(self._like, job_id=job_id, next_id=next_id)
            left.append((self._store.settle_later(self._owner, what), 1))
        return left
