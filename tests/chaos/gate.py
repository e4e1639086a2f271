"""A gate before the store of a process: while it is held, none of its threads is in the middle of a call."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from typing import Any
from unittest import mock

import glassq.app
from glassq.storage import Storage

_GATE = threading.RLock()


def install_gate() -> None:
    """Put the gate before the store of this process, which has not opened it yet."""
    open_storage = vars(glassq.app)["open_storage"]
    mock.patch(
        "glassq.app.open_storage", lambda *about, **options: Gated(open_storage(*about, **options))
    ).start()


def between_calls() -> AbstractContextManager[object]:
    """Wait until the calls under way are over; while this lasts other threads begin none."""
    return _GATE


class Gated:
    """A store that is called by one thread at a time."""

    def __init__(self, inner: Storage) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._inner, name)
        return partial(_pass, value) if callable(value) else value


def _pass(verb: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    with _GATE:
        return verb(*args, **kwargs)
