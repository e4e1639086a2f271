"""A program under test: its tasks write what they do into a log that several processes share.

Run as `ledger.py ROLE [ARGUMENTS]` with `GLASSQ_URL` and `LEDGER` (the log) in the environment.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from glassq import Glassq, current_job
from glassq.errors import EnqueueUncertain, StorageError
from glassq.model.events import WorkerChanged

app = Glassq(lease_seconds=float(os.environ.get("LEASE", "15")), node_id=os.environ.get("NODE"))


def note(**entry: Any) -> None:
    """One line, one write: whole lines also from processes that are killed."""
    line = json.dumps({"pid": os.getpid(), "at": time.monotonic(), **entry}) + "\n"
    descriptor = os.open(os.environ["LEDGER"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(descriptor, line.encode())
    os.close(descriptor)


def entries(path: Path, *events: str) -> list[dict[str, Any]]:
    """The log so far, or only these events of it."""
    text = path.read_text() if path.exists() else ""
    # A reader may see the beginning of a line that is being written at this moment.
    lines = text[: text.rfind("\n") + 1].splitlines()
    parsed = [json.loads(line) for line in lines]
    return [entry for entry in parsed if not events or entry["event"] in events]


KEEP = float(os.environ["KEEP"]) if "KEEP" in os.environ else None


@app.fifo("ledger", key="key", name="write", result_ttl=KEEP)
def write(key: str | None, number: int, seconds: float) -> list[int]:
    """Note the start, take a while, note the end; returns which attempt that was, and of which process."""
    job = current_job()
    note(event="start", key=key, n=number, seq=job.seq, id=job.id, attempt=job.attempt, token=job.token)
    time.sleep(seconds)
    note(event="end", key=key, n=number, seq=job.seq, id=job.id, attempt=job.attempt)
    return [os.getpid(), job.attempt]


@app.fifo("forks", name="fork")
def fork() -> None:
    """Fork and let the child return from the task as well: it must settle nothing."""
    job = current_job()
    child = os.fork()
    note(event="child" if child == 0 else "parent", id=job.id)
    if child:
        os.waitpid(child, 0)
        note(event="child_gone", id=job.id)


@app.fifo("ledger", name="poison")
def poison() -> None:
    """Take the whole worker process down."""
    os._exit(66)


def produce(producer: str, count: str, seconds: str, keys: str) -> None:
    """Enqueue `count` jobs over `keys` keys (0: no key) and note each receipt."""
    for number in range(int(count)):
        key = f"{producer}-{number % int(keys)}" if int(keys) else None
        receipt = write(key, number, float(seconds))
        note(event="enqueued", id=receipt.id, seq=receipt.seq, n=number, key=key)


def insist(producer: str, count: str, seconds: str) -> None:
    """Enqueue `count` jobs, come what may: note for each the receipt or the error it got."""
    for number in range(int(count)):
        try:
            receipt = write(None, number, float(seconds))
        except EnqueueUncertain as error:
            note(event="uncertain", id=error.job_id, producer=producer)
        except StorageError as error:
            note(event="refused", n=number, error=str(error), producer=producer)
            time.sleep(0.05)
        else:
            note(event="enqueued", id=receipt.id, seq=receipt.seq, n=number, producer=producer)


def note_up(event: WorkerChanged) -> None:
    """It hears signals and rings from here on, and sees others die."""
    if event.state == "running":
        note(event="up")


def work(concurrency: str = "4", drain: str = "10") -> int:
    """A worker process, until a signal."""
    worker = app.worker(concurrency=int(concurrency))
    app.bus.subscribe(note_up, WorkerChanged)
    clean = worker.run(drain=float(drain))
    note(event="down", clean=clean)
    return 0 if clean else 1


if __name__ == "__main__":
    role, *arguments = sys.argv[1:]
    if role == "work":
        sys.exit(work(*arguments))
    roles: dict[str, Callable[..., Any]] = {
        "produce": produce,
        "insist": insist,
        "fork": fork,
        "poison": poison,
    }
    roles[role](*arguments)
