"""The processes that the benchmark starts beside its own: `python -m glassq.cli.bench.program`.

The order is one JSON object in the environment, as a URL may hold a password. What a process has to say it
prints, one JSON document a line.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from typing import Literal

import msgspec
import redis
from opentelemetry import trace
from prometheus_client import CollectorRegistry

from glassq.app import Glassq
from glassq.cli.bench import loops
from glassq.cli.bench.bare import fill_and_process_unseen
from glassq.cli.bench.meters import Timed
from glassq.cli.bench.ours import Ours
from glassq.cli.bench.resident import resident_bytes
from glassq.cli.bench.soaking import soak
from glassq.client.task import Task

ORDER = "GLASSQ_BENCH_ORDER"
"""Environment variable with what to do."""

ECHO_QUEUE = "echo"
RECORD_QUEUE = "record"
RECORD_BYTES = 16
"""Each job of a kill trial writes one line of this length, so that the size of the file counts them. No line
stands in two pages of memory: of one that does, a kill or a look may come between its halves."""

READY = '"ready"'
"""What a worker prints when it takes jobs, or waits to be told."""

BEGIN = signal.SIGUSR1
"""What tells a process that it is its turn to measure."""


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What a process is to do, and with how much. `path`: the file a kill trial is noted in."""

    do: Literal["echo", "hear", "record", "idle", "seen", "unseen", "traced", "lanes", "soak"]
    url: str
    jobs: int = 0
    lanes: int = 1
    queues: int = 0
    seconds: float = 0.0
    path: str = ""
    stream: str = ""
    """What the bare listener waits at."""
    server: str = ""
    """The URL of the server itself, for those who ask about it."""


class Answer(msgspec.Struct, frozen=True):
    """What a process that measures by itself found: its run, and its resident memory after it."""

    timed: Timed
    resident: int


def echoing(url: str) -> tuple[Glassq, Task[[float], None]]:
    """An application whose task prints how many seconds ago it was called."""
    app = Glassq(url, registry=CollectorRegistry())

    @app.fifo(ECHO_QUEUE, name="echo")
    def echo(called: float) -> None:
        _say(time.monotonic() - called)

    return app, echo


def recording(url: str, path: str) -> tuple[Glassq, Task[[int], None]]:
    """An application whose task appends its number to a file. Its node comes back under the same name, so
    that it takes its own lanes over at once."""
    app = Glassq(url, registry=CollectorRegistry(), node_id="bench-recorder")
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    @app.fifo(RECORD_QUEUE, name="record")
    def record(number: int) -> None:
        os.write(file, f"{number:0{RECORD_BYTES - 1}d}\n".encode())

    return app, record


def main() -> None:
    """Carry out the order."""
    order = msgspec.json.decode(os.environ[ORDER], type=Order)
    match order.do:
        case "echo":
            _serve(echoing(order.url)[0])
        case "hear":
            _hear(order)
        case "record":
            _serve(recording(order.url, order.path)[0])
        case "idle":
            _idle(order)
        case "soak":
            _say(list(soak(order.url, order.server, order.lanes, order.seconds)))
        case "lanes":
            _say(Answer(_fill_and_process(order.url, order.jobs, order.lanes), resident_bytes()))
        case "seen" | "unseen" | "traced":
            _again(order)


def _serve(app: Glassq) -> None:
    """Work until SIGTERM."""
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    with app, app.worker():
        print(READY, flush=True)
        ended.wait()


def _hear(order: Order) -> None:
    """Say how many seconds ago it was rung, each time; until SIGTERM ends the process."""
    with redis.Redis.from_url(order.url) as client:
        print(READY, flush=True)
        for rung in loops.hear(client, order.stream):
            _say(time.monotonic() - rung)


def _idle(order: Order) -> None:
    """CPU of a worker that has nothing to do, as a share of a core in percent."""
    with Glassq(order.url, registry=CollectorRegistry()) as app:
        for number in range(order.queues):
            app.queue(f"idle-{number}")
        with app.worker():
            time.sleep(min(1.0, order.seconds))  # what starting costs is not idling
            cpu, wall = time.process_time(), time.monotonic()
            time.sleep(order.seconds)
            _say((time.process_time() - cpu) / (time.monotonic() - wall) * 100)


def _again(order: Order) -> None:
    """Do it whenever `BEGIN` says so; until SIGTERM ends the process."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {BEGIN})  # by all threads to come, too
    if order.do == "traced":
        _record_every_span()
    measure = fill_and_process_unseen if order.do == "unseen" else _fill_and_process
    print(READY, flush=True)
    while True:
        signal.sigwait({BEGIN})
        _say(measure(order.url, order.jobs))


def _fill_and_process(url: str, jobs: int, lanes: int = 1) -> Timed:
    with Ours(url) as ours:
        return ours.fill_and_process(jobs, lanes)


def _record_every_span() -> None:
    """A provider that records every span and exports batches to nowhere: the library's part of the cost."""
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

    class Nowhere(SpanExporter):
        def export(self, spans: object) -> SpanExportResult:
            del spans
            return SpanExportResult.SUCCESS

    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(Nowhere()))
    trace.set_tracer_provider(provider)


def _say(value: object) -> None:
    print(msgspec.json.encode(value).decode(), flush=True)


if __name__ == "__main__":
    main()
