"""A strictly ordered FIFO job queue for Python that you can see through.

Names are loaded at their first use (PEP 562), so that importing glassq has no effect and costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from glassq.version import __version__

if TYPE_CHECKING:
    from glassq.app import Glassq as Glassq
    from glassq.client.injection import From as From
    from glassq.client.queues import Queue as Queue
    from glassq.client.task import AsyncTask as AsyncTask
    from glassq.client.task import Signature as Signature
    from glassq.client.task import Task as Task
    from glassq.compat.femtoqueue import FemtoQueue as FemtoQueue
    from glassq.compat.femtoqueue import FemtoTask as FemtoTask
    from glassq.compat.pyfiq import RedisQueueBackend as RedisQueueBackend
    from glassq.compat.pyfiq import threaded_worker as threaded_worker
    from glassq.context import JobContext as JobContext
    from glassq.context import current_job as current_job
    from glassq.default import ThreadedWorker as ThreadedWorker
    from glassq.default import configure as configure
    from glassq.default import fifo as fifo
    from glassq.errors import GlassqError as GlassqError
    from glassq.model.compositions import Composable as Composable
    from glassq.model.compositions import chain as chain
    from glassq.model.compositions import parallel as parallel
    from glassq.model.edges import EdgePolicy as EdgePolicy
    from glassq.model.jobs import Cancellation as Cancellation
    from glassq.model.jobs import DeadLetter as DeadLetter
    from glassq.model.jobs import Disposition as Disposition
    from glassq.model.jobs import HaltedLane as HaltedLane
    from glassq.model.jobs import HistoryEntry as HistoryEntry
    from glassq.model.jobs import JobView as JobView
    from glassq.model.jobs import PeekedJob as PeekedJob
    from glassq.model.jobs import Priority as Priority
    from glassq.model.jobs import Progress as Progress
    from glassq.model.jobs import Receipt as Receipt
    from glassq.model.jobs import ReplayedJob as ReplayedJob
    from glassq.model.names import UNORDERED as UNORDERED
    from glassq.model.upstreams import Upstreams as Upstreams
    from glassq.observe.logs import JobLogFilter as JobLogFilter
    from glassq.observe.logs import JsonFormatter as JsonFormatter
    from glassq.observe.traceoptions import TraceOptions as TraceOptions
    from glassq.policy.retry import Backoff as Backoff
    from glassq.worker.engine import Worker as Worker
    from glassq.workflows.handle import Workflow as Workflow
    from glassq.workflows.handle import WorkflowStatus as WorkflowStatus

_HOMES = {
    "AsyncTask": "glassq.client.task",
    "Backoff": "glassq.policy.retry",
    "Cancellation": "glassq.model.jobs",
    "Composable": "glassq.model.compositions",
    "DeadLetter": "glassq.model.jobs",
    "Disposition": "glassq.model.jobs",
    "EdgePolicy": "glassq.model.edges",
    "FemtoQueue": "glassq.compat.femtoqueue",
    "FemtoTask": "glassq.compat.femtoqueue",
    "From": "glassq.client.injection",
    "Glassq": "glassq.app",
    "GlassqError": "glassq.errors",
    "HaltedLane": "glassq.model.jobs",
    "HistoryEntry": "glassq.model.jobs",
    "JobContext": "glassq.context",
    "JobLogFilter": "glassq.observe.logs",
    "JobView": "glassq.model.jobs",
    "JsonFormatter": "glassq.observe.logs",
    "PeekedJob": "glassq.model.jobs",
    "Priority": "glassq.model.jobs",
    "Progress": "glassq.model.jobs",
    "Queue": "glassq.client.queues",
    "Receipt": "glassq.model.jobs",
    "RedisQueueBackend": "glassq.compat.pyfiq",
    "ReplayedJob": "glassq.model.jobs",
    "Signature": "glassq.client.task",
    "Task": "glassq.client.task",
    "ThreadedWorker": "glassq.default",
    "UNORDERED": "glassq.model.names",
    "TraceOptions": "glassq.observe.traceoptions",
    "Upstreams": "glassq.model.upstreams",
    "Worker": "glassq.worker.engine",
    "Workflow": "glassq.workflows.handle",
    "WorkflowStatus": "glassq.workflows.handle",
    "chain": "glassq.model.compositions",
    "config": "glassq.config",
    "configure": "glassq.default",
    "current_job": "glassq.context",
    "errors": "glassq.errors",
    "fifo": "glassq.default",
    "parallel": "glassq.model.compositions",
    "threaded_worker": "glassq.compat.pyfiq",
}

__all__ = [  # noqa: PLE0604 - the names are strings, just not written out twice
    "__version__",
    *sorted(_HOMES),
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'glassq' has no attribute {name!r}")
    module = import_module(home)
    return module if home == f"glassq.{name}" else getattr(module, name)


def __dir__() -> list[str]:
    return __all__
