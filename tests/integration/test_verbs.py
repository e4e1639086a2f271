"""Delays, expiry, duplicates, priorities, cancelling, pausing, replaying, on each store."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from glassq import Glassq, Priority, current_job
from glassq.errors import (
    BadOption,
    ConfigurationError,
    JobCancelled,
    JobNotFound,
    PayloadTooLarge,
    QueueFull,
    ReplayRefused,
)


@pytest.fixture
def app(store_url: str) -> Iterator[Glassq]:
    """An application on an empty store of each kind, with short leases and metrics of its own."""
    with Glassq(store_url, registry=CollectorRegistry(), lease_seconds=1) as app:
        yield app
        balance(app)


def balance(app: Glassq) -> None:
    """In every queue enqueued + replayed = settled + left, and every state is at least 0."""
    for stats in app.storage.stats(app.storage.queues()):
        assert stats.enqueued + stats.replayed == sum(stats.settled.values()) + stats.depth, stats
        assert min(stats.by_state().values()) >= 0, stats


def wait(condition: Callable[[], Any]) -> None:
    """Wait for what another thread causes."""
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.005)


def recorder(app: Glassq, queue: str = "q", **options: Any) -> tuple[Any, list[str]]:
    """A task that notes its argument, and its notes."""
    ran: list[str] = []

    def note(name: str) -> None:
        ran.append(name)

    return app.fifo(queue, name="note", **options)(note), ran


def test_a_delayed_job_joins_the_tail_when_due(app: Glassq) -> None:
    """`delay` and `eta` keep a job out of its lane until then; its receipt has no place yet."""
    note, ran = recorder(app)
    receipt = note.options(delay=0.4)("delay")
    note.options(eta=datetime.now(UTC) + timedelta(seconds=0.5))("eta")
    assert receipt.seq is None
    assert app.job(receipt.id).state == "scheduled"
    with app.worker():
        note("now")
        wait(lambda: len(ran) == 3)
    assert ran == ["now", "delay", "eta"]


def test_a_job_past_its_expiry_does_not_run(app: Glassq) -> None:
    """It ends as expired, counted apart, whether the task or the call says so; the next one runs."""
    note, ran = recorder(app, ttl=0.05)
    note("by the task")
    note.options(ttl=60)("by the call")
    time.sleep(0.1)
    assert app.worker().run_until_idle(timeout=20)
    assert ran == ["by the call"]
    assert app.queue("q").stats().settled["expired"] == 1
    labels = {"queue": "q", "task": "note", "outcome": "expired"}
    assert app.metrics_registry.get_sample_value("glassq_jobs_processed_total", labels) == 1


def test_a_duplicate_says_so(app: Glassq) -> None:
    """`dedup_id` for a window, `unique` until settled; the receipt names the job that is known already."""
    note, ran = recorder(app)
    first = note.options(dedup_id="order-1")("a")
    again = note.options(dedup_id="order-1")("b")
    assert (again.id, again.seq, again.disposition) == (first.id, first.seq, "duplicate")
    unique = note.options(unique=True)("c")
    assert note.options(unique=True)("c").id == unique.id
    assert note.options(unique=True)("d").disposition == "created"
    assert app.worker().run_until_idle(timeout=20)
    assert ran == ["a", "c", "d"]
    assert note.options(dedup_id="order-1")("e").disposition == "duplicate", "remembered after it settled"
    assert note.options(unique=True)("c").disposition == "created", "free after it settled"
    assert app.metrics_registry.get_sample_value("glassq_jobs_deduplicated_total", {"queue": "q"}) == 3


def test_a_higher_level_is_served_next(app: Glassq) -> None:
    """Order holds within (key, level), and what runs is not overtaken."""
    note, ran = recorder(app)
    held = threading.Event()
    begun = threading.Event()

    @app.fifo("q", name="hold", priority=Priority.VERY_LOW)
    def hold() -> None:
        begun.set()
        held.wait(20)
        ran.append("hold")

    hold()
    with app.worker():
        assert begun.wait(20)
        note.options(priority=Priority.LOW)("low")
        note("normal")
        for number in range(3):
            note.options(priority=Priority.CRITICAL)(f"critical {number}")
        held.set()
        wait(lambda: len(ran) == 6)
    assert ran == ["hold", "critical 0", "critical 1", "critical 2", "normal", "low"]


def test_a_waiting_job_is_removed_and_a_running_one_asked(app: Glassq) -> None:
    """`removed` never runs. `asked` reaches `check()`, and the job ends as cancelled without a retry."""
    note, ran = recorder(app)
    begun = threading.Event()
    heard: list[str] = []

    @app.fifo("q", name="long", max_retries=5, retry_wait=0)
    def long() -> None:
        begun.set()
        job = current_job()
        while True:
            time.sleep(0.01)
            try:
                job.check()
            except JobCancelled:
                heard.append(job.id)
                raise

    running = long()
    waiting = note("never")
    note("after")
    with app.worker():
        assert begun.wait(20)
        assert app.cancel(waiting) == "removed"
        assert app.cancel(running.id) == "asked"
        wait(lambda: ran == ["after"])
    assert heard == [running.id]
    assert app.queue("q").stats().settled["cancelled"] == 2
    with pytest.raises(JobNotFound, match="settled jobs are not kept"):
        app.cancel(waiting)


def test_nothing_has_begun_while_a_callback_runs(app: Glassq) -> None:
    """What a callback cancels, pauses or puts before the next job takes effect before that one begins."""
    ran: list[str] = []
    queue = app.queue("q")

    def steer(_value: Any, job: Any, _binding: Any) -> None:
        if job.args == ["first"]:
            assert app.cancel(receipts[1]) == "removed"
            work.options(priority=Priority.HIGH)("urgent")
        elif job.args == ["urgent"]:
            queue.pause()

    @app.fifo("q", name="work", on_success=steer)
    def work(name: str) -> None:
        ran.append(name)

    receipts = app.enqueue_many([work.s("first"), work.s("second"), work.s("third")])
    with app.worker():
        wait(lambda: queue.stats().paused == 1)
        assert ran == ["first", "urgent"]
        queue.resume()
        wait(lambda: len(ran) == 3)
    assert ran == ["first", "urgent", "third"]


def test_a_paused_queue_and_a_paused_key(app: Glassq) -> None:
    """What runs ends, nothing further begins; each scope is lifted by itself."""
    note, ran = recorder(app, key="name")
    queue = app.queue("q")
    queue.pause("a")
    for key in ("a", "b"):
        note(key)
    assert app.worker().run_until_idle(timeout=20)
    assert ran == ["b"]
    queue.pause()
    note("c")
    assert queue.resume("a")
    assert app.worker().run_until_idle(timeout=20)
    assert ran == ["b"]
    assert queue.stats().paused == 2
    assert queue.resume()
    assert not queue.resume()
    assert app.worker().run_until_idle(timeout=20)
    assert sorted(ran) == ["a", "b", "c"]


def test_pausing_stops_a_lane_between_two_jobs(app: Glassq) -> None:
    """A worker in the middle of a long lane stops at the end of the job it runs."""
    ran: list[int] = []
    queue = app.queue("q")

    @app.fifo("q", name="work")
    def work(number: int) -> None:
        ran.append(number)
        if number == 3:
            queue.pause()

    app.enqueue_many([work.s(number) for number in range(20)])
    with app.worker():
        wait(lambda: ran and ran[-1] == 3 and queue.stats().leased == 0)
        assert ran == [0, 1, 2, 3]
        queue.resume()
        wait(lambda: len(ran) == 20)
    assert ran == list(range(20))


def test_dead_letters_come_back_in_their_order(app: Glassq) -> None:
    """All of them to the front, before what waits; a dry run changes nothing."""
    broken = [True]
    ran: list[int] = []

    @app.fifo("q", name="work", max_retries=0)
    def work(number: int) -> None:
        if broken[0]:
            raise ValueError("broken")
        ran.append(number)

    for number in range(4):
        work(number)
    assert app.worker().run_until_idle(timeout=20)
    broken[0] = False
    queue = app.queue("q")
    letters = queue.dead_letters()
    assert [letter.seq for letter in letters] == [1, 2, 3, 4]
    assert app.job(letters[0].id).state == "buried"
    work(99)

    plan = queue.replay(dry_run=True)
    assert [(job.id, job.was_seq, job.seq) for job in plan] == [
        (each.id, each.seq, each.seq) for each in letters
    ]
    assert len(queue.dead_letters()) == 4
    with pytest.raises(ReplayRefused) as refused:
        queue.replay(ids=[letters[2].id])
    assert refused.value.left_behind == letters[0].id
    with pytest.raises(JobNotFound, match="nobody"):
        queue.replay(ids=["q/nobody:1"])
    queue.replay(ids=[letters[3].id], to="tail")
    queue.replay()
    assert app.worker().run_until_idle(timeout=20)
    assert ran == [0, 1, 2, 99, 3]
    assert queue.dead_letters() == []


def test_a_forced_replay_and_a_long_one(app: Glassq) -> None:
    """`force` accepts the inversion; more than one step's worth of a key comes back in order all the same."""
    ran: list[int] = []
    broken = [True]

    @app.fifo("q", name="work", max_retries=0)
    def work(number: int) -> None:
        if broken[0]:
            raise ValueError
        ran.append(number)

    app.enqueue_many([work.s(number) for number in range(130)])
    assert app.worker().run_until_idle(timeout=30)
    broken[0] = False
    queue = app.queue("q")
    work(1000)
    last = queue.dead_letters(limit=200)[-1]
    with app.worker():
        queue.replay(ids=[last.id], force=True)
        wait(lambda: sorted(ran) == [129, 1000])
        ran.clear()
        work(2000)
        queue.pause()
        work(3000)
        queue.replay()
        queue.resume()
        wait(lambda: len(ran) == 131)
    replayed = [number for number in ran if number < 1000]
    assert replayed == list(range(129))
    assert queue.stats().paused_whole is False
    assert queue.stats().lanes["paused"] == 0


def test_purging(app: Glassq) -> None:
    """What waits ends as cancelled; dead letters are dropped apart."""
    note, ran = recorder(app)
    note("a")
    note.options(delay=60)("b")
    queue = app.queue("q")
    assert queue.purge() == 2
    assert queue.purge_dead() == 0
    assert app.worker().run_until_idle(timeout=20)
    assert ran == []
    assert queue.stats().settled["cancelled"] == 2


def test_a_full_queue_refuses_or_waits(app: Glassq) -> None:
    """`max_length` with no wait raises at once; with a wait the call goes through when there is room."""
    note, ran = recorder(app)
    app.queue("q", max_length=2)
    app.enqueue_many([note.s("a"), note.s("b")])
    with pytest.raises(QueueFull) as full:
        note("c")
    assert (full.value.depth, full.value.limit) == (2, 2)
    assert app.metrics_registry.get_sample_value(
        "glassq_enqueue_failures_total", {"queue": "q", "reason": "queue_full"}
    )
    app.queue("q", full_wait=20)
    with app.worker():
        note("c")
        wait(lambda: ran == ["a", "b", "c"])


def test_payload_limits_are_the_queues(app: Glassq) -> None:
    """`max_payload` replaces the default of 256 KiB."""
    note, _ = recorder(app)
    app.queue("q", max_payload=100)
    note("x" * 50)
    with pytest.raises(PayloadTooLarge):
        note("x" * 200)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"delay": -1}, "seconds from 0 up"),
        ({"eta": datetime(2030, 1, 1)}, "time zone"),  # noqa: DTZ001 - that is the mistake
        ({"delay": 1, "eta": 5.0}, "exclude"),
        ({"ttl": 0}, "above 0"),
        ({"dedup_id": ""}, "text of 1 to"),
        ({"dedup_id": "\ud800"}, "valid Unicode"),
        ({"dedup_window": 5}, "give one with it"),
        ({"unique": True, "dedup_id": "a", "dedup_window": 5}, "exclude"),
        ({"unique": 1}, "True or False"),
        ({"priority": 7}, "CRITICAL=6"),
        ({"prioritty": 3}, "did you mean 'priority'"),
    ],
    ids=str,
)
def test_impossible_options_of_a_call(app: Glassq, options: dict[str, Any], problem: str) -> None:
    """Each is refused before anything is stored, in words that help."""
    note, _ = recorder(app)
    with pytest.raises(BadOption, match=problem):
        note.options(**options)
    with pytest.raises(BadOption, match=problem):
        note.options(key="k").options(**options)


STEERING: dict[str, Callable[[Glassq, Any], Any]] = {
    "pause": lambda app, key: app.queue("q").pause(key=key),
    "resume": lambda app, key: app.queue("q").resume(key=key),
    "retry": lambda app, key: app.queue("q").retry(key),
    "skip": lambda app, key: app.queue("q").skip(key),
}
FINDING: dict[str, Callable[[Glassq, Any], Any]] = {
    "cancel": lambda app, job: app.cancel(job),
    "job": lambda app, job: app.job(job),
    "replay": lambda app, job: app.queue("q").replay([job]),
}


@pytest.mark.parametrize("verb", STEERING)
def test_impossible_keys_of_a_lane(app: Glassq, verb: str) -> None:
    """What no job can have as its key is refused as it is at the call, by each store alike."""
    recorder(app)[0]("a")
    for key in ("\ud800", "\udcff", "", "k" * 513, 7, b"k"):
        with pytest.raises(BadOption, match=r"^key: an ordering key"):
            STEERING[verb](app, key)


@pytest.mark.parametrize("verb", FINDING)
def test_impossible_ids_of_a_job(app: Glassq, verb: str) -> None:
    """What cannot be an id is refused; what could be one and is nobody's is not found."""
    recorder(app)[0]("a")
    for job in ("\ud800", "q/\udcff:1", 7, b"q/p:1"):
        with pytest.raises(BadOption, match="a job's id is"):
            FINDING[verb](app, job)
    for job in ("", "q", "q/p:1", "nowhere/p:1", "q/\0:ä"):
        with pytest.raises(JobNotFound):
            FINDING[verb](app, job)


@pytest.mark.parametrize("limit", [-1, 1 << 31, 10**30, 1.5, "3", True], ids=str)
def test_impossible_numbers_of_rows(app: Glassq, limit: Any) -> None:
    """A list is as long as both stores can count."""
    recorder(app)[0]("a")
    for look in (app.queue("q").peek, app.queue("q").dead_letters, app.queue("q").halted):
        with pytest.raises(BadOption, match=r"^limit: is a whole number"):
            look(limit)
    assert len(app.queue("q").peek((1 << 31) - 1)) == 1


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"max_length": 0}, "from 1 up"),
        ({"full_wait": -1}, "from 0 up"),
        ({"max_payload": "1MB"}, "whole number"),
        ({"durability": "fsync"}, "replicated:N"),
        ({"durability": "replicated:0"}, "replicated:N"),
    ],
    ids=str,
)
def test_impossible_options_of_a_queue(app: Glassq, options: dict[str, Any], problem: str) -> None:
    """Each is refused where it is written."""
    with pytest.raises(BadOption, match=problem):
        app.queue("q", **options)


def test_durability_needs_a_store_with_replicas(app: Glassq) -> None:
    """What a store cannot give is refused at the call, not promised."""
    note, _ = recorder(app)
    app.queue("q", durability="replicated:1")
    if app.storage.kind == "sqlite":
        with pytest.raises(ConfigurationError, match="no replicas"):
            note("a")
        assert app.queue("q").stats().depth == 0
    app.queue("q", durability="memory")
    assert note("b").seq is not None
