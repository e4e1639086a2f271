"""Works until settlements are held back in the operating system, then kills or stops itself in the middle of
a job.

    suddenly.py URL SIGNAL NOTE
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path

from glassq import Glassq
from glassq.stores.redis.line import Line

URL, SIGNAL, NOTE = sys.argv[1:]
WARM = 150
"""Jobs before that: a connection is not asked at once whether answers may be skipped."""

held: list[bytes] = []
send = Line.send


def sending(line: Line, packed: bytes, *, more: bool = False) -> None:
    """Note what the system has and did not have to send."""
    send(line, packed, more=more)
    if more:
        held.append(packed)
    else:
        held.clear()


Line.send = sending  # type: ignore[assignment,method-assign]
app = Glassq(URL)


@app.fifo("q", name="job")
def job(number: int) -> None:
    """The first job that finds at least two settlements held back is the last one."""
    if number >= WARM and len(held) > 1:
        Path(NOTE).write_text(f"{number} {len(held)}")
        os.kill(os.getpid(), signal.Signals[SIGNAL])
        threading.Event().wait()  # another thread may take the signal: this one would go on until it has


app.worker().run_until_idle()
