"""A WSGI application as servers preload it: imported, and used, in the parent; its workers are forked."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable
from typing import Any

from tests.chaos.program import QUEUE, app, plain

FIRST = [plain("parent", number, 0.0).seq for number in range(10)]
"""Enqueued while the server loads the application, before it forks."""

_lock = threading.Lock()
_started: list[object] = []


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Each request enqueues two jobs, the first one in a process starts its worker; answers with receipts."""
    with _lock:
        if not _started:
            _started.append(app.worker(queues=[QUEUE], concurrency=2).start())
    number = int(environ["QUERY_STRING"])
    receipts = [plain(key, number, 0.0) for key in ("web", f"web-{number % 3}")]
    body = json.dumps([(receipt.id, receipt.seq) for receipt in receipts]).encode()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]
