"""The log of a worker process: to standard error, every line with the job and trace it belongs to."""

from __future__ import annotations

import logging

from glassq.cli.escaping import printable_lines
from glassq.observe.logs import JobLogFilter, JsonFormatter


class TextFormatter(logging.Formatter):
    """For people: time, level, logger, message, and in brackets the ids that are there. A traceback follows
    on lines of its own, set in: no error's text can pass for a line of the log, or command a terminal."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(name)s: %(message)s%(where)s")

    def format(self, record: logging.LogRecord) -> str:
        """The record as text, without a line end."""
        job, trace = getattr(record, "glassq_job_id", None), getattr(record, "trace_id", "")
        ids = [f"job {job}"] if job else []
        ids += [f"trace {trace}"] if trace else []
        record.where = f" [{', '.join(ids)}]" if ids else ""
        return printable_lines(super().format(record)).replace("\n", "\n    ")


def install_logging(level: str, form: str) -> None:
    """Send everything from `level` up to standard error, as `text` or as `json` (one object a line)."""
    handler = logging.StreamHandler()
    # On the handler, not on a logger: a logger's filters do not see what its children log.
    handler.addFilter(JobLogFilter())
    handler.setFormatter(JsonFormatter() if form == "json" else TextFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
