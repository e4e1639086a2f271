from __future__ import annotations

import json
import logging
import sys
from typing import Any

import pytest
from opentelemetry import context, trace

from glassq.context import JobContext, running_job
from glassq.observe.logs import JobLogFilter, JsonFormatter


def record(message: str = "paid", *arguments: object, **extra: object) -> logging.LogRecord:
    """A record as a handler gets it, with the filter applied."""
    made = logging.getLogger("shop").makeRecord(
        "shop", logging.INFO, "shop.py", 1, message, arguments, None, extra=extra or None
    )
    assert JobLogFilter().filter(made)
    return made


def line(made: logging.LogRecord) -> dict[str, Any]:
    """The record as a reader of the log gets it."""
    text = JsonFormatter().format(made)
    assert text.isprintable()
    fields: dict[str, Any] = json.loads(text)
    return fields


def test_records_inside_a_job_say_which() -> None:
    """Queue, task, job and attempt are on the record, under names of our own, and in the JSON."""
    job = JobContext(
        id="orders/p:1",
        queue="orders",
        task="shop.charge",
        key=None,
        seq=1,
        attempt=2,
        token=41,
        enqueued_at=0.0,
        _check=lambda _: None,
    )
    token = running_job.set(job)
    try:
        made = record()
    finally:
        running_job.reset(token)
    assert vars(made)["glassq_job_id"] == "orders/p:1"
    fields = line(made)
    ours = {name: fields[name] for name in ("queue", "task", "job_id", "attempt")}
    assert ours == {"queue": "orders", "task": "shop.charge", "job_id": "orders/p:1", "attempt": 2}


def test_records_inside_a_trace_say_which() -> None:
    """Ids in lower hex and of full width, as tracing systems show them."""
    span = trace.NonRecordingSpan(
        trace.SpanContext(0xABC, 0xDEF, is_remote=False, trace_flags=trace.TraceFlags(1))
    )
    token = context.attach(trace.set_span_in_context(span))
    try:
        made = record()
    finally:
        context.detach(token)
    fields = line(made)
    assert fields["trace_id"] == "abc".zfill(32)
    assert fields["span_id"] == "def".zfill(16)
    assert fields["trace_flags"] == "01"


def test_records_elsewhere_have_the_fields_and_no_values() -> None:
    """A format string may name them always; JSON leaves them out."""
    made = record()
    assert logging.Formatter("[%(trace_id)s%(span_id)s] %(glassq_job_id)s").format(made) == "[] None"
    assert set(line(made)) == {"time", "level", "logger", "message"}


def test_a_line_says_when_in_utc() -> None:
    """Lines of several machines can be sorted as text."""
    made = record()
    made.created = 1.5
    assert line(made)["time"] == "1970-01-01T00:00:01.500+00:00"


@pytest.mark.parametrize(
    "text",
    [
        "\x1b[2J\x1b]0;owned\x07",
        "two\nlines\r",
        "\x00\x7f\x85\x9b",
        "para\u2029graph line\u2028",
        "\u202eexe.txt \u2066\u2069\u200b\ufeff",
        "\ud800 half a pair",
    ],
)
def test_nothing_in_a_record_commands_a_terminal_or_breaks_a_line(text: str) -> None:
    """Message, extra fields and names come out escaped, and come back as they were."""
    made = record("%s", text, note=text, **{text: 1})
    fields = line(made)
    assert fields["message"] == fields["note"] == text
    assert fields[text] == 1
    assert JsonFormatter().format(made).encode()


def test_text_of_all_languages_stays_readable() -> None:
    """Only what is dangerous is escaped."""
    assert "Gruß, 世界" in JsonFormatter().format(record("Gruß, 世界"))


def test_extra_fields_are_kept_and_replace_nothing() -> None:
    """Numbers stay numbers, what JSON has no form for becomes text, and ours win over equal names."""
    fields = line(record(cents=500, ratio=0.5, bad=float("nan"), level="fake", where={"a": 1}))
    assert (fields["cents"], fields["ratio"], fields["bad"]) == (500, 0.5, "nan")
    assert fields["level"] == "INFO"
    assert fields["where"] == "{'a': 1}"


def test_a_traceback_is_part_of_the_line() -> None:
    """One record stays one line."""
    made = record()
    try:
        raise ValueError("declined")
    except ValueError:
        made.exc_info = sys.exc_info()
    assert "ValueError: declined" in line(made)["exception"]
