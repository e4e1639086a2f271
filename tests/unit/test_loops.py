"""Event loops for code of jobs: begun when needed, watched, and never waited for when they are gone."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable

import pytest

from glassq.model.events import LoopBlocked, LoopFreed
from glassq.systemclock import SystemClock
from glassq.telemetry import Bus
from glassq.worker import watching
from glassq.worker.loops import CallersLoop, Errand, Interrupted, LoopHome, OwnLoop, await_on
from glassq.worker.watching import LoopWatch


def watched(bus: Bus | None = None) -> LoopWatch:
    """A watch on the real clock."""
    return LoopWatch(bus or Bus(), SystemClock())


def wait_for(condition: Callable[[], object]) -> None:
    """Wait for what another thread causes."""
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.005)


def watches() -> int:
    """How many watches there are."""
    return sum(thread.name == "glassq-loop-watch" for thread in threading.enumerate())


async def nothing() -> None:
    """Done at once."""


def test_a_loop_of_our_own_begins_when_needed_and_ends_when_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """No thread before the first coroutine, one for all of them, none after the end; then code is refused."""
    monkeypatch.setattr(watching, "_ASLEEP", 0.01)
    before = set(threading.enumerate())  # those of other tests may end meanwhile

    def begun() -> set[threading.Thread]:
        return set(threading.enumerate()) - before

    home = OwnLoop(watched())
    assert not begun()
    await_on(home, "first", nothing())
    loop = home.loop()
    await_on(home, "second", nothing())
    assert home.loop() is loop
    home.close()
    home.close()
    wait_for(lambda: not begun())
    with pytest.raises(Interrupted, match="no event loop ran third"):
        await_on(home, "third", nothing())


def test_what_a_coroutine_raises_is_raised_where_it_is_waited_for() -> None:
    """Also what ends loops: the loop goes on."""
    home = OwnLoop(watched())

    async def leave() -> None:
        raise SystemExit(3)

    with pytest.raises(SystemExit):
        await_on(home, "leave", leave())

    async def begin_one_that_leaves() -> None:
        task = asyncio.create_task(leave())
        await asyncio.wait([task])
        with pytest.raises(SystemExit):
            task.result()

    await_on(home, "child", begin_one_that_leaves())
    await_on(home, "after", nothing())
    home.close()


def test_a_loop_that_is_closed_under_its_code_lets_go_of_those_who_wait() -> None:
    """The thread of a lane is not lost with the loop of a program that ended."""
    loop = asyncio.new_event_loop()
    home: LoopHome = _entered(loop)
    began = threading.Event()
    carried: list[bool] = []

    async def for_ever() -> None:
        began.set()
        await asyncio.sleep(600)

    errand = Errand("for ever", None, for_ever)
    waiting = threading.Thread(target=lambda: carried.append(home.carry_out(errand)), daemon=True)
    waiting.start()
    loop.call_later(0.2, loop.stop)
    loop.run_forever()
    assert began.is_set()
    _close(loop)
    waiting.join(20)
    assert carried == [False]


def _entered(loop: asyncio.AbstractEventLoop) -> CallersLoop:
    home = CallersLoop(watched())
    home.enter(loop)
    return home


def _close(loop: asyncio.AbstractEventLoop) -> None:
    """Close a loop with its tasks in the middle, as a program does that is in a hurry."""
    for task in asyncio.all_tasks(loop):
        task._log_destroy_pending = False  # type: ignore[attr-defined]
    loop.close()


def test_a_blockage_is_told_once_with_its_end(caplog: pytest.LogCaptureFixture) -> None:
    """One that lasts is one report, and it says who it was, a callback of a job included."""
    bus = Bus()
    events: list[LoopBlocked | LoopFreed] = []
    bus.subscribe(events.append, LoopBlocked, LoopFreed)
    home = OwnLoop(watched(bus))
    go_on = threading.Event()

    async def block() -> None:
        go_on.wait(20)

    waiting = threading.Thread(target=await_on, args=(home, "on_success of work", block()))
    with caplog.at_level("WARNING", "glassq"):
        waiting.start()
        wait_for(lambda: events)
        go_on.set()
        waiting.join()
        wait_for(lambda: len(events) == 2)
    blocked, freed = events
    assert isinstance(blocked, LoopBlocked)
    assert (blocked.by, blocked.job_id) == ("on_success of work", None)
    assert isinstance(freed, LoopFreed)
    assert freed.seconds >= blocked.seconds > watching.BLOCKED_SECONDS
    assert "go_on.wait(20)" in caplog.text
    home.close()
