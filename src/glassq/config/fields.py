"""The table: every field of a configuration, once. The reference, the checks and the variables come from it.

A field of a queue, a worker or a task's retries has the name of the option that it becomes in code, and is
checked by that option's own check; its default is read from there, too. Another option is another row.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from glassq.config.kinds import BYTES, NUMBER, SECONDS, TEXT, TRUTH, WHOLE, keyed, one_of
from glassq.config.shapes import ByName, Either, Field, Group, InOrder, Several
from glassq.errors import BadOption
from glassq.model.names import check_name
from glassq.policy.retry import Backoff
from glassq.registry import QueueOptions, TaskDefaults, check_queue_option, check_task_option
from glassq.stores.open import locate
from glassq.web.server import MAX_PORT
from glassq.worker.options import WorkerOptions

DEFAULT_HOST = "127.0.0.1"
DEFAULT_DRAIN = 10.0
"""Seconds that running attempts get to end when the process is stopped."""

_TARGET = re.compile(r"[^\s:]+:[^\s:]+\Z")


def _of(options: type[msgspec.Struct]) -> dict[str, Any]:
    """The defaults of a record of options, by name."""
    return {field.name: field.default for field in msgspec.structs.fields(options)}


_WORKER, _QUEUE, _TASK, _BACKOFF = _of(WorkerOptions), _of(QueueOptions), _of(TaskDefaults), _of(Backoff)


def wait_of(value: float | dict[str, float]) -> float | Backoff:
    """The option that a field `retry_wait` becomes."""
    return Backoff(**value) if isinstance(value, dict) else value


def check_target(option: str, value: str) -> None:
    """`BadOption` unless a text has the form `MODULE:APP`."""
    if not _TARGET.match(value):
        raise BadOption(
            option, "is MODULE:APP, for example shop.jobs:app for `app = Glassq()` in shop/jobs.py"
        )


def worker_options(worker: Mapping[str, Any]) -> dict[str, Any]:
    """The options of `app.worker` that a worker's fields become."""
    return {
        field: tuple(value) if isinstance(value, list) else value
        for field, value in worker.items()
        if field != "name"
    }


def _check_worker(worker: Mapping[str, Any]) -> None:
    WorkerOptions(**worker_options(worker))


def _check_queues(option: str, value: list[str]) -> None:
    if not value:
        raise BadOption(option, "names no queue; leave it out to serve all queues of the application")
    for name, times in Counter(value).items():
        if times > 1:
            raise BadOption(option, f"names {name} twice")


def _check_port(option: str, value: int) -> None:
    if not 0 <= value <= MAX_PORT:
        raise BadOption(option, f"is a port, from 0 (any free one) to {MAX_PORT}, got {value}")


def _check_file(option: str, value: str) -> None:
    if not value or "\0" in value or Path(value).is_dir():
        raise BadOption(option, f"is the path of a file, got {value!r}")


STORE = Group(
    (
        Field(
            "url",
            TEXT,
            "Where the jobs are: `redis://localhost:6379/0`, `sqlite:///jobs.db`. Takes the place of the one "
            "in the application's code.",
            "the application's own",
            check=lambda _, url: locate(url),
            also=("redis_url", "broker_url", "dsn"),
            masked=lambda url: locate(url).address,
        ),
        Field(
            "lease_seconds",
            SECONDS,
            "How long a worker that fell silent keeps its lanes; from 1.",
            "the application's own (15)",
            lambda _, seconds: WorkerOptions(lease_seconds=seconds),
            also=("lease",),
        ),
        Field(
            "node_id",
            TEXT,
            "A stable name of this instance; when it comes back it takes its own lanes over at once. Two "
            "live instances must not share one.",
            "the application's own",
            check_name,
            also=("id", "node"),
        ),
    )
)

BACKOFF = Group(
    (
        Field("first", SECONDS, "The first wait.", _BACKOFF["first"]),
        Field(
            "factor",
            NUMBER,
            "By how much each wait is longer than the one before; from 1.",
            _BACKOFF["factor"],
        ),
        Field("cap", SECONDS, "The longest wait.", _BACKOFF["cap"]),
        Field("jitter", NUMBER, "The part of each wait that is random, from 0 to 1.", _BACKOFF["jitter"]),
    )
)

RETRIES = Group(
    (
        Field(
            "max_retries",
            WHOLE,
            "How often a failed job is tried again; -1 for ever.",
            _TASK["max_retries"],
            check_task_option,
            also=("default_max_retries", "retries"),
        ),
        Field(
            "retry_wait",
            Either(SECONDS, BACKOFF),
            "The wait before each of them, or a mapping for waits that grow.",
            _TASK["retry_wait"],
            lambda option, value: check_task_option(option, wait_of(value)),
            also=("delay", "backoff"),
        ),
        Field(
            "on_exhausted",
            one_of("bury", "halt"),
            "What becomes of a job that failed too often: given up, or its lane waits for a human.",
            _TASK["on_exhausted"],
        ),
    )
)

HTTP = Group(
    (
        Field("port", WHOLE, "The port; 0 takes any free one.", check=_check_port, required=True),
        Field(
            "host",
            TEXT,
            "The address. Others than loopback need a token.",
            DEFAULT_HOST,
            also=("bind", "address"),
        ),
        Field(
            "token",
            TEXT,
            "The bearer token for `/metrics` and details, best as `${NAME}`.",
            "`$GLASSQ_HTTP_TOKEN`",
            masked=lambda _: "***",
        ),
        Field("token_file", TEXT, "A file that has the token in one line.", check=_check_file),
    )
)

LOG = Group(
    (
        Field("level", one_of("debug", "info", "warning", "error"), "The least that is logged.", "info"),
        Field("format", one_of("text", "json"), "Lines for people, or one JSON object a line.", "text"),
    )
)

QUEUE = Group(
    (
        Field(
            "on_unknown",
            one_of("halt", "bury"),
            "What becomes of a job whose task is unknown or that cannot be decoded.",
            _QUEUE["on_unknown"],
        ),
        Field(
            "max_length",
            WHOLE,
            "Unsettled jobs the queue takes at most.",
            "no limit",
            check_queue_option,
            also=("capacity", "max_size", "max_depth"),
        ),
        Field(
            "full_wait",
            SECONDS,
            "How long a call waits for room in a full queue before it raises `QueueFull`.",
            _QUEUE["full_wait"],
            check_queue_option,
        ),
        Field(
            "max_payload",
            BYTES,
            "Serialized arguments a call may have.",
            _QUEUE["max_payload"],
            check_queue_option,
        ),
        Field(
            "durability",
            TEXT,
            "`memory`, or `replicated:N`: a call returns when N replicas have the job.",
            _QUEUE["durability"],
            check_queue_option,
        ),
        Field(
            "shards",
            WHOLE,
            "Into how many shards the queue is cut, while it is empty; a key always lives in one.",
            "as the store remembers it (1)",
            check_queue_option,
        ),
        Field(
            "turn",
            WHOLE,
            "Jobs one lane may run before it goes behind others that wait. More trades fairness for rate.",
            _QUEUE["turn"],
            check_queue_option,
            also=("batch",),
        ),
        Field(
            "slots",
            WHOLE,
            "Lanes of this queue that each worker runs at the same time at most.",
            "all but one of a worker with other queues",
            check_queue_option,
        ),
        Field(
            "weights",
            keyed(WHOLE),
            "Turns a key gets for one of another key, by key.",
            "1 each",
            check_queue_option,
        ),
        Field(
            "max_age",
            SECONDS,
            "Objective: within which a job is settled; one of the histograms' bounds (5, 10, 30, 60, ...).",
            "none",
            check_queue_option,
        ),
        Field(
            "max_blocked",
            SECONDS,
            "Objective: for which a head that fails may hold up its lane.",
            "none",
            check_queue_option,
        ),
        Field(
            "job_timeout",
            SECONDS,
            "Objective: within which an attempt ends; it ends none.",
            "none",
            check_queue_option,
        ),
    )
)

WORKER = Group(
    (
        Field(
            "name",
            TEXT,
            "What messages, `--only` and variables call it.",
            None,
            check_name,
            ("id",),
            required=True,
        ),
        Field(
            "queues",
            Several(TEXT, check_name),
            "The queues it serves.",
            "all of the application",
            _check_queues,
        ),
        Field(
            "concurrency",
            WHOLE,
            "Lanes that run at the same time, one thread each.",
            _WORKER["concurrency"],
            also=("slots", "threads", "max_concurrent_tasks", "processes"),
        ),
        Field(
            "lease_seconds",
            SECONDS,
            "Its own length of a lease.",
            "that of `store`",
        ),
        Field(
            "assigned",
            Several(TEXT),
            "Keys, or patterns of keys, that it serves first.",
            "none",
            also=("assigned_users", "keys"),
        ),
        Field(
            "steal_from",
            Several(TEXT),
            "Keys, or patterns of keys, that it serves when its own have nothing ready.",
            "none",
            also=("steal_targets", "steal"),
        ),
        Field("exclusive", TRUTH, "Serve no other keys than those.", _WORKER["exclusive"]),
        Field(
            "schedules",
            TRUTH,
            "Whether it may lead the schedules. One of all workers of a store that may does.",
            default=True,
        ),
        Field("window", WHOLE, "Jobs read ahead per lane.", _WORKER["window"], also=("prefetch",)),
        Field(
            "max_in_flight",
            WHOLE,
            "Jobs of one lane that may have begun and are not known to be settled, with the one that runs.",
            _WORKER["max_in_flight"],
        ),
        Field(
            "max_crashes",
            WHOLE,
            "Deaths of a worker while running one job, after which the job is given up.",
            _WORKER["max_crashes"],
        ),
        Field(
            "callback_timeout",
            SECONDS,
            "A callback that runs longer is reported in the log.",
            _WORKER["callback_timeout"],
        ),
    ),
    check=_check_worker,
)

CONFIGURATION = Group(
    (
        Field(
            "app",
            TEXT,
            "The application, as MODULE:APP; the first word of `glassq worker` goes before it.",
            check=check_target,
            also=("application", "target"),
        ),
        Field("store", STORE, "Where the jobs are.", also=("redis", "storage", "database")),
        Field("retries", RETRIES, "What holds for tasks whose decorators leave it out.", also=("retry",)),
        Field(
            "result_ttl",
            SECONDS,
            "How long results and histories are kept, of tasks whose decorators leave it out; 0 not at all.",
            _TASK["result_ttl"],
            check_task_option,
            also=("result_expires", "keep_result"),
        ),
        Field(
            "queues",
            ByName(QUEUE, check_name),
            "The options of queues, by the queue's name.",
            also=("queue",),
        ),
        Field(
            "workers",
            InOrder(WORKER),
            "The workers of the process.",
            "one that serves all queues",
            also=("worker",),
        ),
        Field(
            "http", HTTP, "Serve `/metrics` and the health pages.", "not served", also=("metrics", "health")
        ),
        Field(
            "health_file",
            TEXT,
            "Keep this file fresh for `glassq health`.",
            "none",
            _check_file,
        ),
        Field(
            "drain",
            SECONDS,
            "How long running attempts get to end when the process is stopped.",
            DEFAULT_DRAIN,
            also=("graceful_shutdown_timeout", "shutdown_timeout"),
        ),
        Field("log", LOG, "The log of the process.", also=("logging",)),
    )
)
