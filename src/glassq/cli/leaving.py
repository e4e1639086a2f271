"""Commands that start processes take them along when they are told to end."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def leaving_on_signals() -> Iterator[None]:
    """While this lasts, SIGTERM and SIGHUP unwind the program as Ctrl-C does: what it started must not
    outlive it when a terminal closes or a supervisor stops it. Main thread only; the handlers of before come
    back."""
    before = {number: signal.signal(number, _leave) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _leave(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - the signature of a handler
    sys.exit(128 + number)
