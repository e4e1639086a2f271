"""Customers of the shop: some orders a second, each of which enqueues three jobs, as one trace.

    python producer.py            on 127.0.0.1:9465
    python producer.py TOKENFILE  on all interfaces, with the bearer token from that file

RATE is how many orders come in a second, 5 if not set; PORT another port than 9465.
"""

from __future__ import annotations

import itertools
import os
import random
import signal
import sys
import threading
from pathlib import Path

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from shop import STOLEN_CARD, app, charge, deliver, parcel, remind

from glassq.errors import EnqueueError, SubmitFailed

CUSTOMERS = [f"customer-{number}" for number in range(12)]
SUBSCRIBERS = ["acme", "globex", "initech", "umbrella"]
PORT = 9465


def order(number: int, chance: random.Random) -> None:
    """One customer orders: a payment now, an event to a subscriber, a reminder in a few seconds, a parcel."""
    customer = chance.choice(CUSTOMERS)
    with trace.get_tracer("shop").start_as_current_span("POST /orders"):
        charge(customer, STOLEN_CARD if number % 500 == 100 else chance.randint(100, 20_000))
        deliver(chance.choice(SUBSCRIBERS), f"order-{number}")
        if number % 4 == 0:
            app.submit(parcel(f"order-{number}"), name="parcel")
        if number % 3 == 0:
            remind.options(delay=chance.uniform(2, 8))(f"{customer}@example.org")


def main(token: str | None) -> None:
    """Order until SIGTERM or Ctrl-C."""
    provider = TracerProvider()
    if "OTEL_EXPORTER_OTLP_ENDPOINT" in os.environ:
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        trace.set_tracer_provider(provider)
    over = threading.Event()
    for stopping in (signal.SIGTERM, signal.SIGINT):
        signal.signal(stopping, lambda *_: over.set())
    pause = 1 / float(os.environ.get("RATE", "5"))
    chance = random.Random()
    with app:
        port = int(os.environ.get("PORT", PORT))
        server = app.serve_http("0.0.0.0" if token else "127.0.0.1", port, token=token)
        print(f"ordering on {app.address}; {server.url}/metrics", flush=True)
        for number in itertools.count():
            try:
                order(number, chance)
            except (EnqueueError, SubmitFailed) as error:
                print(f"order {number} was refused: {error}", flush=True)
            if over.wait(pause):
                break
    provider.shutdown()


if __name__ == "__main__":
    main(Path(sys.argv[1]).read_text(encoding="utf-8").strip() if sys.argv[1:] else None)
