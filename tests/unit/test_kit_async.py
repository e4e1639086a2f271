"""`glassq.testing.testing` around `async def` tasks, and in tests that are coroutines."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest

from glassq.app import Glassq
from glassq.errors import BadOption, ConfigurationError
from glassq.model.events import AttemptSettled
from glassq.testing import testing


class Post:
    """An application with an async task, and where its calls ran."""

    def __init__(self, url: str) -> None:
        self.app = Glassq(url)
        self.done: list[str] = []
        self.loops: set[asyncio.AbstractEventLoop] = set()

        @self.app.fifo("mail", key="to", name="send")
        async def send(to: str, then: str | None = None) -> None:
            await asyncio.sleep(0)
            self.loops.add(asyncio.get_running_loop())
            self.done.append(to)
            if then is not None:
                await send(then)
            if to == "nobody":
                raise ValueError("no such address")

        self.send = send


@pytest.fixture
def post(tmp_path: Path) -> Post:
    """An application whose own store is a file that no test makes."""
    return Post(f"sqlite:///{tmp_path}/own.db")


def test_async_tasks_run_on_a_loop_of_the_kits(post: Post) -> None:
    """A plain test needs no loop, and none is left when it ends."""
    with testing(post.app) as kit:
        post.send.enqueue("ann", then="bob")
        assert kit.run() == 2
        assert post.done == ["ann", "bob"]
        post.send.enqueue("nobody")
        with pytest.raises(ValueError, match="no such address"):
            kit.run()
    assert [loop.is_closed() for loop in post.loops] == [True]


def test_in_a_coroutine_they_run_on_its_own_loop(post: Post) -> None:
    """`async with`, and the run is awaited: what is bound to that loop can be used by the jobs."""

    async def test() -> None:
        async with testing(post.app) as kit:
            await post.send("ann", then="bob")
            assert post.done == []
            assert await kit.arun_next()
            assert post.done == ["ann"]
            assert await kit.arun() == 1
            assert post.loops == {asyncio.get_running_loop()}
            with pytest.raises(ConfigurationError, match=r"await kit\.arun\(\)"):
                kit.run()
            await post.send("nobody")
            with pytest.raises(ValueError, match="no such address"):
                await kit.arun()
            await asyncio.to_thread(kit.advance, 10)
            with pytest.raises(ValueError, match="no such address"):
                await kit.arun_until_idle()

    asyncio.run(test())


def test_no_thread_outlives_its_block(post: Post) -> None:
    """A suite of thousands of tests on one loop, or without one, does not gather threads."""

    async def test() -> None:
        for _ in range(3):
            async with testing(post.app) as kit:
                await post.send("ann")
                assert await kit.arun() == 1

    before = set(threading.enumerate())

    async def both() -> None:
        await test()
        with testing(post.app) as kit:
            post.send.enqueue("bob")
            kit.run()
        left = [each for each in set(threading.enumerate()) - before if each.name == "glassq-loop-watch"]
        for thread in left:  # each looks around a last time
            await asyncio.to_thread(thread.join, 3)
        assert not [thread for thread in left if thread.is_alive()]

    asyncio.run(both())
    assert post.done == ["ann", "ann", "ann", "bob"]


def test_inline_calls_are_awaited_as_ever(post: Post) -> None:
    """The job is settled when its call returns, and what it calls itself, too."""

    async def test() -> None:
        with testing(post.app, "inline") as kit:
            receipt = await post.send("ann", then="bob")
            assert post.done == ["ann", "bob"]
            assert kit.events.of(AttemptSettled)[0].job_id == receipt.id
        with pytest.raises(BadOption, match="would block this loop"):
            async with testing(post.app, "inline"):
                pass

    asyncio.run(test())


def test_a_worker_can_die_within_an_async_job(post: Post) -> None:
    """The coroutine is left where it is; the job runs again at its place."""
    died: list[str] = []

    @post.app.fifo("mail", key="to", name="crash")
    async def crash(to: str) -> None:
        await asyncio.sleep(0)
        if not died:
            died.append(to)
            kit.crash_worker()

    with testing(post.app) as kit:
        crash.enqueue("ann")
        post.send.enqueue("ann")
        assert kit.run() == 1
        assert post.done == []
        assert kit.run_until_idle() == 2
        assert post.done == ["ann"]


def test_calls_of_several_threads_are_all_run(post: Post) -> None:
    """Inline, one of the callers runs what the others bring meanwhile: nothing is left, nothing hangs."""
    with testing(post.app, "inline") as kit:
        threads = [
            threading.Thread(target=post.send.enqueue, args=(f"{number}@example.org",)) for number in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert len(post.done) == 8
        assert kit.run() == 0
