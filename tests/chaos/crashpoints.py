"""Named points at which the program under test ends itself with SIGKILL, or holds a thread.

`GLASSQ_CRASH_AT=point:n` ends it when it gets to the point for the n-th time. `hold@point:n` holds the thread
that got there, while the others go on, until there is a file of the name in `CHAOS_HOLD`.

- `before_VERB`, `after_VERB`: around a verb of the store;
- `sql_VERB`, `commit_VERB` (SQLite): before each statement in a verb, before its COMMIT;
- `sent_VERB`, `answered_VERB` (Redis): a script was sent, its answer has arrived and was not read;
- `before_function`, `in_function`, `after_function`, `in_on_success`, `in_on_error`: around and in user code;
- `event_NAME`: when the bus tells of it.

`CHAOS_CUT=VERB:chance` loses answers on Redis: the connection ends after the request was carried out.
"""

from __future__ import annotations

import os
import signal
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from random import Random
from typing import Any
from unittest import mock

from redis import exceptions
from redis.connection import AbstractConnection

import glassq.app
from glassq.app import Glassq
from glassq.model import events
from glassq.model.leases import Settled
from glassq.settling import Course, Settling, Together
from glassq.storage import Storage
from glassq.stores.redis.line import Line
from glassq.telemetry import Attempting, Subject
from glassq.worker.engine import Worker
from tests.chaos.notes import note

VERBS = ("append", "listen", "claim", "settle", "renew", "release", "report")
RELAYED = ("deliver", "delivered")
"""The verbs by which a worker tells jobs elsewhere that what they wait for has ended."""

PRODUCING = ("before_append", "after_append", "event_JobEnqueued")
WORKING = (
    *(f"{when}_{verb}" for verb in VERBS[1:] for when in ("before", "after")),
    *("before_function", "in_function", "after_function", "in_on_success", "in_on_error"),
    *("event_LaneClaimed", "event_AttemptStarted", "event_AttemptSettled", "event_LaneLeft"),
)
INSIDE = {
    "sqlite": {
        "produce": ("sql_append", "commit_append"),
        "work": (
            "sql_claim",
            "commit_claim",
            "sql_settle",
            "commit_settle",
            "commit_renew",
            "commit_release",
        ),
    },
    "redis": {
        "produce": ("sent_append", "answered_append"),
        "work": (
            *("sent_claim", "answered_claim", "sent_settle", "answered_settle"),
            *("sent_renew", "answered_renew", "answered_release"),
        ),
    },
}
"""Points inside a verb, by store and by the role that gets there."""
RELEASING = {
    "sqlite": ("sql_settle", "commit_settle", "sql_deliver", "commit_deliver"),
    "redis": ("sent_settle", "answered_settle", "sent_deliver", "answered_deliver", "answered_delivered"),
}
"""Those inside the verbs that let jobs go which wait for others; around them there are these, too."""
AROUND_RELEASE = tuple(f"{when}_{verb}" for verb in ("settle", *RELAYED) for when in ("before", "after"))


class Point:
    """Counts how often the program got to its point and acts at the n-th time."""

    def __init__(self, spec: str) -> None:
        self._holds = spec.startswith("hold@")
        self.name, _, number = spec.removeprefix("hold@").partition(":")
        self._left = int(number or 1)
        self._lock = threading.Lock()

    def reach(self, name: str) -> None:
        """Act, if this is the point and the time."""
        if name != self.name:
            return
        with self._lock:
            self._left -= 1
            now = self._left == 0
        if not now:
            return
        note("at_point", point=name)
        if self._holds:
            while not Path(os.environ["CHAOS_HOLD"]).exists():
                time.sleep(0.005)
        else:
            # To this very thread: it gets no further. A signal to the process may find another one first.
            signal.pthread_kill(threading.get_ident(), signal.SIGKILL)


_point: Point | None = None
_within = threading.local()
"""`verb`: what this thread asks of the store now; `script`: whether its last request ran one."""


def reach(name: str) -> None:
    """The program is at this point."""
    if _point is not None:
        _point.reach(name)


def install(app: Glassq, spec: str | None, name: str) -> None:
    """Put the points into an application that has not opened its store yet. The process's own `name` and the
    seed decide what is left to chance."""
    global _point  # noqa: PLW0603 - one program has one point
    cut = os.environ.get("CHAOS_CUT")
    if spec is None and cut is None:
        return
    _point = Point(spec) if spec else None
    open_storage = vars(glassq.app)["open_storage"]
    mock.patch(
        "glassq.app.open_storage", lambda *about, **options: Watched(open_storage(*about, **options))
    ).start()
    mock.patch("sqlite3.Connection", partial(_connect_traced, sqlite3.Connection)).start()
    _watch_wires(cut, name)
    app.bus.wrap(_around)
    for each in (
        events.JobEnqueued,
        events.LaneClaimed,
        events.LaneLeft,
        events.AttemptStarted,
        events.AttemptSettled,
    ):
        app.bus.subscribe(lambda event: reach(f"event_{type(event).__name__}"), each)


_worker: Worker | None = None


def stop_by(worker: Worker) -> None:
    """Lanes are released unrun only by a worker that is stopped right after its claim: this one will be."""
    global _worker  # noqa: PLW0603 - one program has one worker
    if _point is not None and _point.name.endswith("_release"):
        _worker = worker


class Watched:
    """A store that passes points around each verb."""

    def __init__(self, inner: Storage) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._inner, name)
        if name == "course":
            return partial(self._watch_course, value) if self._inner.kind == "sqlite" else _no_course
        if name == "settle_later":
            return partial(self._watch_sending, value)
        if name == "settle_together":
            return partial(self._watch_sending_together, value)
        return partial(self._watch, name, value) if name in VERBS + RELAYED else value

    @staticmethod
    def _watch_sending(call: Callable[..., Settling], *args: Any) -> Settling:
        reach("before_settle")
        return WatchedSettling(_asking("settle", call, *args))

    @staticmethod
    def _watch_sending_together(call: Callable[..., Together], *args: Any) -> Together:
        reach("before_settle")
        return Together.of([WatchedSettling(each) for each in _asking("settle", call, *args)])

    @staticmethod
    def _watch_course(call: Callable[..., Course | None], *args: Any, **kwargs: Any) -> WatchedCourse | None:
        inner = call(*args, **kwargs)
        return None if inner is None else WatchedCourse(inner)

    @staticmethod
    def _watch(verb: str, call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        reach(f"before_{verb}")
        answer = _asking(verb, call, *args, **kwargs)
        if verb == "claim" and answer.grants and _worker is not None:
            _worker.stop(drain=0)
        reach(f"after_{verb}")
        return answer


def _no_course(*_: object, **__: object) -> None:
    """The points are those of settlements that are sent one by one."""


class WatchedCourse:
    """A course on which each job is settled at once, that passes the same points as a settlement."""

    def __init__(self, inner: Course) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def send(self, job_id: str, next_id: str) -> Any:
        """See `Course.send`."""
        reach("before_settle")
        was_sent = _asking("settle", self._inner.send, job_id, next_id)
        if was_sent:
            reach("after_settle")
        return was_sent


class WatchedSettling:
    """A settlement on its way, that passes the same points as one that is waited for."""

    def __init__(self, inner: Settling) -> None:
        self._inner = inner

    def arrived(self) -> bool:
        """See `Settling.arrived`."""
        return bool(_asking("settle", self._inner.arrived))

    def answer(self) -> Settled:
        """See `Settling.answer`."""
        answer: Settled = _asking("settle", self._inner.answer)
        reach("after_settle")
        return answer


def _asking(verb: str, call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    _within.verb = verb
    try:
        return call(*args, **kwargs)
    finally:
        _within.verb = None


@contextmanager
def _around(subject: Subject) -> Iterator[None]:
    if isinstance(subject, Attempting):
        reach("before_function")
    yield
    if isinstance(subject, Attempting):
        reach("after_function")


def _connect_traced(connect: Callable[..., sqlite3.Connection], *args: Any, **kwargs: Any) -> Any:
    connection = connect(*args, **kwargs)

    def trace(statement: str) -> None:
        verb = getattr(_within, "verb", None)
        if verb:
            reach(f"commit_{verb}" if statement == "COMMIT" else f"sql_{verb}")

    connection.set_trace_callback(trace)
    return connection


def _watch_wires(cut: str | None, name: str) -> None:
    """See each script on its way, and lose the answers of a verb by chance: on the shared connection, and on
    those that the client library reads."""
    verb_to_cut, _, chance = (cut or "").partition(":")
    random = Random(f"{os.environ.get('CHAOS_SEED')}:{name}")

    def watched(read: Callable[[], Any], wait: Callable[[], object], hang_up: Callable[[], object]) -> Any:
        verb = getattr(_within, "verb", None)
        if not verb or not _within.script:
            return read()
        reach(f"sent_{verb}")
        if _point is not None and _point.name == f"answered_{verb}":
            wait()
            reach(f"answered_{verb}")
        answer = read()
        if verb == verb_to_cut and random.random() < float(chance):
            hang_up()
            raise exceptions.ConnectionError("cut after the request, before its answer")
        return answer

    _watch_lines(watched)
    _watch_library(watched)


def _watch_lines(watched: Callable[..., Any]) -> None:
    send, read, look = Line.send, Line.read, Line.look

    def something_there(self: Line, milliseconds: int) -> bool:
        return self._answers.left or bool(self._incoming.poll(milliseconds))

    def send_watched(self: Line, packed: bytes) -> None:
        _within.script = b"EVAL" in packed[:64]
        send(self, packed)

    def read_watched(self: Line) -> Any:
        return watched(partial(read, self), partial(something_there, self, 60_000), self.close)

    def look_watched(self: Line) -> Any:
        if not something_there(self, 0):
            return look(self)
        return watched(partial(look, self), lambda: None, self.close)

    mock.patch.object(Line, "send", send_watched).start()
    mock.patch.object(Line, "read", read_watched).start()
    mock.patch.object(Line, "look", look_watched).start()


def _watch_library(watched: Callable[..., Any]) -> None:
    send, read = AbstractConnection.send_packed_command, AbstractConnection.read_response

    def send_watched(self: AbstractConnection, command: Any, *args: Any, **kwargs: Any) -> None:
        chunks = [command] if isinstance(command, bytes | str) else list(command)
        first = chunks[0] if isinstance(chunks[0], bytes) else chunks[0].encode()
        _within.script = b"EVAL" in first[:64]
        send(self, chunks, *args, **kwargs)  # type: ignore[no-untyped-call]

    def read_watched(self: Any, *args: Any, **kwargs: Any) -> Any:
        return watched(
            partial(read, self, *args, **kwargs), partial(self.can_read, timeout=60), self.disconnect
        )

    mock.patch.object(AbstractConnection, "send_packed_command", send_watched).start()
    mock.patch.object(AbstractConnection, "read_response", read_watched).start()
