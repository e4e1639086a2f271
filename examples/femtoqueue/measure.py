"""Push, then pop and end tasks of 100 bytes: glassq's FemtoQueue, and femtoqueue's where it is installed.

python measure.py [TASKS] [DIRECTORY]: in turn, five rounds each, in new directories; prints medians. CPU time
is that of this process, which is all there is: neither has a server or a thread.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from typing import Any

from glassq.compat.femtoqueue import FemtoQueue

ROUNDS = 5


def contestants() -> dict[str, Any]:
    """The classes there are."""
    found: dict[str, Any] = {"glassq": FemtoQueue}
    try:
        import femtoqueue
    except ImportError:
        return found
    return {**found, "femtoqueue": femtoqueue.FemtoQueue}


def measure(queue: Any, tasks: int) -> dict[str, float]:
    """One round: µs per task, by the wall and of CPU. One clock for the beginning and the end of each."""
    begun, cpu = time.perf_counter(), time.process_time()
    for _ in range(tasks):
        queue.push(b"x" * 100)
    pushed, pushed_cpu = time.perf_counter(), time.process_time()
    ended = 0
    while task := queue.pop():
        queue.done(task)
        ended += 1
    popped, popped_cpu = time.perf_counter(), time.process_time()
    micros = 1_000_000 / tasks
    return {
        "tasks": ended,
        "push_us": (pushed - begun) * micros,
        "push_cpu_us": (pushed_cpu - cpu) * micros,
        "pop_done_us": (popped - pushed) * micros,
        "pop_done_cpu_us": (popped_cpu - pushed_cpu) * micros,
    }


def main(tasks: int, scratch: str | None) -> None:
    """All rounds, and what they come to."""
    rounds: dict[str, list[dict[str, float]]] = {name: [] for name in contestants()}
    for _ in range(ROUNDS):
        for name, queue_class in contestants().items():
            with tempfile.TemporaryDirectory(dir=scratch) as directory:
                rounds[name].append(measure(queue_class(directory, "node1"), tasks))
    medians = {
        name: {figure: statistics.median(each[figure] for each in runs) for figure in runs[0]}
        for name, runs in rounds.items()
    }
    for name, figures in medians.items():
        shown = ", ".join(f"{figure} {value:.1f}" for figure, value in figures.items())
        print(f"{name}: {shown}")
    print(json.dumps(medians))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 2000, sys.argv[2] if len(sys.argv) > 2 else None)
