"""The lines about failed attempts: what they say, how many there are, and that they cannot be forged."""

from __future__ import annotations

import json
import logging

import pytest
from opentelemetry.trace import SpanContext, TraceFlags

from glassq.cli.workerlogs import TextFormatter
from glassq.model.events import AttemptFailed, WorkerBeat, WorkerChanged
from glassq.model.leases import Lease
from glassq.model.verdicts import Action, Failure, Outcome, Verdict
from glassq.observe.exemplars import remember
from glassq.observe.failures import MOST_LINES, STRETCH_SECONDS, log_failures
from glassq.observe.logs import JobLogFilter, JsonFormatter
from glassq.telemetry import Bus
from tests.unit.observing import LEASE, SAMPLED, SPAN, TRACE, UNSAMPLED, MovedClock

DECLINED = Failure("ValueError", "declined\nby the bank", "Traceback (most recent call last):\n  in charge\n")
BEAT = WorkerBeat(worker="w", at=0.0, lanes={}, lease_remaining={})


class Desk:
    """A bus with the observer on it, a clock that is moved, and failures to tell."""

    def __init__(self) -> None:
        self.bus, self.clock = Bus(), MovedClock()
        log_failures(self.bus, self.clock)

    def fail(
        self,
        action: Action = Action.RETRY,
        *,
        retry: int = 1,
        job_id: str = "orders/p:1",
        failure: Failure = DECLINED,
        ran: bool = True,
        headers: dict[str, str] | None = None,
        queue: str = "orders",
    ) -> None:
        """One attempt failed."""
        verdict = Verdict(action, "exception", 10.0 if action is Action.RETRY else 0.0)
        if action is Action.RETRY:
            verdict = Verdict(action, "exception", 10.0, retry)
        self.bus.emit(
            AttemptFailed(
                lease=Lease(queue, LEASE.lane, LEASE.token),
                task="charge",
                job_id=job_id,
                attempt=retry,
                outcome=Outcome.EXCEPTION,
                verdict=verdict,
                ran=ran,
                headers=headers or {},
                failure=failure,
            )
        )

    def wait(self, seconds: float) -> None:
        """Time passes, and the worker lives."""
        self.clock.now += seconds
        self.bus.emit(BEAT)


@pytest.fixture
def desk() -> Desk:
    """One with nothing on it yet."""
    return Desk()


def said(caplog: pytest.LogCaptureFixture) -> list[tuple[int, str]]:
    """Levels and messages so far."""
    return [(record.levelno, record.getMessage()) for record in caplog.records]


@pytest.mark.parametrize(
    ("action", "level", "what_next"),
    [
        (Action.RETRY, logging.WARNING, "retry 1 in 10 s"),
        (Action.BURY, logging.ERROR, "it is a dead letter now: glassq dead show orders/p:1"),
        (Action.HALT, logging.ERROR, "its lane is halted until a person decides: glassq halted list orders"),
        (
            Action.DROP,
            logging.WARNING,
            "that could not be committed, so the job runs again under another lease",
        ),
    ],
)
def test_a_line_says_what_failed_why_and_what_is_next(
    desk: Desk, caplog: pytest.LogCaptureFixture, action: Action, level: int, what_next: str
) -> None:
    """A warning while it goes on by itself, an error where a person is needed, with what to type."""
    desk.fail(action)
    line = f"job orders/p:1 (charge) of key c-7 failed in attempt 1: ValueError: declined; {what_next}"
    assert said(caplog) == [(level, line)]


def test_the_traceback_stands_where_that_of_an_exception_does(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    """Any formatter writes it below the line, ours as the field `exception`; job and trace are on the record,
    although nothing of either is current any more."""
    desk.fail(headers=SAMPLED)
    (record,) = caplog.records
    JobLogFilter().filter(record)
    assert logging.Formatter().format(record).endswith("\nTraceback (most recent call last):\n  in charge")
    fields = json.loads(JsonFormatter().format(record))
    assert fields["exception"] == "Traceback (most recent call last):\n  in charge"
    assert {name: fields[name] for name in ("trace_id", "span_id", "trace_flags")} == {
        "trace_id": TRACE,
        "span_id": SPAN,
        "trace_flags": "01",
    }
    job = {"queue": "orders", "task": "charge", "job_id": "orders/p:1", "attempt": 1}
    assert {name: fields[name] for name in job} == job
    assert (fields["error_type"], fields["verdict"]) == ("ValueError", "retry")


def test_the_span_is_that_of_the_attempt_and_needs_no_sampling(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    """The process span when it ran in this thread; lines carry the ids of traces that nobody kept, too."""
    remember("orders/p:traced", 1, SpanContext(0xABC, 0xDEF, is_remote=False, trace_flags=TraceFlags(0)))
    desk.fail(headers=SAMPLED, job_id="orders/p:traced")
    desk.fail(headers=UNSAMPLED, job_id="orders/p:2")
    ids = [(vars(each)["span_id"], vars(each)["trace_flags"]) for each in caplog.records]
    assert ids == [("def".zfill(16), "00"), (SPAN, "00")]


def test_a_job_that_could_not_be_run_has_no_traceback(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    """Its error is glassq's own, and the line says it all."""
    desk.fail(Action.HALT, ran=False, failure=Failure("UnknownTask", "no such task", "Traceback"))
    (record,) = caplog.records
    assert record.exc_text is None
    assert "(charge) of key c-7 is not run: UnknownTask: no such task" in record.getMessage()


def test_a_job_that_is_tried_for_ever_is_heard_of_ever_more_seldom(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    """A line for its 1st, 2nd, 4th, 8th ... failure, and once a minute how many had none."""
    for retry in range(1, 101):
        desk.fail(retry=retry)
        desk.wait(1.0)
    lines = [message for _, message in said(caplog)]
    own = [line.rpartition("; ")[2] for line in lines if line.startswith("job ")]
    assert own == [f"retry {retry} in 10 s" for retry in (1, 2, 4, 8, 16, 32, 64)]
    (summary,) = [line for line in lines if not line.startswith("job ")]
    assert summary == (
        "54 more attempts failed on queue orders in 60 s, without lines of their own; the latest: "
        "job orders/p:1 (charge) of key c-7 failed in attempt 60: ValueError: declined"
    )


def test_many_jobs_failing_at_once_do_not_flood(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    """Of one queue and level at most so many lines; another queue, and what was given up, are heard of."""
    for number in range(1000):
        desk.fail(job_id=f"orders/p:{number}")
    desk.fail(queue="mails")
    desk.fail(Action.BURY)
    lines = said(caplog)
    assert [level for level, _ in lines].count(logging.WARNING) == MOST_LINES + 1
    assert [level for level, _ in lines].count(logging.ERROR) == 1
    desk.wait(STRETCH_SECONDS)
    assert said(caplog)[-1][1].startswith(f"{1000 - MOST_LINES} more attempts failed on queue orders in ")
    assert len(said(caplog)) == len(lines) + 1
    desk.fail()
    assert len(said(caplog)) == len(lines) + 2


def test_whoever_hears_errors_alone_hears_how_many(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    """What was held back is said at the level of the worst of it."""
    desk.fail()
    for number in range(MOST_LINES + 5):
        desk.fail(Action.BURY, job_id=f"orders/p:{number}")
    desk.wait(STRETCH_SECONDS)
    level, line = said(caplog)[-1]
    assert (level, line.partition(" on ")[0]) == (logging.ERROR, "5 more attempts failed")


def test_nothing_is_held_back_in_silence(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    """A worker that stops says it at once; where nothing fails any more, its beat does."""
    for number in range(MOST_LINES + 3):
        desk.fail(job_id=f"orders/p:{number}")
    caplog.clear()
    desk.wait(STRETCH_SECONDS / 2)
    assert not caplog.records
    desk.bus.emit(WorkerChanged(worker="w", state="stopped"))
    ((level, line),) = said(caplog)
    assert (level, line.partition(" on ")[0]) == (logging.WARNING, "3 more attempts failed")


def test_an_errors_text_forges_no_line_and_commands_no_terminal(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither in its message nor in its traceback, in both formats of a worker; and the line is short."""
    evil = "x" * 9000 + "\x1b[31m\r\n2026-01-01 00:00:00,000 INFO    glassq: all is well"
    desk.fail(failure=Failure("ValueError", "\x1b[2J" + evil, f"Traceback\nValueError: {evil}"))
    (record,) = caplog.records
    assert len(record.getMessage()) < 400
    JobLogFilter().filter(record)
    assert JsonFormatter().format(record).isprintable()
    first, *others = TextFormatter().format(record).split("\n")
    assert "ValueError: \\x1b[2Jxxx" in first
    assert len(others) == 3
    assert all(line.startswith("    ") and line.isprintable() for line in (*others, "    " + first))
