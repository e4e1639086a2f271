"""FastAPI with the worker in the same process: one thing to deploy, metrics and health below /glassq.

    uvicorn shop:web
    curl -X POST 'localhost:8000/orders/ann?item=tea'
    curl localhost:8000/glassq/metrics

Run as many of these as you like: all of them enqueue and all of them work, and the jobs of one customer still
run one after the other. Traces go where OTEL_EXPORTER_OTLP_ENDPOINT says.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from glassq import Glassq

app = Glassq()  # $GLASSQ_URL, else the file glassq.db in the working directory
app.queue("orders", max_age=60, max_blocked=30, job_timeout=10)
tracer = trace.get_tracer("shop")


@app.fifo("orders", key="customer", max_retries=3, retry_wait=2)
def pack(customer: str, item: str) -> None:
    """Runs on a thread of the worker, in the order in which the customer ordered."""
    print(f"packing {item} for {customer}", flush=True)


@asynccontextmanager
async def tracing(_: FastAPI) -> AsyncIterator[None]:
    """The application's own lifespan: begun before the worker, ended after its last job."""
    provider = TracerProvider()
    if "OTEL_EXPORTER_OTLP_ENDPOINT" in os.environ:
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        trace.set_tracer_provider(provider)
    yield
    await asyncio.to_thread(provider.shutdown)


web = FastAPI(lifespan=app.lifespan(tracing, concurrency=4))  # at the end, jobs that run are waited for
web.mount("/glassq", app.asgi())


@web.post("/orders/{customer}", status_code=202)
async def order(customer: str, item: str) -> dict[str, str | int | None]:
    """Answers as soon as the store has the job; other requests go on meanwhile, and those that come at the
    same time share its round trip."""
    with tracer.start_as_current_span("POST /orders/{customer}"):
        receipt = await pack.aenqueue(customer, item)
    return {"job": receipt.id, "number": receipt.seq}
