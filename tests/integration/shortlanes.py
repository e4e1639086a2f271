"""A worker of very many short lanes that writes down what it runs: a process of its own, to be killed.

    python shortlanes.py URL LOG work|fill LANES JOBS TURN [RUNS]

A job whose key is POISON kills the process that runs it. A moment after so many RUNS, it is killed anyway.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from random import Random
from threading import Event, Thread

from glassq import Glassq, current_job

POISON = "poison"
CRASHES = 3
MORE = 50
"""Jobs that may run until a worker is killed that is due. However late its killer wakes on a busy machine,
enough are left for the workers after it."""


def main(url: str, log: str, role: str, lanes: int, jobs: int, turn: int, runs: int = 0) -> int:
    """Enqueue so many jobs in each lane, in turn; or work, until nothing is left or so many ran."""
    due, ran = Event(), 0
    killer = Thread(target=_kill, args=(due, Random(runs).random() / 100), daemon=True)
    killer.start()
    written = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    with Glassq(url) as app:
        app.queue("q", turn=turn)

        @app.fifo("q", key="key")
        def work(key: str, number: int) -> None:
            nonlocal ran
            # One call of the system: whatever happens next, it has been written.
            os.write(written, f"{key} {number} {current_job().attempt}\n".encode())
            ran += 1
            if ran == runs:
                due.set()
            elif runs and ran == runs + MORE:
                killer.join()
            if key == POISON and number == 0:
                os.kill(os.getpid(), signal.SIGKILL)

        if role == "fill":
            for number in range(jobs):
                for first in range(0, lanes, 50):
                    app.enqueue_many(
                        [work.s(name(lane), number) for lane in range(first, min(first + 50, lanes))]
                    )
            return 0
        worker = app.worker(concurrency=1, lease_seconds=1, max_crashes=CRASHES)
        idle = worker.run_until_idle(60)
        if due.is_set():
            # However quick the jobs that were left: who is to be killed does not end before that.
            killer.join()
        return 0 if idle else 1


def _kill(due: Event, moment: float) -> None:
    """In a thread of its own: wherever the others are, not in a job."""
    due.wait()
    time.sleep(moment)
    os.kill(os.getpid(), signal.SIGKILL)


def name(lane: int) -> str:
    """The key of a lane. The poisoned one is in the middle, where many are on their way."""
    return POISON if lane == 60 else f"k{lane}"


if __name__ == "__main__":
    _url, _log, _role, *_numbers = sys.argv[1:]
    sys.exit(main(_url, _log, _role, *map(int, _numbers)))
