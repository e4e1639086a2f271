"""Log handlers that raise, and observers that are slower than the work they watch."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from glassq.model.events import Event, QueueDeclared, StorageCalled
from glassq.shielding import Log
from glassq.telemetry import Bus
from glassq.worker import telling
from glassq.worker.pool import LanePool
from glassq.worker.telling import Teller

DECLARED = QueueDeclared(queue="q")
CALLED = StorageCalled(store="sqlite", operation="renew", seconds=0.1)


class Raising(logging.Handler):
    """A handler that lets its errors out."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.error = error

    def handle(self, record: logging.LogRecord) -> bool:
        """Never."""
        raise self.error


@pytest.fixture
def raising() -> Iterator[Raising]:
    """Such a handler on a logger of the test's own."""
    handler = Raising(RuntimeError("broken handler"))
    logging.getLogger("glassq.shielded").addHandler(handler)
    yield handler
    logging.getLogger("glassq.shielded").removeHandler(handler)


def test_what_a_log_handler_raises_stays_with_it(
    raising: Raising, capsys: pytest.CaptureFixture[str]
) -> None:
    """The caller goes on; stderr says what happened, if it is there."""
    Log("glassq.shielded").warning("watch %s", "out")
    assert "RuntimeError: broken handler" in capsys.readouterr().err


def test_a_signals_exception_goes_through_a_log_handler(raising: Raising) -> None:
    """In the main thread a `SystemExit` may be that of a signal handler, and ends the program."""
    raising.error = SystemExit(3)
    with pytest.raises(SystemExit):
        Log("glassq.shielded").error("x")


def test_a_log_names_the_line_that_wrote(caplog: pytest.LogCaptureFixture) -> None:
    """Not the line of the shield."""
    Log("glassq.shielded").warning("here")
    assert [record.funcName for record in caplog.records] == ["test_a_log_names_the_line_that_wrote"]


def test_a_teller_lets_nobody_wait(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """While an observer blocks, the thread that has something to tell goes on; calls of the store that do not
    fit are counted, and everything else is told in order once the observer returns."""
    monkeypatch.setattr(telling, "_AT_MOST", 3)
    bus, inside, free = Bus(), threading.Event(), threading.Event()
    heard: list[tuple[Any, str]] = []

    def observe(event: Event) -> None:
        inside.set()
        assert free.wait(10)
        heard.append((event, threading.current_thread().name))

    bus.subscribe(observe, QueueDeclared, StorageCalled)
    teller = Teller(bus, "teller")
    teller.start()
    with teller.telling():
        bus.emit(DECLARED)
        assert inside.wait(10)
        for _ in range(5):
            bus.emit(CALLED)
        bus.emit(DECLARED)
        free.set()
    teller.wait(10)
    assert heard == [(each, "teller") for each in (DECLARED, CALLED, CALLED, CALLED, DECLARED)]
    assert [record.getMessage() for record in caplog.records] == [
        "observers or the log are too slow: 2 calls of the store were told to nobody"
    ]


@pytest.mark.parametrize("error", [SystemExit(), KeyboardInterrupt(), RuntimeError()])
def test_a_pools_thread_outlives_what_its_work_raises(error: BaseException) -> None:
    """A thread that ended without the pool knowing would have a lane wait for ever, held and never run."""
    freed, ran = threading.Semaphore(0), threading.Event()

    def serve(work: str) -> None:
        if work == "fails":
            raise error
        ran.set()

    pool = LanePool(1, "lane", serve=serve, on_free=freed.release)
    pool.put(["fails"])
    assert freed.acquire(timeout=10)
    pool.put(["runs"])
    assert ran.wait(10)
    pool.close()
