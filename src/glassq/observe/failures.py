"""The lines that say which attempts failed and why: all that are worth reading, and no flood of them."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence

import msgspec

from glassq.forking import begin_in_children
from glassq.model.clock import Clock
from glassq.model.events import AttemptFailed, WorkerBeat, WorkerChanged
from glassq.model.names import DEFAULT_LANE
from glassq.model.verdicts import Action
from glassq.observe.exemplars import span_of
from glassq.observe.logs import job_fields, trace_fields
from glassq.shielding import Log
from glassq.systemclock import SystemClock
from glassq.telemetry import Bus

log = Log("glassq.jobs")

STRETCH_SECONDS = 60.0
"""The time over which lines are counted, and after which it is said how many there were not."""
MOST_LINES = 10
"""Of one queue and level in that time: a partner that is down fails a job in every lane at once."""

_LONGEST_REASON = 200
"""Characters of an error's first line; the traceback below it has the rest."""


def log_failures(bus: Bus, clock: Clock | None = None) -> None:
    """Log attempts that failed: a warning while the job is tried again, an error when that comes to an end.

    A job's first failure has a line, then its second, fourth, eighth, ... and its last; of one queue and
    level there are at most `MOST_LINES` in `STRETCH_SECONDS`. How many had none is said after that time.
    """
    failures = _Failures(clock or SystemClock())
    bus.subscribe(failures.failed, AttemptFailed)
    bus.subscribe(failures.beat, WorkerBeat)
    bus.subscribe(failures.worker_changed, WorkerChanged)


class _Stretch(msgspec.Struct):
    """What was said of one queue since it began, and what was not."""

    queue: str
    began: float
    lines: dict[int, int] = {}
    held_back: int = 0
    worst: int = 0
    """The highest level of what was held back."""
    latest: str = ""


class _Failures:
    """Decides which failures are worth a line, and writes it."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        begin_in_children(self)

    def begin(self) -> None:
        """Nothing has failed in this process yet."""
        self._lock = threading.Lock()
        self._stretches: dict[str, _Stretch] = {}

    def failed(self, event: AttemptFailed) -> None:
        """An attempt failed."""
        level = logging.ERROR if event.verdict.final else logging.WARNING
        what = _what(event)
        now = self._clock.monotonic()
        _say_held_back(self._ended(now), now)
        if not self._may_say(event, level, what, now):
            return
        span = span_of(event.job_id, event.attempt, event.headers)
        log.log_remote(
            level,
            "%s; %s",
            what,
            _what_next(event),
            traceback=event.failure.traceback.rstrip() if event.ran else None,
            extra={
                **trace_fields(span),
                **job_fields(event.lease.queue, event.task or None, event.job_id, event.attempt),
                "error_type": event.failure.type,
                "verdict": str(event.verdict.action),
            },
        )

    def beat(self, _: WorkerBeat) -> None:
        """Time passes, also where nothing fails any more."""
        if self._stretches:
            now = self._clock.monotonic()
            _say_held_back(self._ended(now), now)

    def worker_changed(self, event: WorkerChanged) -> None:
        """What was held back is said while there is somebody to say it."""
        if event.state == "stopped":
            _say_held_back(self._ended(float("inf")), self._clock.monotonic())

    def _may_say(self, event: AttemptFailed, level: int, what: str, now: float) -> bool:
        retry = event.verdict.retry
        with self._lock:
            queue = event.lease.queue
            stretch = self._stretches.setdefault(queue, _Stretch(queue, now))
            said = stretch.lines.get(level, 0)
            if said < MOST_LINES and retry & (retry - 1) == 0:  # a power of two, or none
                stretch.lines[level] = said + 1
                return True
            stretch.held_back += 1
            stretch.worst = max(stretch.worst, level)
            stretch.latest = what
            return False

    def _ended(self, now: float) -> Sequence[_Stretch]:
        """The stretches that are over, taken out."""
        with self._lock:
            over = [each for each in self._stretches.values() if now - each.began >= STRETCH_SECONDS]
            for each in over:
                del self._stretches[each.queue]
        return over


def _say_held_back(stretches: Sequence[_Stretch], now: float) -> None:
    for each in stretches:
        if each.held_back:
            log.log(
                each.worst,
                "%d more attempts failed on queue %s in %.0f s, without lines of their own; the latest: %s",
                each.held_back,
                each.queue,
                now - each.began,
                each.latest,
                extra={"glassq_queue": each.queue},
            )


def _what(event: AttemptFailed) -> str:
    """Which job, and why, in one line."""
    lane = event.lease.lane
    key = "" if lane == DEFAULT_LANE else f" of key {lane}"
    reason = str(event.failure).partition("\n")[0]
    if len(reason) > _LONGEST_REASON:
        reason = f"{reason[: _LONGEST_REASON - 1]}…"
    how = f"failed in attempt {event.attempt}" if event.ran else "is not run"
    return f"job {event.job_id} ({event.task or 'unknown task'}){key} {how}: {reason}"


def _what_next(event: AttemptFailed) -> str:
    """What becomes of it, and what to do where a person has to."""
    verdict = event.verdict
    if verdict.action is Action.RETRY:
        return f"retry {verdict.retry} in {verdict.wait:g} s"
    if verdict.action is Action.BURY:
        return f"it is a dead letter now: glassq dead show {event.job_id}"
    if verdict.action is Action.HALT:
        return f"its lane is halted until a person decides: glassq halted list {event.lease.queue}"
    return "that could not be committed, so the job runs again under another lease"
