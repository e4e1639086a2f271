"""Settlements that are held up on their way into the store."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from glassq.settling import Course
from glassq.storage import Storage
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
