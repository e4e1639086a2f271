"""femtoqueue: a directory of files."""

from __future__ import annotations

import json

from femtoqueue import FemtoQueue

from glassq.cli.bench.peers.trial import Steps, job


def set_up(url: str, directory: str) -> Steps:  # noqa: ARG001 - there is no server
    """A queue in the directory."""
    queue = FemtoQueue(directory, "bench")

    def work() -> None:
        while task := queue.pop():
            job(json.loads(task.data))
            queue.done(task)

    return Steps(enqueue=lambda number: queue.push(json.dumps(number).encode()), work=work)
