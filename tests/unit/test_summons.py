"""The main thread of a worker process is woken by a signal, whichever thread the kernel hands it to."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from glassq.worker.summons import Summons


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_that_another_thread_receives_wakes_the_main_thread(number: signal.Signals) -> None:
    """The kernel may choose any thread: while the main one waits, the handler still runs at once."""
    over = threading.Event()
    bystander = threading.Thread(target=over.wait)
    bystander.start()

    def send() -> None:
        assert bystander.ident is not None
        signal.pthread_kill(bystander.ident, number)

    with Summons() as summons:
        later = threading.Timer(0.05, send)
        later.start()
        # Ends a wait that nothing else ends, so that this test fails instead of hanging.
        rescue = threading.Timer(10, summons.tell)
        rescue.start()
        summons.wait()
        assert rescue.is_alive()
        rescue.cancel()
    over.set()
    bystander.join()


def test_every_telling_ends_one_wait() -> None:
    """Two signals are two summons, so that the second cuts a drain short; there is no third."""
    with Summons() as summons:
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)
        summons.wait()
        summons.wait()
        third = threading.Thread(target=summons.wait)
        third.start()
        third.join(0.05)
        assert third.is_alive()
        summons.tell()
        third.join()


def test_what_was_there_before_is_put_back() -> None:
    """Handlers and the wake-up descriptor belong to the program again afterwards."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    mine = signal.set_wakeup_fd(writer)
    before = signal.getsignal(signal.SIGTERM)
    try:
        with Summons():
            assert signal.getsignal(signal.SIGTERM) != before
        assert signal.getsignal(signal.SIGTERM) == before
        assert signal.set_wakeup_fd(mine) == writer
    finally:
        signal.set_wakeup_fd(mine)
        os.close(reader)
        os.close(writer)


def test_telling_after_the_end_disturbs_nobody() -> None:
    """A thread that tells too late writes into no descriptor that has become somebody else's."""
    with Summons() as summons:
        pass
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    summons.tell()
    with pytest.raises(BlockingIOError):
        os.read(reader, 1)
    os.close(reader)
    os.close(writer)
