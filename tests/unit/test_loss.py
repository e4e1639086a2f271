"""A store that lost what it acknowledged is found out: once, by what this process knew before it asked."""

from __future__ import annotations

import logging
import multiprocessing
import threading
from random import Random

import pytest
from prometheus_client import CollectorRegistry

from glassq.model.events import LOSSES, DataLossDetected, QueueDeclared
from glassq.model.leases import Settled, SettleStatus
from glassq.model.watermarks import Counts, Run, Watermark
from glassq.observe.losses import log_losses
from glassq.observe.prometheus import observe_metrics
from glassq.policy.loss import Loss, find_loss, later
from glassq.stores.remembering import Memory
from glassq.telemetry import Bus

FIRST, SECOND = Run("one", Counts()), Run("two", Counts(90, 95, 40))


def mark(
    seq: int, enqueued: int, settled: int, incarnation: str = "life", run: Run | None = None
) -> Watermark:
    """A watermark in short."""
    return Watermark(incarnation, Counts(seq, enqueued, settled), run)


KNOWN = mark(100, 105, 50)


class Told:
    """A memory, and the losses it told of."""

    def __init__(self) -> None:
        self.bus = Bus()
        self.losses: list[DataLossDetected] = []
        self.bus.subscribe(self.losses.append, DataLossDetected)
        self.memory = Memory(self.bus)

    def hear(self, found: Watermark, left: Watermark | None = None) -> None:
        """A call that was sent and answered with nothing between."""
        before = self.memory.recall(["orders"])
        self.memory.learn(before, {"orders": found}, {"orders": left or found})

    @property
    def kinds(self) -> list[str]:
        """What was lost, in order."""
        return [loss.kind for loss in self.losses]


@pytest.fixture
def told() -> Told:
    """A memory that knows nothing yet."""
    return Told()


# -- two watermarks --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("found", "loss"),
    [
        (KNOWN, None),
        (mark(101, 106, 51), None),
        (mark(0, 0, 0, ""), Loss("emptied", 55, 0, 1)),
        (mark(300, 300, 300, "another"), Loss("emptied", 55, 0, 1)),
        (mark(97, 102, 50), Loss("rolled_back", 3, 0, 98)),
        (mark(100, 105, 48), Loss("rolled_back", 0, 2, 101)),
        (mark(100, 104, 50), Loss("rolled_back", 1, 0, 101)),
        (mark(99, 105, 50), Loss("rolled_back", 0, 0, 100)),
        (mark(97, 102, 60), Loss("rolled_back", 3, 0, 98)),
    ],
)
def test_a_counter_that_went_back_is_a_loss(found: Watermark, loss: Loss | None) -> None:
    """Another life is everything lost; in the same one each counter is enough, and no figure is negative."""
    assert find_loss(KNOWN, found) == loss
    assert loss is None or loss.kind in LOSSES


def test_who_knew_nothing_misses_nothing() -> None:
    """A process that never saw the old state has lost nothing of its own."""
    assert find_loss(Watermark(), KNOWN) is None
    assert find_loss(Watermark(), Watermark()) is None


def test_a_purged_store_that_forgets_its_settled_jobs_lost_no_job() -> None:
    """Everything was settled: it is emptied all the same, and no job is missing."""
    assert find_loss(mark(9, 9, 9), Watermark()) == Loss("emptied", 0, 0, 1)


@pytest.mark.parametrize(
    ("known", "found", "loss"),
    [
        # The counters have come further again than they had been: what was lost is behind them.
        (mark(100, 105, 50, run=FIRST), mark(120, 125, 60, run=SECOND), Loss("rolled_back", 10, 10, 91)),
        (mark(90, 95, 40, run=FIRST), mark(120, 125, 60, run=SECOND), None),
        (mark(100, 105, 50, run=SECOND), mark(120, 125, 60, run=SECOND), None),
        (mark(100, 105, 50), mark(120, 125, 60, run=SECOND), None),
        (mark(100, 105, 50, run=FIRST), mark(120, 125, 60), None),
        (mark(100, 105, 50, run=FIRST), mark(99, 105, 50), Loss("rolled_back", 0, 0, 100)),
    ],
)
def test_a_start_of_the_server_is_compared_with_what_it_began_with(
    known: Watermark, found: Watermark, loss: Loss | None
) -> None:
    """New jobs that take the numbers of lost ones do not hide them, where the run of the server is told."""
    assert find_loss(known, found) == loss


def test_what_is_known_only_grows_within_a_life() -> None:
    """Answers come in any order; those of another life are left to the next call."""
    assert later(mark(5, 9, 2), mark(6, 7, 3), overtaken=False) == mark(6, 9, 3)
    assert later(Watermark(), mark(6, 7, 3), overtaken=False) == mark(6, 7, 3)
    assert later(mark(5, 9, 2), mark(1, 1, 1, "other"), overtaken=False) == mark(5, 9, 2)
    late, known = mark(3, 3, 3, run=FIRST), mark(2, 2, 2, run=SECOND)
    assert later(known, late, overtaken=True) == known, "what one run told is not held against another"


# -- the memory ------------------------------------------------------------------------------------------


def test_a_loss_is_told_once(told: Told, caplog: pytest.LogCaptureFixture) -> None:
    """An event and a line that says how much, from where on, and what to do; then everything goes on."""
    log_losses(told.bus, lambda: "redis://localhost:6379/0")
    told.hear(KNOWN)
    with caplog.at_level(logging.ERROR, "glassq.stores"):
        for _ in range(3):
            told.hear(mark(97, 102, 48))
    assert told.losses == [
        DataLossDetected(queue="orders", kind="rolled_back", missing=3, unsettled=2, first_seq=98)
    ]
    [record] = caplog.records
    line = record.getMessage()
    assert record.levelno == logging.ERROR
    for part in ("redis://localhost:6379/0", "orders", "at least 3 accepted jobs", "from seq 98", "enqueue"):
        assert part in line


@pytest.mark.parametrize(
    ("kind", "missing", "unsettled", "said"),
    [
        ("emptied", 5, 0, "at least 5 accepted jobs are gone, all that were waiting, and the numbers begin"),
        ("emptied", 0, 0, "(emptied): no job is known to have waited, and the numbers begin at 1 again;"),
        ("rolled_back", 3, 0, "(rolled_back): at least 3 accepted jobs are gone, from seq 98 on;"),
        ("rolled_back", 0, 2, "(rolled_back): 2 settlements are gone (what they ended may run again);"),
        ("rolled_back", 0, 0, "(rolled_back): the seqs from 98 on are given again;"),
    ],
)
def test_the_line_names_what_is_gone_and_no_more(
    caplog: pytest.LogCaptureFixture, kind: str, missing: int, unsettled: int, said: str
) -> None:
    """No figure that is 0."""
    bus = Bus()
    log_losses(bus, lambda: "redis://localhost:6379/0")
    with caplog.at_level(logging.ERROR, "glassq.stores"):
        bus.emit(
            DataLossDetected(queue="orders", kind=kind, missing=missing, unsettled=unsettled, first_seq=98)
        )
    assert said in caplog.messages[0]


class Broken(logging.Handler):
    """A handler of a program, with a mistake in it."""

    def emit(self, record: logging.LogRecord) -> None:
        """Fails."""
        raise OSError(record.getMessage())


def test_a_broken_log_hides_no_loss(told: Told, capsys: pytest.CaptureFixture[str]) -> None:
    """The event and the figures do not depend on it, and the call that noticed does not fail."""
    registry = CollectorRegistry(auto_describe=True)
    log_losses(told.bus, lambda: "redis://localhost:6379/0")
    observe_metrics(told.bus, registry, store=lambda: "redis")
    broken = Broken()
    logging.getLogger("glassq.stores").addHandler(broken)
    try:
        told.hear(KNOWN)
        told.hear(Watermark())
    finally:
        logging.getLogger("glassq.stores").removeHandler(broken)
    assert told.kinds == ["emptied"]
    assert registry.get_sample_value("glassq_data_loss_detected_total", {"queue": "orders"}) == 1.0
    assert "a log handler raised" in capsys.readouterr().err


def test_the_next_loss_is_told_again(told: Told) -> None:
    """Once per loss, not once per process."""
    for seq in (100, 90, 95, 80):
        told.hear(mark(seq, seq, 0))
    told.hear(Watermark())
    told.hear(Watermark())
    told.hear(mark(1, 1, 0, "another"))
    told.hear(mark(2, 2, 0, "another"))
    told.hear(mark(1, 1, 0, "third"))
    assert told.kinds == ["rolled_back", "rolled_back", "emptied", "emptied"]


def test_what_a_call_did_itself_is_known_after_it(told: Told) -> None:
    """The last job that was acknowledged is missed, too, and new ones in its place do not hide it."""
    told.hear(mark(99, 99, 0), left=mark(100, 100, 0))
    told.hear(mark(99, 99, 0), left=mark(100, 100, 0))
    assert [(loss.kind, loss.missing, loss.first_seq) for loss in told.losses] == [("rolled_back", 1, 100)]


def test_an_answer_that_was_overtaken_is_no_loss(told: Told) -> None:
    """It was asked for before the others were acknowledged, so it may know less."""
    early = told.memory.recall(["orders"])
    told.hear(KNOWN)
    told.memory.learn(early, {"orders": mark(10, 10, 1)})
    told.hear(KNOWN)
    assert told.losses == []


def test_answers_to_calls_of_before_a_loss_are_left_out(told: Told) -> None:
    """Whether they come from before or after it, they neither tell it twice nor hide the next one."""
    told.hear(KNOWN)
    first, second, third = (told.memory.recall(["orders"]) for _ in range(3))
    told.memory.learn(first, {"orders": mark(90, 90, 40)})
    told.memory.learn(second, {"orders": mark(91, 91, 40)})
    told.memory.learn(third, {"orders": KNOWN})
    told.hear(mark(91, 91, 40))
    assert told.kinds == ["rolled_back"]


def test_calls_that_outlast_two_restarts_are_no_loss(told: Told) -> None:
    """Sent before the first and answered after the second, while others heard of the run between: what the
    last run acknowledged is not held against its own beginning, in whichever order the answers come."""
    runs = [Run("one", Counts(10, 10, 5)), Run("two", Counts(20, 20, 15)), Run("three", Counts(30, 30, 25))]
    told.hear(mark(12, 12, 8, run=runs[0]))
    slow, late, other = (told.memory.recall(["orders"]) for _ in range(3))
    told.memory.learn(other, {"orders": mark(22, 22, 18, run=runs[1])})
    told.memory.learn(slow, {"orders": mark(33, 33, 28, run=runs[2])})
    told.hear(mark(33, 33, 28, run=runs[2]))
    told.memory.learn(late, {"orders": mark(21, 21, 16, run=runs[1])})
    told.hear(mark(34, 34, 29, run=runs[2]))
    assert told.losses == []


def test_a_call_that_outlasts_two_restarts_finds_what_the_second_lost(told: Told) -> None:
    """Another thread was told of more by the run between than the last one began with."""
    runs = [Run("one", Counts(10, 10, 5)), Run("two", Counts(20, 20, 15)), Run("three", Counts(30, 30, 25))]
    told.hear(mark(12, 12, 8, run=runs[0]))
    slow, other = (told.memory.recall(["orders"]) for _ in range(2))
    told.memory.learn(other, {"orders": mark(34, 34, 25, run=runs[1])})
    told.memory.learn(slow, {"orders": mark(35, 35, 28, run=runs[2])})
    told.hear(mark(36, 36, 28, run=runs[2]))
    assert [(loss.kind, loss.missing, loss.first_seq) for loss in told.losses] == [("rolled_back", 4, 31)]


def test_an_answer_of_an_earlier_run_may_show_what_the_next_one_lost(told: Told) -> None:
    """It comes late, and tells of more than the run that is known by now began with."""
    runs = [Run("one", Counts(10, 10, 5)), Run("two", Counts(20, 20, 15))]
    told.hear(mark(12, 12, 8, run=runs[0]))
    late, other = (told.memory.recall(["orders"]) for _ in range(2))
    told.memory.learn(other, {"orders": mark(22, 22, 18, run=runs[1])})
    told.memory.learn(
        late, {"orders": mark(24, 24, 15, run=runs[0])}, {"orders": mark(25, 25, 15, run=runs[0])}
    )
    told.hear(mark(23, 23, 18, run=runs[1]))
    assert [(loss.kind, loss.missing, loss.first_seq) for loss in told.losses] == [("rolled_back", 5, 21)]


def test_threads_tell_a_loss_once_between_them(told: Told) -> None:
    """All of them find it at the same time, and one speaks."""
    told.hear(KNOWN)
    start = threading.Barrier(8)

    def find() -> None:
        before = told.memory.recall(["orders"])
        start.wait()
        told.memory.learn(before, {"orders": mark(1, 1, 1, "another")})

    threads = [threading.Thread(target=find) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert told.kinds == ["emptied"]


@pytest.mark.parametrize("seed", range(20))
def test_settlements_heard_together_are_learned_from_as_one_by_one(seed: int) -> None:
    """The same losses, and the same is known afterwards, whether answers say where the queue stood or not."""
    chance, singly, together = Random(seed), Told(), Told()
    for each in (singly, together):
        each.hear(KNOWN)
    before, count, answers = together.memory.known("orders"), 50, list[Settled]()
    for _ in range(16):
        count += 1 if chance.random() < 0.9 else -chance.randint(1, 5)
        found = mark(100, 105, count) if chance.random() < 0.9 else None
        answers.append(Settled(status=SettleStatus.DONE, now=0.0, ordinal=count + 1, found=found))
    together.memory.learn_settled("orders", before, answers)
    for answer in answers:
        if answer.found is not None:
            left = answer.found.after(settled=answer.ordinal)
            singly.memory.learn_of("orders", before, answer.found, left)
    assert together.losses == singly.losses
    assert together.memory.known("orders") == singly.memory.known("orders")


def test_queues_are_known_apart(told: Told) -> None:
    """What one lost says nothing about another."""
    for found in ({"a": mark(5, 5, 0), "b": mark(9, 9, 0)}, {"a": mark(5, 5, 0), "b": mark(8, 8, 0)}):
        told.memory.learn(told.memory.recall(found), found)
    assert [loss.queue for loss in told.losses] == ["b"]


def test_a_forked_child_waits_for_no_lock_of_its_parent(told: Told) -> None:
    """It knows what its parent knew, and tells of losses by itself."""
    told.hear(KNOWN)
    context = multiprocessing.get_context("fork")
    reading, writing = context.Pipe(duplex=False)

    def child() -> None:
        told.hear(Watermark())
        writing.send(told.kinds)

    lock = told.memory._lock
    with lock:  # as a thread of the parent would at the moment of the fork
        process = context.Process(target=child)
        process.start()
        assert reading.poll(20), "the child hangs"
        assert reading.recv() == ["emptied"]
    process.join()
    assert told.losses == []


def test_losses_are_counted_by_queue() -> None:
    """`glassq_data_loss_detected_total` is there at 0 before it is needed, and moves once per loss."""
    bus, registry = Bus(), CollectorRegistry(auto_describe=True)
    observe_metrics(bus, registry, store=lambda: "redis")
    bus.emit(QueueDeclared(queue="orders"))
    name, labels = "glassq_data_loss_detected_total", {"queue": "orders"}
    assert registry.get_sample_value(name, labels) == 0.0
    bus.emit(DataLossDetected(queue="orders", kind="emptied", missing=1, unsettled=0, first_seq=1))
    assert registry.get_sample_value(name, labels) == 1.0
