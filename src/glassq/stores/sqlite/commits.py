"""Group commit: what threads of one process ask for at the same time shares one transaction."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from sqlite3 import Connection
from typing import Any, Generic, TypeVar, cast

from glassq.errors import StorageUnavailable

R = TypeVar("R")
W = TypeVar("W")

Transact = Callable[[Callable[[Connection], Any]], Any]
"""Does a work in a transaction of its own, commits it or rolls it back, and translates errors."""

_MOST = 32
"""Calls in one transaction, so that the first of them does not wait long for the last."""
_LONGEST_SLEEP = 0.05
"""Seconds. An interrupt may come between a turn's end and the wake-up of whoever is next."""
_AT_ONCE = (False,)


class Commits:
    """Who writes when. One thread has the turn; it also does what the threads that wait for it asked for.

    A call that fails takes no other one with it: its group is rolled back, and each call is made again by
    itself. So a work may be done twice; its first time is as if it had never been.

    There is no lock but the turn itself, because a signal handler may come at any moment and write, too. And
    the main thread, where handlers run and interrupts arrive, does nobody's work but its own: an interrupt
    right after the commit would leave the others in the dark about theirs.
    """

    def __init__(self, transact: Transact) -> None:
        self._transact = transact
        self._turn = threading.RLock()
        self._waiting: deque[_Call[Any]] = deque()
        self._here = threading.local()

    def share(self, work: Callable[[Connection], R]) -> R:
        """Do a work in a transaction that those of other threads may be in, too; returns after its commit."""
        had, answer = self._with_turn(self._begin, work)
        if had:
            return cast("R", answer)
        call = _Call(work, self._gate())
        self._await_turn(call)
        return call.outcome()

    def if_free(self, do: Callable[[W], R | None], what: W) -> R | None:
        """Do something now; None, and nothing is done, when another thread has the turn or waits for it."""
        return None if self._waiting else self._with_turn(do, what)[1]

    def alone(self, do: Callable[[W], R], what: W) -> R:
        """Do something that is no transaction, as soon as it is this thread's turn: there is nothing to be
        shared."""
        try:
            with self._turn:
                return do(what)
        finally:
            if self._waiting:
                self._call_next()

    @contextmanager
    def turn(self) -> Iterator[None]:
        """While this lasts no other thread writes."""
        try:
            with self._turn:
                yield
        finally:
            self._call_next()

    def take(self) -> None:
        """Wait for the turn."""
        self._turn.acquire()

    def give(self) -> None:
        """Let another thread have the turn."""
        self._turn.release()
        self._call_next()

    def begin_anew(self) -> None:
        """In a forked child: whoever had the turn or waited for it is not here."""
        self._turn = threading.RLock()
        self._waiting.clear()

    # -- with the turn -----------------------------------------------------------------------------------

    def _begin(self, work: Callable[[Connection], R]) -> R:
        """Do what was asked for without having to wait, and what those that wait asked for."""
        if not self._waiting or _interruptible():
            return cast("R", self._transact(work))
        call = _Call(work, self._gate())
        self._carry_out([*self._take_waiting(), call])
        return call.outcome()

    def _lead(self, call: _Call[Any]) -> None:
        """Do a call that waits, unless it is done by now, and the others that wait."""
        if call.done:
            return
        if _interruptible():
            self._waiting.remove(call)
            call.be_done(self._transact)
        else:
            self._carry_out(self._take_waiting())

    def _take_waiting(self) -> list[_Call[Any]]:
        """Calls that are done now; they wait no more."""
        calls: list[_Call[Any]] = []
        with suppress(IndexError):  # one may give up between a look and its taking
            while len(calls) < _MOST:
                calls.append(self._waiting.popleft())
        return calls

    def _carry_out(self, calls: list[_Call[Any]]) -> None:
        """In one transaction; when that fails, each in its own. When it cannot begin, none of them could."""
        begun = False

        def all_of_them(cx: Connection) -> list[Any]:
            nonlocal begun
            begun = True
            return [call.work(cx) for call in calls]

        try:
            answers = self._transact(all_of_them)
        except Exception as error:  # licensed: whatever it was and whosever, each gets its own below
            for call in calls:
                if begun:
                    call.be_done(self._transact)
                else:
                    call.fail(error)
        else:
            for call, answer in zip(calls, answers, strict=True):
                call.end(answer)
        finally:
            for call in calls:
                call.let_go()

    # -- without it --------------------------------------------------------------------------------------

    def _with_turn(self, do: Callable[[W], R], what: W) -> tuple[bool, R | None]:
        """Do something if no other thread has the turn; whether that was so, and the answer."""
        had: list[bool] = []
        try:
            # In one step: an interrupt finds the turn free, or sees here that it has to be given back.
            had += map(self._turn.acquire, _AT_ONCE)
            return (True, do(what)) if had[0] else (False, None)
        finally:
            if had and had[0]:
                self._turn.release()
                if self._waiting:
                    self._call_next()

    def _await_turn(self, call: _Call[Any]) -> None:
        """Until another thread has done it, or it is this one's turn to do it."""
        self._waiting.append(call)
        try:
            while not call.done:
                # Who has the turn now sees this call when giving it back, and wakes this thread.
                had, _ = self._with_turn(self._lead, call)
                if not had:
                    call.sleep()
        finally:
            if not call.done:  # interrupted: what nobody has begun is not to be done any more
                with suppress(ValueError):
                    self._waiting.remove(call)
                self._call_next()  # the wake-up was for anybody who waits
            call.wake()  # this may be a signal handler, come between another call and its wake-up

    def _call_next(self) -> None:
        """Wake the thread that waits longest; it takes the turn unless another one is quicker."""
        if self._waiting:
            with suppress(IndexError):  # whom another thread has served since
                self._waiting[0].wake()

    def _gate(self) -> threading.Lock:
        """What this thread sleeps at, whatever it was doing when a signal handler came."""
        gate: threading.Lock | None = getattr(self._here, "gate", None)
        if gate is None:
            self._here.gate = gate = threading.Lock()
            gate.acquire()
        return gate


class _Call(Generic[R]):
    """What a thread asked for, and what became of it."""

    __slots__ = ("_answer", "_error", "_gate", "done", "work")

    def __init__(self, work: Callable[[Connection], R], gate: threading.Lock) -> None:
        self.work = work
        self.done = False
        self._gate = gate
        self._answer: R | None = None
        self._error: Exception | None = None

    def be_done(self, transact: Transact) -> None:
        """Do it in a transaction of its own."""
        try:
            answer = transact(self.work)
        except Exception as error:  # licensed: raised again in the thread that asked for it
            self.fail(error)
        else:
            self.end(answer)

    def end(self, answer: R) -> None:
        """It was committed."""
        self._answer = answer
        self.done = True

    def fail(self, error: Exception) -> None:
        """It was not done."""
        self._error = error
        self.done = True

    def let_go(self) -> None:
        """Its thread goes on, whatever became of the thread that did it."""
        if not self.done:
            self.fail(
                StorageUnavailable(
                    "the thread that wrote this with its own was ended meanwhile; it may have been written"
                )
            )
        self.wake()

    def outcome(self) -> R:
        """The answer, or the error it ended with."""
        if self._error is not None:
            raise self._error
        return cast("R", self._answer)

    def sleep(self) -> None:
        """Until woken, now or already."""
        self._gate.acquire(timeout=_LONGEST_SLEEP)

    def wake(self) -> None:
        """Let its thread look around; twice is as good as once."""
        with suppress(RuntimeError):
            self._gate.release()


def _interruptible() -> bool:
    """Whether this is the thread in which interrupts and signal handlers come up."""
    return threading.get_ident() == threading.main_thread().ident
