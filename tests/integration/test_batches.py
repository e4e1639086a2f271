"""Many calls at once, over tasks, keys and queues, on each store: a receipt each, and nothing unknown after a
failure."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from glassq import Glassq
from glassq.client.task import Signature
from glassq.errors import (
    BadOption,
    EnqueueError,
    EnqueueUncertain,
    PayloadTooLarge,
    QueueFull,
    StorageUnavailable,
)
from glassq.model.jobs import Appended, Disposition, JobState, NewJob, Receipt

Call = Signature[Any]


@pytest.fixture
def app(store_url: str) -> Iterator[Glassq]:
    """An application on an empty store of each kind, with metrics of its own."""
    with Glassq(store_url, registry=CollectorRegistry()) as app:
        yield app


class Appends:
    """The appends of an application, counted; some of them fail."""

    def __init__(self, app: Glassq, monkeypatch: pytest.MonkeyPatch) -> None:
        self.made: list[tuple[str, int]] = []
        self.failures: dict[int, Exception] = {}
        self.answers_lost = False
        self._append = app.storage.append
        monkeypatch.setattr(app.storage, "append", self.append)

    def append(self, queue: str, jobs: Sequence[NewJob], **options: Any) -> list[Appended]:
        """As the store does, but for the failures, by the number of the append."""
        failure = self.failures.get(len(self.made))
        self.made.append((queue, len(jobs)))
        if failure is not None and not self.answers_lost:
            raise failure
        answers = self._append(queue, jobs, **options)
        if failure is not None:
            raise failure
        return answers


@pytest.fixture
def appends(app: Glassq, monkeypatch: pytest.MonkeyPatch) -> Appends:
    """What the application asks of its store."""
    return Appends(app, monkeypatch)


def task_on(app: Glassq, queue: str, **options: Any) -> Callable[..., Any]:
    """A task of its own on a queue, as what makes its calls."""

    def work(key: str, number: int) -> None: ...

    call: Callable[..., Any] = app.fifo(queue, name=f"work.{queue}", key="key", **options)(work).s
    return call


def in_store(app: Glassq, queue: str) -> list[str]:
    """The ids of a queue's unsettled jobs by sequence."""
    return [record.job.id for record in app.storage.waiting(queue, 100_000)]


def ids(receipts: Sequence[Receipt], queue: str) -> list[str]:
    """Those of one queue's receipts."""
    return [receipt.id for receipt in receipts if receipt.queue == queue]


# -- what is stored --------------------------------------------------------------------------------------


def test_receipts_are_in_the_order_of_the_calls(app: Glassq, appends: Appends) -> None:
    """Whichever queues they went to: two that take turns cost no more round trips than two in a row."""
    here, there = task_on(app, "here"), task_on(app, "there")
    calls = [(here, there)[number % 2](f"k{number % 3}", number) for number in range(250)]
    receipts = app.enqueue_many(calls)
    assert [receipt.queue for receipt in receipts] == ["here", "there"] * 125
    assert [receipt.key for receipt in receipts] == [f"k{number % 3}" for number in range(250)]
    for queue in ("here", "there"):
        assert in_store(app, queue) == ids(receipts, queue)
        assert [receipt.seq for receipt in receipts if receipt.queue == queue] == list(range(1, 126))
    assert appends.made == [("here", 100), ("there", 100), ("here", 25), ("there", 25)]


def test_chunks_are_contiguous(app: Glassq) -> None:
    """Whoever else enqueues meanwhile comes before or behind a chunk, never in between."""
    work, other = task_on(app, "q"), app.fifo("q", name="other")(lambda: None)
    ended = threading.Event()

    def disturb() -> None:
        while not ended.is_set():
            other()

    stranger = threading.Thread(target=disturb)
    stranger.start()
    try:
        receipts = app.enqueue_many([work("k", number) for number in range(500)])
    finally:
        ended.set()
        stranger.join()
    seqs = [receipt.seq or 0 for receipt in receipts]
    assert seqs == sorted(seqs)
    for start in range(0, 500, 100):
        assert seqs[start + 99] - seqs[start] == 99


def test_large_calls_go_in_smaller_chunks(app: Glassq, appends: Appends) -> None:
    """A chunk is a mebibyte at most, envelopes included."""
    app.queue("q", max_payload=400_000)
    work = task_on(app, "q")
    calls = [work("x" * 500, number) for number in range(3)]
    large = app.fifo("q", name="large")(lambda text: None)
    receipts = app.enqueue_many([*calls, *(large.s("x" * 300_000) for _ in range(7)), *calls])
    assert in_store(app, "q") == ids(receipts, "q")
    assert [jobs for _, jobs in appends.made] == [6, 3, 4]


def test_nothing_is_stored_of_a_list_with_a_bad_call(app: Glassq, appends: Appends) -> None:
    """All of it is checked first, and an empty one is no error."""
    work = task_on(app, "q")
    with pytest.raises(PayloadTooLarge):
        app.enqueue_many([*(work("k", number) for number in range(300)), work("k", "x" * 300_000)])
    with pytest.raises(TypeError):
        app.enqueue_many([work("k", 1), work("k")])
    with pytest.raises(BadOption, match=r"number 1 is a str, no call to enqueue; make one by task\.s"):
        app.enqueue_many([work("k", 1), "k"])  # type: ignore[list-item]
    assert app.enqueue_many([]) == []
    assert list(app.enqueue_each(iter([]))) == []
    assert appends.made == []


# -- calls without end -----------------------------------------------------------------------------------


def test_an_iterator_is_read_as_it_is_stored(app: Glassq, appends: Appends) -> None:
    """However long it is: at no time more than a thousand calls are read and not stored."""
    work, total = task_on(app, "q"), 5500
    read = 0

    def calls() -> Iterator[Call]:
        nonlocal read
        for number in range(total):
            read += 1
            assert read - sum(jobs for _, jobs in appends.made) <= 1000
            yield work(f"k{number % 7}", number)

    furthest, receipts = 0, []
    for receipt in app.enqueue_each(calls()):
        receipts.append(receipt)
        furthest = max(furthest, read - len(receipts))
    assert furthest < 1000
    assert len(appends.made) == total / 100
    assert in_store(app, "q") == ids(receipts, "q")
    assert len(app.enqueue_many(work("k", number) for number in range(1234))) == 1234


def test_large_calls_of_an_iterator_do_not_pile_up(app: Glassq, appends: Appends) -> None:
    """Not more than eight mebibytes of them, and one call."""
    app.queue("q", max_payload=400_000)
    large, read = app.fifo("q", name="large")(lambda text: None), 0

    def calls() -> Iterator[Call]:
        nonlocal read
        for _ in range(60):
            read += 1
            assert read - sum(jobs for _, jobs in appends.made) <= 8 * 1024 * 1024 / 300_000 + 1
            yield large.s("x" * 300_000)

    assert len(list(app.enqueue_each(calls()))) == 60


def test_nothing_is_enqueued_before_a_receipt_is_asked_for(app: Glassq, appends: Appends) -> None:
    """Nor after the last one that is."""
    work = task_on(app, "q")
    receipts = app.enqueue_each(work("k", number) for number in range(3000))
    assert appends.made == []
    next(receipts)
    assert sum(jobs for _, jobs in appends.made) == 1000
    receipts.close()  # type: ignore[attr-defined]
    assert app.queue("q").stats().enqueued == 1000


def test_a_bad_call_far_behind_in_an_iterator(app: Glassq) -> None:
    """What was stored before it is told, by the error the bad call caused or with that as the cause."""
    work = task_on(app, "q")

    def calls(last: Call | None) -> Iterator[Call]:
        for number in range(1500):
            yield work("k", number)
        if last is None:
            raise OSError("the file ends here")
        yield last

    with pytest.raises(PayloadTooLarge) as too_large:
        app.enqueue_many(calls(work("k", "x" * 300_000)))
    assert list(too_large.value.accepted) == list(range(1000))
    assert [receipt.id for receipt in too_large.value.receipts] == in_store(app, "q")
    bare: Any = app.fifo("q", name="bare")(lambda number: None)
    for last, cause in ((bare.s(), TypeError), (None, OSError)):
        app.queue("q").purge()
        with pytest.raises(EnqueueError, match=rf"1000 calls were enqueued, then {cause.__name__}") as failed:
            app.enqueue_many(calls(last))
        assert isinstance(failed.value.__cause__, cause)
        assert [receipt.id for receipt in failed.value.receipts] == in_store(app, "q")
    with pytest.raises(OSError, match="the file ends here"):
        list(app.enqueue_each(calls(None)))


# -- failures --------------------------------------------------------------------------------------------


def test_a_full_queue_does_not_hide_what_others_took(app: Glassq) -> None:
    """The calls before its chunk are in, to whichever queue; its own and all behind it are not."""
    free, full = task_on(app, "free"), task_on(app, "full")
    app.queue("full", max_length=150)
    calls = [(free, full)[number % 2]("k", number) for number in range(400)]
    with pytest.raises(QueueFull) as failed:
        app.enqueue_many(calls)
    error = failed.value
    assert (error.depth, error.limit, error.uncertain) == (100, 150, frozenset())
    assert sorted(error.accepted) == [*range(200), *range(200, 400, 2)]
    assert in_store(app, "full") == ids(error.receipts, "full")
    assert in_store(app, "free") == ids(error.receipts, "free")
    assert [error.accepted[place].queue for place in (0, 1, 398)] == ["free", "full", "free"]
    assert error.__notes__ == ["a batch ended with this, at the chunk that begins with its call 201"]
    app.queue("full", max_length=1000)
    known = {*error.accepted, *error.uncertain}
    receipts = app.enqueue_many([call for place, call in enumerate(calls) if place not in known])
    assert in_store(app, "full") == [*ids(error.receipts, "full"), *ids(receipts, "full")]


def test_a_store_that_fails_in_the_middle(app: Glassq, appends: Appends) -> None:
    """Nothing further is tried; what is in is told, and what failed is the cause."""
    here, there = task_on(app, "here"), task_on(app, "there")
    appends.failures = {2: StorageUnavailable("gone for lunch")}
    calls = [*(here("k", number) for number in range(150)), *(there("k", number) for number in range(120))]
    with pytest.raises(
        EnqueueError, match="150 calls were enqueued, then StorageUnavailable: gone"
    ) as failed:
        app.enqueue_many(calls)
    error = failed.value
    assert isinstance(error.__cause__, StorageUnavailable)
    assert [jobs for _, jobs in appends.made] == [100, 50, 100]
    assert sorted(error.accepted) == list(range(150))
    assert in_store(app, "here") == ids(error.receipts, "here")
    assert in_store(app, "there") == []


def test_a_store_that_fails_at_once(app: Glassq, appends: Appends) -> None:
    """Its own error says all there is to say: nothing is in."""
    work = task_on(app, "q")
    appends.failures = {0: StorageUnavailable("gone for lunch")}
    with pytest.raises(StorageUnavailable):
        app.enqueue_many([work("k", number) for number in range(300)])
    assert appends.made == [("q", 100)]
    assert app.enqueue_many([work("k", 1)])[0].seq == 1


@pytest.mark.parametrize("arrived", [True, False])
def test_an_answer_that_was_lost(app: Glassq, appends: Appends, arrived: bool) -> None:
    """The calls of that chunk may be in, or not; of all others it is known."""
    here, there = task_on(app, "here"), task_on(app, "there")
    appends.failures = {2: EnqueueUncertain("the answer was lost", "here/x:1")}
    appends.answers_lost = arrived
    calls = [(here, here, there)[number % 3]("k", number) for number in range(450)]
    with pytest.raises(EnqueueUncertain) as failed:
        app.enqueue_many(iter(calls))
    error = failed.value
    places = [place for place in range(450) if place % 3 != 2]
    assert sorted(error.accepted) == sorted([*places[:100], *range(2, 300, 3)])
    assert error.uncertain == frozenset(places[100:200])
    assert len(in_store(app, "here")) == (200 if arrived else 100)
    assert in_store(app, "here")[:100] == ids(error.receipts, "here")
    assert in_store(app, "there") == ids(error.receipts, "there")


def test_places_are_those_in_the_whole_batch(app: Glassq, appends: Appends) -> None:
    """However far behind in an iterator it fails; who took receipts already is told of the others."""
    work = task_on(app, "q")
    appends.failures = {number: EnqueueUncertain("the answer was lost", "q/x:1") for number in (12, 25)}
    with pytest.raises(EnqueueUncertain) as failed:
        app.enqueue_many(work("k", number) for number in range(1500))
    assert sorted(failed.value.accepted) == list(range(1200))
    assert failed.value.uncertain == frozenset(range(1200, 1300))
    taken: list[Receipt] = []
    with pytest.raises(EnqueueUncertain) as failed:
        taken.extend(app.enqueue_each(work("k", number) for number in range(1500)))
    assert len(taken) == 1000
    assert sorted(failed.value.accepted) == [*range(1000, 1200)]
    assert failed.value.uncertain == frozenset(range(1200, 1300))
    assert in_store(app, "q")[1200:] == [*ids(taken, "q"), *ids(failed.value.receipts, "q")]


# -- any batch -------------------------------------------------------------------------------------------

BATCH = st.lists(
    st.fixed_dictionaries(
        {
            "task": st.integers(0, 3),
            "key": st.sampled_from([None, "a", "b"]),
            "priority": st.sampled_from([None, 1, 6]),
            "delay": st.sampled_from([None, None, 0, 60]),
            "dedup_id": st.sampled_from([None, None, "x", "y"]),
        }
    ),
    max_size=60,
)
QUEUES = ("first", "first", "second", "third")
numbers = count()


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(part=BATCH, times=st.integers(1, 40), lazily=st.booleans())
def test_any_batch_is_stored_as_its_receipts_say(
    app: Glassq, part: list[Any], times: int, lazily: bool
) -> None:
    """Each queue holds what its receipts name, in the order of the calls, with their keys and levels; what is
    put off has no place yet; a duplicate names the call it is one of."""
    example, batch = next(numbers), (part * times)[:450]
    queues = [f"{name}.{example}" for name in QUEUES]
    tasks = [
        app.fifo(queue, name=f"t{number}.{example}")(lambda at: None) for number, queue in enumerate(queues)
    ]
    calls = [
        tasks[each["task"]].options(**{name: value for name, value in each.items() if name != "task"}).s(at)
        for at, each in enumerate(batch)
    ]
    receipts = app.enqueue_many(iter(calls) if lazily else calls)
    assert len(receipts) == len(calls)
    placed: dict[str, list[tuple[str, str, int]]] = {queue: [] for queue in queues}
    first: dict[tuple[str, str], Receipt] = {}
    for each, receipt in zip(batch, receipts, strict=True):
        queue = queues[each["task"]]
        assert (receipt.queue, receipt.key) == (queue, each["key"])
        twin = first.get((queue, each["dedup_id"] or ""))
        if twin is not None:
            assert (receipt.disposition, receipt.id) == (Disposition.DUPLICATE, twin.id)
            assert receipt.seq == twin.seq
            continue
        assert receipt.disposition is Disposition.CREATED
        if each["dedup_id"]:
            first[queue, each["dedup_id"]] = receipt
        if each["delay"]:
            assert receipt.seq is None
            assert app.job(receipt.id).state is JobState.SCHEDULED
        else:
            placed[queue].append((receipt.id, each["key"] or "", each["priority"] or 3))
            assert receipt.seq == len(placed[queue])
    for queue in queues:
        found = app.storage.waiting(queue, 1000)
        assert [(record.job.id, record.lane, record.job.level) for record in found] == placed[queue]
