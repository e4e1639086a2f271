"""While a server is away one thread of a process knocks, for all of them."""

from __future__ import annotations

import threading
import time

from redis import exceptions

from glassq.stores.redis import outage as outage_module
from glassq.stores.redis.outage import Outage

AWAY = exceptions.ConnectionError("nobody there")


def test_nobody_waits_while_the_server_answers() -> None:
    """Without an outage there is nothing to wait for, also when it has just ended."""
    outage = Outage()
    assert outage.hinders(time.monotonic()) is None
    outage.met(AWAY)
    outage.answered(time.monotonic())
    assert outage.hinders(time.monotonic()) is None


def test_a_broken_connection_is_no_outage_yet() -> None:
    """Whoever comes first after one may try at once, and is one alone; the next has to wait."""
    outage = Outage()
    outage.met(AWAY)
    assert outage.hinders(time.monotonic()) is None
    outage._try_at = time.monotonic() + 3600
    assert outage.hinders(time.monotonic()) is AWAY


def test_an_answer_from_before_proves_nothing() -> None:
    """What was asked before the server went away may be answered after; that ends no outage."""
    outage, asked = Outage(), time.monotonic()
    time.sleep(0.001)  # the clock's next tick
    outage.met(AWAY)
    outage._try_at = time.monotonic() + 3600
    outage.answered(asked)
    assert outage.hinders(time.monotonic()) is AWAY


def test_many_threads_knock_as_one() -> None:
    """However many threads wait, only a few tries reach the server; the others are told why they did not."""
    outage, ends = Outage(), time.monotonic() + 1.0
    outage.met(AWAY)
    knocks: list[float] = []
    refused: list[object] = []

    def knock() -> None:
        while True:
            error = outage.hinders(ends)
            if error is not None:
                refused.append(error)
                return
            knocks.append(time.monotonic())
            outage.met(AWAY)

    threads = [threading.Thread(target=knock) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert refused == [AWAY] * 8
    assert 1 <= len(knocks) <= 40, "eight threads with pauses of their own would be many more"


def test_an_answer_wakes_everybody() -> None:
    """Whoever waits goes on with the first answer, not at the end of a pause."""
    outage = Outage()
    outage.met(AWAY)
    outage._try_at = time.monotonic() + 3600
    through: list[object] = []
    threads = [
        threading.Thread(target=lambda: through.append(outage.hinders(time.monotonic() + 3600)))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    outage.answered(time.monotonic())
    for thread in threads:
        thread.join(outage_module._LONGEST_WAIT + 10)
    assert through == [None] * 4
