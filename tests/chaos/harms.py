"""Everything a task can raise, and every way it can take its process down."""

from __future__ import annotations

import asyncio
import ctypes
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, NoReturn

from glassq.errors import AttemptTimeout, JobCancelled, LeaseLost

# -- exceptions ----------------------------------------------------------------------------------------------


class Bare(BaseException):
    """Not even an Exception."""


class Unspeakable(Exception):
    """Its text cannot be had, one way or another."""

    def __init__(self, problem: BaseException) -> None:
        super().__init__(problem)
        self._problem = problem

    def __str__(self) -> str:
        raise self._problem

    def __repr__(self) -> str:
        raise self._problem

    def __reduce__(self) -> NoReturn:
        raise self._problem


class Lying(Exception):
    """Its traceback, cause and notes are not what they should be."""

    def __getattribute__(self, name: str) -> Any:
        if name in ("__traceback__", "__cause__", "__context__", "__notes__"):
            raise OSError(name)
        return super().__getattribute__(name)


def _recurse() -> None:
    _recurse()


def _run_out_of_memory() -> None:
    bytearray(1 << 60)


def _raise_a_chain() -> None:
    """Three thousand exceptions, each the cause of the next."""
    error = ValueError("the first")
    for number in range(3000):
        following = ValueError(number)
        following.__cause__ = error
        error = following
    raise error


def _raise_a_circle() -> None:
    """Two exceptions, each the other's cause."""
    one, other = ValueError("one"), ValueError("other")
    one.__cause__, other.__cause__ = other, one
    raise one


def _raise_nested_groups() -> None:
    error: Exception = ValueError("innermost")
    for depth in range(300):
        error = ExceptionGroup(f"depth {depth}", [error, *(ValueError(number) for number in range(20))])
    raise error


def _raising(error: Callable[[], BaseException]) -> Callable[[], None]:
    def run() -> None:
        raise error()

    return run


KINDS: dict[str, Callable[[], Any]] = {
    "keyboard_interrupt": _raising(KeyboardInterrupt),
    "system_exit": lambda: sys.exit(3),
    "memory_error": _run_out_of_memory,
    "recursion_error": _recurse,
    "generator_exit": _raising(GeneratorExit),
    "cancelled_error": _raising(asyncio.CancelledError),
    "stop_iteration": _raising(StopIteration),
    "stop_async_iteration": _raising(StopAsyncIteration),
    "bare": _raising(lambda: Bare("bare")),
    "str_raises": _raising(lambda: Unspeakable(ZeroDivisionError())),
    "str_exits": _raising(lambda: Unspeakable(SystemExit(3))),
    "str_interrupts": _raising(lambda: Unspeakable(KeyboardInterrupt())),
    "str_raises_itself": _raising(lambda: Unspeakable(Unspeakable(ValueError()))),
    "lying": _raising(lambda: Lying("lying")),
    "group": _raise_nested_groups,
    "base_group": _raising(lambda: BaseExceptionGroup("group", [KeyboardInterrupt(), SystemExit()])),
    "chain": _raise_a_chain,
    "circle": _raise_a_circle,
    "huge": _raising(lambda: ValueError("x" * 20_000_000)),
    "surrogates": _raising(lambda: ValueError("\ud800\x00\n")),
    "timeout": _raising(lambda: AttemptTimeout("by the task's own hand")),
    "lease_lost": _raising(lambda: LeaseLost("by the task's own hand")),
    "cancelled": _raising(lambda: JobCancelled("by the task's own hand")),
}


# -- deaths --------------------------------------------------------------------------------------------------


def _end_by(number: signal.Signals) -> Callable[[], None]:
    # To this very thread: it gets no further. A signal to the process may find another one first.
    return lambda: signal.pthread_kill(threading.get_ident(), number)


DEATHS: dict[str, Callable[[], Any]] = {
    "exit": lambda: os._exit(66),
    "segfault": lambda: ctypes.string_at(0),
    "sigkill": _end_by(signal.SIGKILL),
    "abort": os.abort,
    "sigsegv": _end_by(signal.SIGSEGV),
}

STATUSES = {
    "exit": 66,
    "segfault": -signal.SIGSEGV,
    "sigkill": -signal.SIGKILL,
    "abort": -signal.SIGABRT,
    "sigsegv": -signal.SIGSEGV,
}
"""How a process ends of each, in the same order."""


# -- the interpreter -----------------------------------------------------------------------------------------


def hold_in_a_call(door: str) -> None:
    """A call into C that keeps the GIL until somebody else opens this FIFO."""
    os.close(ctypes.PyDLL(None).open(os.fsencode(door), os.O_RDONLY))


def hold_in_a_regex(letters: str) -> None:
    """An expression that backtracks through twice as many ways for each letter, and keeps the GIL."""
    re.match(r"(a|a)*$", "a" * int(letters) + "!")


def letters_for(seconds: float) -> int:
    """How many make it take so long."""
    letters, took = 16, 0.0
    while took < seconds:
        letters += 1
        began = time.monotonic()
        hold_in_a_regex(str(letters))
        took = time.monotonic() - began
    return letters


HOLDS: dict[str, Callable[[str], None]] = {"call": hold_in_a_call, "regex": hold_in_a_regex}
"""Until when is told to each of them: until a door is opened, or for how many letters."""
