"""Log records that say which trace and which job they belong to."""

from __future__ import annotations

import json
import logging
import math
import re
from datetime import UTC, datetime
from typing import Any

from opentelemetry import trace
from opentelemetry.trace import SpanContext, format_span_id, format_trace_id

from glassq.context import current_job

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}
_OURS = {
    "trace_id": "trace_id",
    "span_id": "span_id",
    "trace_flags": "trace_flags",
    "glassq_queue": "queue",
    "glassq_task": "task",
    "glassq_job_id": "job_id",
    "glassq_attempt": "attempt",
}

# Control characters that JSON leaves alone, line separators that some readers split at, marks that
# reorder what a terminal shows, and halves of surrogate pairs, which no encoding accepts.
_UNSAFE = re.compile("[\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]")


class JobLogFilter(logging.Filter):
    """Adds `trace_id`, `span_id`, `trace_flags` (lower hex; empty outside a trace) and `glassq_queue`,
    `glassq_task`, `glassq_job_id`, `glassq_attempt` (None outside a job) to every record.

    What a record says of this by itself stays: it may be about a job that has ended, or have come from
    another thread. Put it on a handler: a logger's filters do not see what its children log.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Lets everything pass."""
        fields = trace_fields(trace.get_current_span().get_span_context())
        job = current_job(None)
        fields |= job_fields(job.queue, job.task, job.id, job.attempt) if job else _NO_JOB
        for name, value in fields.items():
            vars(record).setdefault(name, value)
        return True


def trace_fields(span: SpanContext | None) -> dict[str, Any]:
    """What a record says of the span it belongs to."""
    if span is None or not span.is_valid:
        return {"trace_id": "", "span_id": "", "trace_flags": ""}
    return {
        "trace_id": format_trace_id(span.trace_id),
        "span_id": format_span_id(span.span_id),
        "trace_flags": f"{span.trace_flags:02x}",
    }


def job_fields(
    queue: str | None, task: str | None, job_id: str | None, attempt: int | None
) -> dict[str, Any]:
    """What a record says of the attempt it belongs to."""
    return {
        "glassq_queue": queue,
        "glassq_task": task,
        "glassq_job_id": job_id,
        "glassq_attempt": attempt,
    }


_NO_JOB = job_fields(None, None, None, None)


class JsonFormatter(logging.Formatter):
    """One line of JSON per record: time, level, logger, message, the ids above when they are there,
    `extra` fields, and the traceback. Nothing in it can break the line or command a terminal."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line, without a line end."""
        fields: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        given = {name: value for name, value in vars(record).items() if name not in _STANDARD}
        for name, field in _OURS.items():
            fields[field] = given.pop(name, None)
        for name, value in given.items():  # `extra` adds fields, it replaces none of the above
            fields.setdefault(name, _plain(value))
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        elif record.exc_text:  # of an exception that was raised elsewhere, and came here as text
            fields["exception"] = record.exc_text
        if record.stack_info:
            fields["stack"] = self.formatStack(record.stack_info)
        present = {name: value for name, value in fields.items() if value is not None and value != ""}
        return _UNSAFE.sub(_escaped, json.dumps(present, ensure_ascii=False))


def _plain(value: object) -> object:
    """What JSON has a form for as it is (it has none for infinity), all else as text."""
    if isinstance(value, float) and math.isfinite(value):
        return value
    return value if value is None or isinstance(value, str | int) else repr(value)


def _escaped(match: re.Match[str]) -> str:
    return f"\\u{ord(match[0]):04x}"
