"""Celery, with its worker in this process (pool `solo`) and no results kept."""

from __future__ import annotations

from celery import Celery

from glassq.cli.bench.peers.trial import Steps, job


def set_up(url: str, directory: str) -> Steps:  # noqa: ARG001 - files are for those who need them
    """An application with one task."""
    app = Celery("bench", broker=url)
    app.conf.update(task_ignore_result=True, broker_connection_retry_on_startup=False)
    task = app.task(name="job")(job)
    arguments = ["worker", "--pool=solo", "--loglevel=ERROR", "--without-gossip", "--without-mingle"]
    return Steps(enqueue=task.delay, work=lambda: app.worker_main(arguments))
