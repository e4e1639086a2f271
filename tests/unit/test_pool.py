"""Lanes that wait for a thread: taken in their order, taken back, and how many more may wait."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from queue import SimpleQueue
from types import SimpleNamespace
from typing import Any

import pytest

from glassq.model.leases import Claimed
from glassq.testing.clock import FakeClock
from glassq.worker.pool import LanePool
from glassq.worker.reach import PATIENCE, Reach
from tests.processes import wait_until


class Hall:
    """A pool whose threads wait, with what they took, until the test lets them go on."""

    def __init__(
        self,
        size: int,
        fits: Callable[[str, Iterable[str]], bool] = lambda _work, _others: True,
        place: Callable[[str], str] = lambda work: work,
    ) -> None:
        self.served: list[str] = []
        self.began = threading.Semaphore(0)
        self.may_end = threading.Semaphore(0)
        self.freed = threading.Semaphore(0)
        self.pool: LanePool[str] = LanePool(
            size, "lane", serve=self.serve, on_free=self.freed.release, fits=fits, place=place
        )

    def serve(self, work: str) -> None:
        """Stay with it until the test says so."""
        self.served.append(work)
        self.began.release()
        assert self.may_end.acquire(timeout=10)

    def fill(self, *works: str) -> None:
        """Put these and wait until each thread has one."""
        self.pool.put(works)
        for _ in range(min(len(works), self.pool.size)):
            assert self.began.acquire(timeout=10)

    def let_all_end(self) -> None:
        """Let the threads go on until nothing is left."""
        self.pool.close()
        self.may_end.release(100)


def test_what_waits_is_served_in_its_order() -> None:
    """By the first thread that is free."""
    hall = Hall(2)
    hall.fill("a", "b", "c", "d")
    assert (hall.pool.free(), len(hall.pool)) == (0, 2)
    hall.may_end.release()
    assert hall.began.acquire(timeout=10)
    assert hall.pool.take() == "d"  # a thread that is done with a lane asks for the next
    assert hall.pool.take() is None
    hall.let_all_end()
    assert sorted(hall.served[:2]) == ["a", "b"]
    assert hall.served[2:] == ["c"]


def test_threads_that_something_waits_for_are_not_free() -> None:
    """Else the same thread would be promised twice."""
    hall = Hall(3)
    assert hall.pool.free() == 3
    hall.fill("a")
    assert hall.pool.free() == 2
    hall.let_all_end()


def test_what_is_taken_back_is_served_by_nobody() -> None:
    """The rest keeps its order."""
    hall = Hall(1)
    hall.fill("a", "b1", "c", "b2", "d")
    assert hall.pool.take_back(lambda work: work.startswith("b")) == ["b1", "b2"]
    assert [hall.pool.take(), hall.pool.take(), hall.pool.take()] == ["c", "d", None]
    hall.let_all_end()


def test_room_is_told_when_half_is_taken_up() -> None:
    """So that the next lanes are there before the last are served."""
    hall = Hall(1)
    hall.fill("running", "1", "2", "3", "4")
    assert not hall.pool.wait_until_low(0)
    hall.pool.take()
    assert not hall.pool.wait_until_low(0)
    hall.pool.take()
    assert hall.pool.wait_until_low(0)
    assert not hall.pool.wait_until_low(0)  # whoever was told has done what can be done about it
    hall.pool.put([])
    hall.pool.take()
    assert hall.pool.wait_until_low(0)
    hall.let_all_end()


def test_a_wait_for_room_ends_with_the_worker() -> None:
    """However much waits."""
    hall = Hall(1)
    hall.fill("running", "1", "2", "3", "4")
    waiter = threading.Thread(target=hall.pool.wait_until_low, args=(60,))
    waiter.start()
    hall.pool.wake()
    waiter.join(10)
    assert not waiter.is_alive()
    hall.let_all_end()


def test_without_threads_nothing_is_put(monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be served must be given back."""

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    hall = Hall(2)
    monkeypatch.setattr(threading.Thread, "start", refuse)
    with pytest.raises(RuntimeError):
        hall.pool.put(["a"])
    assert len(hall.pool) == 0


def test_fewer_threads_than_wanted_are_gone_on_with(monkeypatch: pytest.MonkeyPatch) -> None:
    """The system's limit is the pool's size then."""

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    hall = Hall(2)
    hall.fill("a")
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        hall.pool.put(["b"])
    assert hall.pool.free() == 0
    hall.let_all_end()


def test_threads_that_are_not_wanted_rest() -> None:
    """The ones at work take no more, and the others begin nothing, until they are called."""
    hall = Hall(2)
    hall.pool.want(1)
    assert hall.pool.free() == 1
    hall.pool.put(["a", "b", "c"])
    assert hall.began.acquire(timeout=10)
    assert not hall.began.acquire(timeout=0.05)
    hall.pool.want()
    assert hall.began.acquire(timeout=10)
    hall.pool.want(1)
    assert hall.pool.take() is None
    hall.pool.want()
    assert hall.pool.take() == "c"
    hall.let_all_end()


class Course:
    """What a reach goes by, set by the test."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.size, self.busy, self.served, self.waiting = 4, 0, 0, 0
        self.resumed = 0
        self.wanted: int | None = None
        pool: Any = self
        self.reach = Reach(self.clock, pool)
        self.reach.look(Claimed(grants=(), now=0.0, others={"orders": 480}))

    def __len__(self) -> int:
        return self.waiting

    @property
    def steps(self) -> int:
        """As of a pool."""
        return self.served + self.resumed

    def want(self, threads: int | None = None) -> None:
        """As of a pool."""
        self.wanted = threads

    def after(self, seconds: float, served: int, *, ran: float = 0.00001) -> int:
        """How many more lanes are taken once so many were served meanwhile, their jobs running so long."""
        self.clock.advance(seconds)
        self.served += served
        lane: Any = SimpleNamespace(ran=ran)
        self.reach.note([lane])
        return self.reach.lanes()


def test_nothing_is_taken_ahead_before_something_was_served() -> None:
    """Nobody knows how long the turns are."""
    assert Course().after(0.001, 0) == 0


def test_quick_turns_reach_far() -> None:
    """About as many as are served in 10 ms, and no more than a claim takes well."""
    course = Course()
    assert course.after(0.001, 4) == 40
    assert course.after(0.001, 50) == 48


def test_where_many_lanes_are_ready_more_are_taken() -> None:
    """A twentieth of them, within bounds: so a worker keeps few of all from others that get on faster."""
    course = Course()
    for ready, most in ((1_400, 70), (100_000, 96), (20, 48)):
        course.reach.look(Claimed(grants=(), now=0.0, others={"orders": ready - 10, "refunds": 10}))
        assert course.after(0.001, 200) == most


def test_a_worker_that_is_alone_keeps_nothing_from_others() -> None:
    """It takes as many as it gains by, however few are ready."""
    course = Course()
    course.reach.look(Claimed(grants=(), now=0.0, others={"orders": 1}, alone=True))
    assert course.after(0.001, 200) == 96


def test_lanes_in_which_nothing_ran_say_nothing() -> None:
    """As of a job that was given up: whoever has run nothing yet does not know how long jobs take."""
    course = Course()
    assert course.after(0.001, 1, ran=0.0) == 0
    assert course.after(0.001, 1) == 5


def test_slow_turns_take_nothing_ahead() -> None:
    """Other workers could begin those lanes at once."""
    course = Course()
    course.after(0.001, 4)
    assert course.after(1, 4) == 0


def test_jobs_of_next_to_no_time_want_one_thread() -> None:
    """More would wait for the interpreter and each other."""
    course = Course()
    course.after(0.001, 10, ran=0.0001)
    assert course.wanted == 1


def test_jobs_of_turns_that_go_on_count_by_themselves() -> None:
    """However long a lane is served: what matters is how long each of its jobs runs."""
    course = Course()
    course.resumed += 290
    course.after(0.001, 10, ran=0.006)
    assert course.wanted == 1


def test_lanes_whose_turns_go_on_are_not_forgotten() -> None:
    """None may end for long while all of them get on."""
    course = Course()
    assert course.after(0.001, 10) == 96 // 2
    course.resumed += 100
    assert course.after(1, 0) == 96 // 2
    assert course.after(1, 0) == 0


def test_longer_jobs_want_more_threads() -> None:
    """While one waits for something, others work."""
    course = Course()
    course.after(0.002, 10, ran=0.002)
    assert course.wanted == 5


def test_lanes_that_may_each_have_a_thread_get_it() -> None:
    """Taking turns in one thread would cost them a claim for each."""
    course = Course()
    course.reach.look(Claimed(grants=(), now=0.0))
    course.after(0.001, 10, ran=0.0001)
    assert course.wanted is None
    course.waiting = 5
    course.reach.look(Claimed(grants=(), now=0.0))
    course.after(0.001, 10, ran=0.0001)
    assert course.wanted == 1


def test_slow_jobs_want_all_threads() -> None:
    """So does a reach that is forgotten: who knows what comes."""
    course = Course()
    course.after(0.001, 10, ran=0.0001)
    course.after(1, 4, ran=0.9)
    assert course.wanted is None
    course.after(0.001, 10, ran=0.0001)
    course.reach.forget()
    assert course.wanted is None


def test_lanes_that_are_served_count_for_the_crowd() -> None:
    """One thread and two lanes: the one that is claimed while the other is served waits for the end of its
    turn. One that is alone ends no turn for the claim that it causes."""
    course = Course()
    course.size = course.busy = 1
    course.reach.look(Claimed(grants=(), now=0.0))
    assert not course.reach.crowded
    course.waiting = 1
    course.reach.look(Claimed(grants=(), now=0.0))
    assert course.reach.crowded


def test_what_waits_already_counts() -> None:
    """The reach is a level, not a step."""
    course = Course()
    course.waiting = 30
    assert course.after(0.001, 4) == 10


def test_without_news_a_reach_is_forgotten() -> None:
    """Threads that ended no turn for so long run slow jobs by now."""
    course = Course()
    course.after(0.001, 4)
    assert course.after(0.001, 0) == 40
    assert course.after(PATIENCE, 0) == 0


def test_a_lane_that_waits_too_long_is_late() -> None:
    """It is given back then."""
    course = Course()
    lane: Any = SimpleNamespace(since=course.clock.monotonic())
    assert not course.reach.is_late(lane)
    course.clock.advance(PATIENCE * 1.1)
    assert course.reach.is_late(lane)


def test_what_does_not_fit_is_passed_over() -> None:
    """It keeps its place, and is taken up by the thread that makes room for it."""
    hall = Hall(2, fits=lambda work, others: work[0] not in [each[0] for each in others])
    hall.pool.put(["a1", "a2", "b1"])
    for _ in range(2):
        assert hall.began.acquire(timeout=10)
    assert sorted(hall.served) == ["a1", "b1"]
    assert not hall.began.acquire(timeout=0.05)
    assert hall.pool.take() is None
    hall.let_all_end()
    assert hall.began.acquire(timeout=10)
    assert hall.served[2:] == ["a2"]


def test_what_is_of_one_place_is_served_one_after_the_other() -> None:
    """The later one stays aside, and neither it nor its place keeps others waiting."""
    hall = Hall(2, place=lambda work: work[0])
    hall.pool.put(["a1"])
    assert hall.began.acquire(timeout=10)
    assert hall.pool.put(["a2", "b1"]) == ["a1"]
    assert hall.began.acquire(timeout=10)
    assert hall.pool.put(["a3", "b2"]) == ["a2", "b1"]
    assert (len(hall.pool), sorted(hall.served)) == (0, ["a1", "b1"])
    assert not hall.began.acquire(timeout=0.05)
    hall.let_all_end()
    for _ in range(3):
        assert hall.began.acquire(timeout=10)
    assert [work for work in hall.served if work[0] == "a"] == ["a1", "a2", "a3"]
    assert [work for work in hall.served if work[0] == "b"] == ["b1", "b2"]


def test_what_is_unfinished_keeps_its_place() -> None:
    """Whatever its thread does meanwhile: what is of the same place waits, and whoever puts it is told."""
    hall = Hall(2, place=lambda work: work[0])
    hall.fill("a1")
    hall.pool.unfinished.add("a1")
    hall.pool.put(["b1"])
    assert hall.began.acquire(timeout=10)
    hall.may_end.release(2)
    wait_until(lambda: hall.pool.free() == 2, "both are done", lambda: hall.served)
    assert hall.pool.put(["a2"]) == ["a1"]
    assert (len(hall.pool), hall.pool.free()) == (0, 2)
    hall.pool.unfinished.discard("a1")
    hall.pool.put(["c1"])
    assert hall.began.acquire(timeout=10)
    assert hall.began.acquire(timeout=10)
    hall.let_all_end()
    assert sorted(hall.served) == ["a1", "a2", "b1", "c1"]


def test_what_a_thread_resumes_is_what_it_is_at() -> None:
    """Not what it took last: that is served by others, if it is put again."""
    hall = Hall(1, place=lambda work: work[0])

    def serve() -> None:
        hall.pool.put(["a1", "b1"])
        assert [hall.pool.take(), hall.pool.take()] == ["a1", "b1"]
        hall.pool.resume("a1")
        assert hall.pool.put(["b2", "a2"]) == ["a1"]
        hall.pool.rest()

    hall.pool.want(0)
    thread = threading.Thread(target=serve)
    thread.start()
    thread.join(10)
    assert hall.pool.take_back(lambda _: True) == ["b2", "a2"]


def test_what_a_thread_gives_up_is_not_what_it_is_at() -> None:
    """Put again, it waits for a thread as anything else; what the thread is really at goes on to keep others
    of its place aside."""
    hall = Hall(1, place=lambda work: work[0])

    def serve() -> None:
        hall.pool.put(["a1", "b1"])
        assert [hall.pool.take(), hall.pool.take()] == ["a1", "b1"]
        hall.pool.give_up(["a1"])
        assert hall.pool.put(["b2"]) == ["b1"]
        hall.pool.give_up(["a1", "b1"])
        assert hall.pool.put(["b3"]) == ["b2"]
        assert hall.pool.take() == "b2"
        hall.pool.rest()

    hall.pool.want(0)
    thread = threading.Thread(target=serve)
    thread.start()
    thread.join(10)
    assert hall.pool.take_back(lambda _: True) == ["b3"]


def test_what_stayed_aside_is_taken_back_with_the_rest() -> None:
    """Without what it waited for it waits for a thread."""
    hall = Hall(1, place=lambda work: work[0])
    hall.fill("a1", "b1")
    assert hall.pool.put(["a2", "b2"]) == ["a1", "b1"]
    assert hall.pool.take_back(lambda work: work in ("b1", "a2")) == ["b1", "a2"]
    assert (len(hall.pool), hall.pool.oldest()) == (1, "b2")
    hall.let_all_end()


class Watch:
    """A duty that ends when the test says what was found, and notes who had it."""

    def __init__(self, size: int) -> None:
        self.found: SimpleQueue[list[str] | None] = SimpleQueue()
        self.kept_by: SimpleQueue[int] = SimpleQueue()
        self.served_by: SimpleQueue[int] = SimpleQueue()
        self.may_end = threading.Semaphore(0)
        self.pool: LanePool[str] = LanePool(
            size, "lane", serve=self.serve, on_free=lambda: None, watch=self.keep
        )

    def keep(self) -> None:
        """Until something was found; what it is waits for a thread then. None ends it all."""
        self.kept_by.put(threading.get_ident())
        found = self.found.get(timeout=10)
        if found is None:
            self.pool.close()
        else:
            self.pool.put(found)

    def serve(self, _work: str) -> None:
        """Stay with it until the test says so."""
        self.served_by.put(threading.get_ident())
        assert self.may_end.acquire(timeout=10)


def test_who_finds_something_serves_it_and_another_one_keeps_watch() -> None:
    """So nobody has to be woken before it begins, and the watch is kept while it is served, however long."""
    watch = Watch(2)
    watch.pool.begin()
    watch.kept_by.get(timeout=10)
    watch.found.put(["a", "b"])
    for _ in range(2):
        watch.served_by.get(timeout=10)
    finder = watch.kept_by.get(timeout=10)
    watch.may_end.release(2)
    asleep = watch.pool._filled._waiters  # type: ignore[attr-defined]
    wait_until(lambda: len(asleep) == 2, "two threads that wait", lambda: asleep)
    watch.found.put(["c"])
    assert watch.served_by.get(timeout=10) == finder
    keeper = watch.kept_by.get(timeout=10)
    assert keeper != finder
    watch.found.put([])  # nothing was found: the watch goes on
    assert watch.kept_by.get(timeout=10) == keeper
    watch.may_end.release()
    watch.found.put(None)


def test_what_one_finds_for_many_is_served_by_many() -> None:
    """By itself, by those it calls, and the watch goes on."""
    watch = Watch(3)
    watch.pool.begin()
    finder = watch.kept_by.get(timeout=10)
    watch.found.put(["a", "b", "c"])
    served_by = {watch.served_by.get(timeout=10) for _ in range(3)}
    keeper = watch.kept_by.get(timeout=10)
    assert len({*served_by, finder, keeper}) == 4
    watch.may_end.release(3)
    watch.found.put(None)


def test_a_single_thread_serves_and_keeps_watch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the system gives no other one: one after the other."""
    watch, start, begun = Watch(2), threading.Thread.start, list[threading.Thread]()

    def once(thread: threading.Thread) -> None:
        if begun:
            raise RuntimeError("can't start new thread")
        begun.append(thread)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", once)
    watch.pool.begin()
    for work in ("a", "b"):
        finder = watch.kept_by.get(timeout=10)
        watch.found.put([work])
        assert watch.served_by.get(timeout=10) == finder
        watch.may_end.release()
    assert watch.pool.size == 1
    watch.found.put(None)
