"""An application as web servers load it, for both of their protocols: each request enqueues a job, and each
process runs jobs. `GLASSQ_URL` says where, `HISTORY` and `PACKED` where it is written down.

It enqueues when it is imported, so that a server that preloads it has an open store when it forks.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import parse_qs

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route

from glassq import Glassq, Receipt

app = Glassq(history=os.environ["HISTORY"])


@app.fifo("orders", key="customer", name="pack")
def pack(customer: str, number: int) -> None:
    """Write down that it was done, by whom."""
    time.sleep(0.02)
    with open(os.environ["PACKED"], "a", encoding="utf-8") as packed:  # noqa: PTH123 - appends in one write
        packed.write(f"{customer} {number} {os.getpid()}\n")


pack(f"import-{os.getpid()}", 0)


def _told(receipt: Receipt) -> dict[str, Any]:
    return {"job": receipt.id, "seq": receipt.seq, "pid": os.getpid()}


def wsgi(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """What gunicorn's own workers serve; gunicorn_works.py has them run jobs."""
    asked = parse_qs(environ["QUERY_STRING"])
    body = json.dumps(_told(pack(asked["customer"][0], int(asked["number"][0])))).encode()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]


async def _order(request: Request) -> JSONResponse:
    asked = request.query_params
    return JSONResponse(_told(await pack.aenqueue(asked["customer"], int(asked["number"]))))


asgi = Starlette(routes=[Route("/", _order), Mount("/glassq", app=app.asgi())], lifespan=app.lifespan())
