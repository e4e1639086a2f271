"""The exec probe: reads a worker's heartbeat file. It starts every few seconds, so standard library only."""

from __future__ import annotations

import json
import os
import time

PASS, FAIL, USAGE = 0, 1, 2

MAX_BYTES = 65536


def read_heartbeat(path: str, max_age: float, which: str) -> tuple[int, str]:
    """Exit code and one line of text: 0 when the worker that writes `path` is `which` (`live` or `ready`),
    1 when it is not, or when the file is missing, unreadable or more than `max_age` seconds old, 2 when the
    question itself is wrong."""
    if which not in ("live", "ready"):
        return USAGE, f"ask for live or ready, not {which!r}"
    if not max_age > 0:
        return USAGE, "the greatest age is a number of seconds above 0"
    try:
        with open(path, "rb", opener=_without_waiting) as file:
            content = file.read(MAX_BYTES)
    except FileNotFoundError:
        return FAIL, f"no heartbeat: {path} does not exist; is a worker running with this file?"
    except OSError as error:
        return FAIL, f"no heartbeat: {path} cannot be read: {error.strerror}"
    return _judged(content, path, max_age, which)


def _judged(content: bytes, path: str, max_age: float, which: str) -> tuple[int, str]:
    """What the file says, believed only while it is fresh."""
    try:
        beat = json.loads(content)
        age = time.time() - float(beat["wall"])
        status = beat[which]
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
        return FAIL, f"no heartbeat: {path} is not a heartbeat file"
    if not abs(age) <= max_age:  # written this way round because nothing compares with NaN
        return FAIL, f"not {which}: the last heartbeat is {age:.0f} s old, at most {max_age:g} s are allowed"
    if status in ("pass", "warn"):
        return PASS, which if status == "pass" else f"{which}, with a warning"
    return FAIL, f"not {which}: the worker itself says so"


def _without_waiting(path: str, flags: int) -> int:
    """A pipe in the file's place must not hang the probe."""
    return os.open(path, flags | os.O_NONBLOCK)
