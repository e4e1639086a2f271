"""A plain script: it enqueues and ends; the jobs run later, in a worker.

    python reports.py north south              enqueues a report of each region, in order
    glassq worker reports:app --http :9464     runs them, serves /metrics and the health pages

Both send their traces where OTEL_EXPORTER_OTLP_ENDPOINT says (Jaeger: http://localhost:4318), so each call
and its execution are one trace, though the script ended long before. The script itself has no metrics: nobody
could scrape it in time. What it enqueued is counted by the store, and every worker shows that.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from opentelemetry import trace

from glassq import Glassq

app = Glassq()  # $GLASSQ_URL, else the file glassq.db in the working directory
app.queue("reports", max_age=300, job_timeout=60)


@app.fifo("reports", key="region", max_retries=3, retry_wait=5)
def write_report(region: str, month: int) -> None:
    """Months of one region are written in order; regions do not wait for each other."""
    folder = Path(os.environ.get("REPORTS", "."))
    with (folder / f"{region}.txt").open("a", encoding="utf-8") as report:
        report.write(f"month {month}\n")


def main(regions: list[str]) -> None:
    """Enqueue a quarter of each region, as one trace."""
    with trace.get_tracer("reports").start_as_current_span("quarter's end"):
        for region in regions:
            for month in (1, 2, 3):
                receipt = write_report(region, month)
                print(f"{region}, month {month}: number {receipt.seq}")


if __name__ == "__main__":
    if "OTEL_EXPORTER_OTLP_ENDPOINT" in os.environ:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        provider = TracerProvider()  # its service's name is $OTEL_SERVICE_NAME; its end flushes what is left
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        trace.set_tracer_provider(provider)
    main(sys.argv[1:])
