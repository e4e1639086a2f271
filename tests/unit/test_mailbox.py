"""What tasks of an event loop leave for the store: together, in order, and each told what became of it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from typing import cast

import pytest

from glassq.client.mailbox import Errand, Mailbox, Posting
from glassq.errors import EnqueueUncertain, QueueFull, StorageUnavailable
from glassq.model.jobs import Appended, Disposition, NewJob
from glassq.model.layouts import shard_of
from glassq.storage import ShardedStorage
from glassq.testing.clock import FakeClock


class PlayedStore:
    """Notes what is appended; `meet` may raise. The first append waits for `go_on`."""

    def __init__(self) -> None:
        self.appended: list[tuple[str, list[str]]] = []
        self.meet: Callable[[str, Sequence[NewJob]], None] = lambda queue, jobs: None
        self.go_on = threading.Event()
        self.begun = threading.Event()

    def shards(self, queue: str) -> list[str]:
        """Each queue has two."""
        return [f"{queue}#0", f"{queue}#1"]

    def append(
        self, queue: str, jobs: Sequence[NewJob], *, max_length: int | None = None, replicas: int = 0
    ) -> list[Appended]:
        """All or none."""
        self.begun.set()
        assert self.go_on.wait(20)
        self.meet(queue, jobs)
        self.appended.append((queue, [job.body.decode() for job in jobs]))
        return [
            Appended(id=f"{queue}/p:{job.body.decode()}", seq=1, disposition=Disposition.CREATED)
            for job in jobs
        ]


class House:
    """A mailbox on a played store, and a loop's tasks that leave something in it."""

    def __init__(self) -> None:
        self.store = PlayedStore()
        self.clock = FakeClock()
        self.mailbox = Mailbox(lambda: cast("ShardedStorage", self.store), self.clock)

    def post(self, queue: str, *bodies: str, lane: str = "a") -> Posting:
        """Leave jobs."""
        jobs = [NewJob(body=body.encode(), lane=lane, level=3) for body in bodies]
        posting = Posting(queue, jobs, None, 0)
        self.mailbox.leave(posting)
        return posting

    async def first(self) -> Posting:
        """Leave a job that keeps the queue busy until `go_on`, so that others gather behind it."""
        posting = self.post("q", "first")
        await asyncio.to_thread(self.store.begun.wait, 20)
        return posting


async def outcome(posting: Posting) -> list[str]:
    """The ids a posting got."""
    await posting.future
    return [answer.id for answer in posting.outcome()]


def test_what_gathers_behind_an_append_shares_the_next() -> None:
    """In the order it was left, a hundred jobs at most; each gets its own answers. Other queues go on."""

    async def main() -> None:
        house = House()
        first = await house.first()
        behind = [house.post("q", str(number)) for number in range(120)]
        pair = house.post("q", "x", "y")
        house.store.go_on.set()
        assert await outcome(first) == ["q/p:first"]
        assert [await outcome(each) for each in behind] == [[f"q/p:{number}"] for number in range(120)]
        assert await outcome(pair) == ["q/p:x", "q/p:y"]
        assert [len(bodies) for _, bodies in house.store.appended] == [1, 100, 22]
        assert house.store.appended[2][1][-2:] == ["x", "y"]

    asyncio.run(main())


def test_shards_are_appended_to_apart() -> None:
    """One append is for one shard."""

    async def main() -> None:
        house = House()
        await house.first()
        lanes = "bcdefgh"
        of_shard: dict[str, list[str]] = {}
        for lane in lanes:
            of_shard.setdefault(shard_of(house.store.shards("q"), lane), []).append(lane)
        behind = [house.post("q", lane, lane=lane) for lane in lanes]
        house.store.go_on.set()
        for each in behind:
            await outcome(each)
        assert len(of_shard) == 2
        assert [bodies for _, bodies in house.store.appended] == [["first"], *of_shard.values()]

    asyncio.run(main())


def test_a_full_queue_takes_those_for_whom_there_is_room() -> None:
    """Calls that share an append do not share a refusal."""

    async def main() -> None:
        house = House()
        await house.first()
        room = 2

        def meet(_: str, jobs: Sequence[NewJob]) -> None:
            nonlocal room
            if len(jobs) > room:
                raise QueueFull(10, 10)
            room -= len(jobs)

        behind = [house.post("q", str(number)) for number in range(4)]
        house.store.meet = meet
        room = 3
        house.store.go_on.set()
        assert [await outcome(each) for each in behind[:2]] == [["q/p:0"], ["q/p:1"]]
        for each in behind[2:]:
            with pytest.raises(QueueFull):
                await outcome(each)

    asyncio.run(main())


def test_each_call_is_told_its_own_uncertainty() -> None:
    """After a lost answer every call has an error of its own, with the id its job would have."""

    async def main() -> None:
        house = House()
        await house.first()

        def meet(_: str, jobs: Sequence[NewJob]) -> None:
            if len(jobs) > 1:
                raise EnqueueUncertain("no answer", "q/p:7")

        house.store.meet = meet
        behind = [house.post("q", "a"), house.post("q", "b", "c"), house.post("q", "d")]
        house.store.go_on.set()
        errors = []
        for each in behind:
            with pytest.raises(EnqueueUncertain, match="no answer") as caught:
                await outcome(each)
            errors.append(caught.value)
        assert [error.job_id for error in errors] == ["q/p:7", "q/p:8", "q/p:10"]
        assert len({id(error) for error in errors}) == 3

    asyncio.run(main())


def test_who_waited_behind_an_outage_does_not_wait_as_long_again() -> None:
    """What was left before an append that waited long, in vain, was not sent and says so; later calls are
    tried."""

    async def main() -> None:
        house = House()
        away = [True]

        def meet(_: str, __: Sequence[NewJob]) -> None:
            if away.pop() if away else False:
                house.clock.advance(5)
                raise StorageUnavailable("away", "connection")

        house.store.meet = meet
        before = [house.post("q", "first"), house.post("q", "before")]
        await asyncio.to_thread(house.store.begun.wait, 20)
        house.clock.advance(1)
        after = house.post("q", "after")
        house.store.go_on.set()
        for each in before:
            with pytest.raises(StorageUnavailable, match="away"):
                await outcome(each)
        assert await outcome(after) == ["q/p:after"]

    asyncio.run(main())


def test_what_is_withdrawn_in_time_is_not_sent() -> None:
    """Before it is taken it can be had back; afterwards not."""

    async def main() -> None:
        house = House()
        first = await house.first()
        behind = [house.post("q", str(number)) for number in range(3)]
        assert not house.mailbox.withdraw(first)
        assert house.mailbox.withdraw(behind[1])
        house.store.go_on.set()
        await outcome(behind[2])
        assert house.store.appended[1] == ("q", ["0", "2"])

    asyncio.run(main())


def test_an_errand_has_its_own_error() -> None:
    """What a thread is asked to do is done there, and what it raises is raised where it is awaited."""

    async def main() -> None:
        house = House()
        good = Errand(lambda _: threading.get_ident())
        bad: Errand[int] = Errand(lambda _: int("seven"))
        for each in (good, bad):
            house.mailbox.leave(each)
            await each.future
        assert good.outcome() != threading.get_ident()
        with pytest.raises(ValueError, match="seven"):
            bad.outcome()

    asyncio.run(main())


def test_answers_for_a_closed_loop_are_told_to_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """Nobody is left to be told what was stored: the log is."""
    house = House()

    async def main() -> None:
        await house.first()

    asyncio.run(main())
    with caplog.at_level("WARNING", "glassq"):
        house.store.go_on.set()
        for _ in range(400):
            if caplog.messages:
                break
            threading.Event().wait(0.01)
    assert caplog.messages == ["an event loop was closed before its 1 answers came: stored are q/p:first"]
