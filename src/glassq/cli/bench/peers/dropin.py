"""FemtoQueue as glassq has it, in a process of its own as the peer it stands in for."""

from __future__ import annotations

import json
from typing import Any

from glassq.cli.bench.peers.trial import Steps, job
from glassq.compat.femtoqueue import FemtoQueue


def set_up(url: str, directory: str) -> Steps:  # noqa: ARG001 - there is no server
    """A queue in the directory."""
    return steps_of(FemtoQueue(directory, "bench"))


def steps_of(queue: Any) -> Steps:
    """Push, then pop and end all; the same for either class."""

    def work() -> None:
        while task := queue.pop():
            job(json.loads(task.data))
            queue.done(task)

    return Steps(enqueue=lambda number: queue.push(json.dumps(number).encode()), work=work)
