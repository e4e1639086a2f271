"""The producing process: plays the event log back into the queue at an even pace.

    python -m glassq.cli.demo.producer SECONDS

Prints the id of each event once it is enqueued, and ends.
"""

from __future__ import annotations

import sys
import time

from glassq.cli.demo.eventlog import read_events
from glassq.cli.demo.tasks import app, deliver
from glassq.observe.exporting import export_traces_from_environment


def produce(seconds: float) -> None:
    """Enqueue every event of the log, spread evenly over this many seconds."""
    events = read_events()
    started = time.monotonic()
    for number, event in enumerate(events):
        due = started + seconds * number / len(events)
        time.sleep(max(0.0, due - time.monotonic()))
        deliver(event.customer, event)
        print(event.id, flush=True)


def main() -> None:
    """As a process of its own, so that a trace really crosses from one process to another."""
    flush = export_traces_from_environment()
    try:
        produce(float(sys.argv[1]))
    finally:
        app.close()
        if flush is not None:
            flush()


if __name__ == "__main__":
    main()
