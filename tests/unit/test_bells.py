from __future__ import annotations

import os
import threading
from contextlib import suppress

import pytest

from glassq.stores.sqlite import bells
from glassq.stores.sqlite.bells import Bell


def closed(descriptor: int) -> bool:
    """Whether nothing is open under this number."""
    with suppress(OSError):
        os.fstat(descriptor)
        return False
    return True


def test_no_ring_reaches_a_stranger(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread that is about to ring while another one closes the bell must not write into what the process
    opens next under the same number: a file, or somebody's connection."""
    rings, may_write = threading.Event(), threading.Event()
    real = bells._write

    def slow(descriptor: int) -> bool:
        rings.set()
        assert may_write.wait(10)
        return real(descriptor)

    bell = Bell(None)
    writer = bell._writer
    monkeypatch.setattr(bells, "_write", slow)
    ringing = threading.Thread(target=bell.ring)
    ringing.start()
    assert rings.wait(10)
    closing = threading.Thread(target=bell.close)
    closing.start()
    closing.join(0.05)
    assert closing.is_alive()
    assert not closed(writer)
    may_write.set()
    ringing.join(10)
    closing.join(10)
    assert not closing.is_alive()
    assert closed(writer)
    bell.ring()  # nobody there any more: not heard, and no error


def test_a_bell_that_is_closed_in_the_middle_of_its_own_ring_does_not_wait(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A signal handler may do that; it would wait for itself for ever."""
    bell = Bell(None)
    writer = bell._writer
    monkeypatch.setattr(bells, "_write", lambda _: bell.close())
    bell.ring()
    assert closed(writer)
