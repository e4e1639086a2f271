"""A configuration of gunicorn whose workers run jobs beside their requests."""

from __future__ import annotations

from typing import Any


def post_worker_init(worker: Any) -> None:
    """In each worker, once it has loaded the application: threads begin after the fork."""
    from tests.integration.webserved import app

    worker.jobs = app.worker(concurrency=2).start()


def worker_exit(_server: Any, worker: Any) -> None:
    """In each worker, at its end: jobs that run are waited for, lanes given back."""
    worker.jobs.stop(drain=10)
