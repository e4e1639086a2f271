"""glassq itself, in a process of its own as the peers it is compared with; metrics on."""

from __future__ import annotations

from prometheus_client import CollectorRegistry

from glassq.app import Glassq
from glassq.cli.bench.ours import QUEUE
from glassq.cli.bench.peers.trial import Steps, job


def set_up(url: str, directory: str) -> Steps:  # noqa: ARG001 - the URL says where
    """One task; the store is open before its first call."""
    app = Glassq(url, registry=CollectorRegistry())
    noop = app.fifo(QUEUE, name="noop")(job)
    app.storage.stats([QUEUE])
    return Steps(enqueue=noop, work=lambda: app.worker().start())
