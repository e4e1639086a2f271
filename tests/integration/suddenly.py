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
from glassq.stores.redis.line import MORE, Line
from glassq.stores.redis.location import Wire

URL, SIGNAL, NOTE = sys.argv[1:]
WARM = 150
"""Jobs before that: a connection is not asked at once whether answers may be skipped."""

held: list[bytes] = []
connect = Line.__init__


def connecting(line: Line, wire: Wire) -> None:
    """Note what the system has and did not have to send."""
    connect(line, wire)
    hand_over = line.hand_over

    def handing_over(packed: bytes, flags: int) -> None:
        hand_over(packed, flags)
        if flags == MORE:
            held.append(packed)
        else:
            held.clear()

    line.hand_over = handing_over


Line.__init__ = connecting  # type: ignore[assignment,method-assign]
app = Glassq(URL)


@app.fifo("q", name="job")
def job(number: int) -> None:
    """The first job that finds at least two settlements held back is the last one."""
    if number >= WARM and len(held) > 1:
        Path(NOTE).write_text(f"{number} {len(held)}")
        os.kill(os.getpid(), signal.Signals[SIGNAL])
        threading.Event().wait()  # another thread may take the signal: this one would go on until it has


app.worker().run_until_idle()
