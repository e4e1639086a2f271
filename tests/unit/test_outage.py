"""While a server is away one thread of a process knocks, for all of them."""

from __future__ import annotations

import multiprocessing
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


def test_the_end_of_an_outage_is_told_once() -> None:
    """Not every answer is news: only the first after the server was away."""
    told: list[str] = []
    outage = Outage(lambda: told.append("over"))
    outage.answered(time.monotonic())
    assert told == []
    for _ in range(2):
        outage.met(AWAY)
    for _ in range(2):
        outage.answered(time.monotonic())
    assert told == ["over"]


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


def test_a_knock_that_takes_long_stays_the_only_one() -> None:
    """Its own timeout may be longer than the pause between two knocks."""
    outage = Outage()
    outage.met(AWAY)
    assert outage.hinders(time.monotonic()) is None
    outage._try_at = 0.0
    refused: list[object] = []
    other = threading.Thread(target=lambda: refused.append(outage.hinders(time.monotonic() + 0.05)))
    other.start()
    other.join()
    assert refused == [AWAY]


def test_who_was_not_let_through_gives_nothing_back() -> None:
    """What a call that was on its way already comes to is not what came of the knock."""
    outage = Outage()
    outage.met(AWAY)
    knocker = threading.Thread(target=lambda: outage.hinders(time.monotonic()))
    knocker.start()
    knocker.join()
    outage._try_at = 0.0
    outage.met(AWAY)
    outage.give_back()
    assert outage.hinders(time.monotonic()) is AWAY


def test_a_turn_that_is_given_back_goes_to_somebody_who_waits() -> None:
    """Also when the knocker never learned what came of it: it was interrupted."""
    outage = Outage()
    outage.met(AWAY)
    assert outage.hinders(time.monotonic()) is None
    outage._try_at = 0.0
    through: list[object] = []
    other = threading.Thread(target=lambda: through.append(outage.hinders(time.monotonic() + 3600)))
    other.start()
    outage.give_back()
    other.join(20)
    assert through == [None]


def test_the_end_wakes_everybody() -> None:
    """Whoever waits for the server, or for its next try, when the store is closed."""
    outage = Outage()
    outage.met(AWAY)
    outage._try_at = time.monotonic() + 3600
    threads = [
        threading.Thread(target=outage.hinders, args=(time.monotonic() + 3600,)),
        threading.Thread(target=outage.pause, args=(3600,)),
    ]
    for thread in threads:
        thread.start()
    outage.end()
    for thread in threads:
        thread.join(20)
    assert not any(thread.is_alive() for thread in threads)


def test_a_forked_child_waits_for_no_thread_of_its_parent() -> None:
    """Neither for a lock that one held, nor for a knock that nobody makes there."""
    outage = Outage()
    outage.met(AWAY)
    assert outage.hinders(time.monotonic()) is None
    context = multiprocessing.get_context("fork")
    reading, writing = context.Pipe(duplex=False)

    def child() -> None:
        outage.met(AWAY)
        writing.send(outage.hinders(time.monotonic() + 3600))

    with outage._changed:
        process = context.Process(target=child)
        process.start()
        assert reading.poll(20), "the child hangs"
    assert reading.recv() is None
    process.join()
