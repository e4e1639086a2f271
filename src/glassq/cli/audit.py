"""Who changed what: one line for each change that a command makes, or fails to make."""

from __future__ import annotations

import json
import logging
import os
import pwd
import time
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec

log = logging.getLogger("glassq.audit")

_FORMAT = "%(asctime)s %(name)s %(message)s"
_TIME = "%Y-%m-%dT%H:%M:%SZ"


class Entry(msgspec.Struct):
    """One line in the making; the command says in `result` what came of it."""

    result: str = ""


@contextmanager
def audited(what: str, *, store: str, **fields: str | None) -> Iterator[Entry]:
    """Around a change: logs who did what to what, and its result, or the error that prevented it.

    The line goes to standard error at level INFO, and to whatever handlers the application attached to the
    logger `glassq.audit` or above it. Fields that are None are left out.
    """
    entry = Entry()
    try:
        yield entry
    except BaseException as error:
        entry.result = f"failed: {str(error) or type(error).__name__}"
        raise
    finally:
        named = {"who": user(), "what": what, "store": store, **fields, "result": entry.result}
        _write(" ".join(f"{name}={_word(value)}" for name, value in named.items() if value is not None))


def user() -> str:
    """The operating system's name for who runs this process, not what the environment claims."""
    number = os.getuid()
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:  # containers run under numbers without a name
        return str(number)


def _write(line: str) -> None:
    handler = logging.StreamHandler()  # made now: standard error may have been replaced since the import
    formatter = logging.Formatter(_FORMAT, _TIME)
    formatter.converter = time.gmtime  # lines of several machines are compared
    handler.setFormatter(formatter)
    log.setLevel(logging.INFO)
    log.disabled = False  # an application that configures logging when imported disables what it finds
    log.addHandler(handler)
    try:
        log.info("%s", line)
    finally:
        log.removeHandler(handler)


def _word(value: str) -> str:
    """A value that cannot break the line, pose as another field, or command a terminal."""
    if value and value.isprintable() and not set(value) & set(' "='):
        return value
    return json.dumps(value, ensure_ascii=not value.isprintable())
