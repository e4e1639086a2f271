"""The application of the demo, as a user would write it: one task that delivers webhooks.

Run by `GLASSQ_URL=sqlite:///jobs.db glassq worker glassq.cli.demo.tasks:app`.
"""

from __future__ import annotations

import http.client
import os
from urllib.parse import urlsplit

import msgspec
from opentelemetry import propagate

from glassq.app import Glassq
from glassq.cli.demo.eventlog import Event
from glassq.cli.demo.settings import DEFAULT_QUEUE, QUEUE, RECEIVER, RETRY_WAIT
from glassq.context import current_job

_TIMEOUT = 10.0

# Two seconds of lease: on a store that cannot see a process die, its lanes are taken over after that.
app = Glassq(lease_seconds=2.0)


class NotDelivered(Exception):
    """When the receiver did not accept an event; the job is tried again at its place in the lane."""


@app.fifo(
    os.environ.get(QUEUE, DEFAULT_QUEUE),
    max_retries=20,
    retry_wait=RETRY_WAIT,
    key="customer",
    name="deliver",
)
def deliver(customer: str, event: Event) -> None:
    """Post one event to the receiver; any answer but 2xx raises `NotDelivered`."""
    job = current_job()
    headers = {"Content-Type": "application/json", "User-Agent": f"glassq-demo (pid {os.getpid()})"}
    # The job id is the same in every attempt: a receiver that must not act twice remembers it.
    headers |= {"Glassq-Job-Id": job.id, "Glassq-Attempt": str(job.attempt)}
    propagate.inject(headers)  # traceparent: the receiver can join the trace of the process span
    status = _post(f"/customers/{customer}/events", msgspec.json.encode(event), headers)
    if not 200 <= status < 300:
        raise NotDelivered(f"{event.id} was answered {status}")


def _post(path: str, body: bytes, headers: dict[str, str]) -> int:
    receiver = urlsplit(os.environ[RECEIVER])
    connection = http.client.HTTPConnection(str(receiver.hostname), receiver.port, timeout=_TIMEOUT)
    try:
        connection.request("POST", path, body, headers)
        return connection.getresponse().status
    finally:
        connection.close()
