"""Flask under gunicorn: web processes that are forked and only enqueue, and a worker beside them.

    gunicorn --config gunicorn_conf.py shop:web
    glassq worker shop:app --http 127.0.0.1:9464
    curl -X POST 'localhost:8000/orders/ann?item=tea'
    curl localhost:9464/metrics

Or nothing beside them: WORK_HERE=1 gunicorn --config gunicorn_conf.py shop:web

A forked web process is not scraped: a request for /metrics would reach any one of them. Nothing is lost by
that. What all of them enqueued is counted by the store, in the transaction that accepts the job, and the
worker shows it as glassq_queue_enqueued_total.
"""

from __future__ import annotations

import os

from flask import Flask, request
from opentelemetry import trace

from glassq import Glassq

app = Glassq()  # $GLASSQ_URL, else the file glassq.db in the working directory
app.queue("orders", max_age=60, max_blocked=30, job_timeout=10)
web = Flask(__name__)
tracer = trace.get_tracer("shop")


@app.fifo("orders", key="customer", max_retries=3, retry_wait=2)
def pack(customer: str, item: str) -> None:
    """Runs in the worker, in the order in which the customer ordered, whichever process took the order."""
    print(f"packing {item} for {customer}", flush=True)


@web.post("/orders/<customer>")
def order(customer: str) -> tuple[dict[str, str | int | None], int]:
    """Answers as soon as the store has the job."""
    with tracer.start_as_current_span("POST /orders/<customer>"):
        receipt = pack(customer, request.args["item"])
    return {"job": receipt.id, "number": receipt.seq, "process": os.getpid()}, 202
