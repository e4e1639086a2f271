"""The program under test: schedules of every second, led by each of its processes that may.

`GLASSQ_URL`, `CHAOS_HISTORY` and `CHAOS_LEASE` are as for program.py, `CHAOS_SCHEDULES` is their number.
"""

from __future__ import annotations

import os

from glassq import Glassq
from glassq.worker.crew import run_together

QUEUE = "slots"

app = Glassq(history=os.environ["CHAOS_HISTORY"], lease_seconds=float(os.environ["CHAOS_LEASE"]))


@app.fifo(QUEUE, key="number", name="slot")
def slot(number: int) -> None:
    """Nobody runs it: its jobs stay where they can be counted."""


for each in range(int(os.environ["CHAOS_SCHEDULES"])):
    app.schedule(f"schedule-{each}", slot.s(each), every=1, missed="all")


def main(arguments: list[str]) -> int:
    """Lead, or stand by, until told to end."""
    return 0 if run_together([app.scheduler()], 10) else 1
