"""`glassq.testing.testing`: what it runs is what production runs, and only when it is told to."""

from __future__ import annotations

import contextvars
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from glassq.app import Glassq
from glassq.context import current_job
from glassq.errors import AttemptTimeout, BadOption, ConfigurationError, JobFailed
from glassq.model.events import (
    AttemptSettled,
    AttemptStarted,
    JobEnqueued,
    LaneClaimed,
    LaneLeft,
    LaneLost,
    StorageCalled,
)
from glassq.model.jobs import Priority
from glassq.testing import FakeClock, Kit, testing


class Shop:
    """An application with a few tasks, and what became of their calls."""

    def __init__(self, url: str) -> None:
        self.app = app = Glassq(url)
        self.done: list[tuple[str, int]] = []
        self.broken: list[BaseException] = []
        self.before: Callable[[], object] = lambda: None
        self.told: list[str] = []

        @app.fifo(
            "payments",
            key="order",
            name="charge",
            on_success=lambda *_: self.told.append("charged"),
            on_error=lambda *_: self.told.append("given up"),
        )
        def charge(order: str, cents: int = 5) -> None:
            self.before()
            if self.broken:
                raise self.broken[0]
            self.done.append((order, cents))

        @app.fifo("mail", name="send")
        def send(to: str, **headers: str) -> None:
            self.done.append((to, len(headers)))

        self.charge, self.send = charge, send


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """An application whose own store is a file that no test makes."""
    return Shop(f"sqlite:///{tmp_path}/own.db")


# -- working when told to ------------------------------------------------------------------------------------


def test_nothing_runs_before_the_test_says_so(shop: Shop) -> None:
    """Calls queue up; `run_next` runs one attempt, `run` the rest, in the order of each key."""
    with testing(shop.app) as kit:
        receipts = [shop.charge("o-1", 1), shop.charge("o-1", 2), shop.charge("o-2", 3)]
        assert shop.done == []
        assert kit.run_next()
        assert shop.done == [("o-1", 1)]
        assert kit.run() == 2
        assert not kit.run_next()
        kit.assert_order("o-1", receipts[:2])
        kit.assert_order("o-2", [receipts[2]])


def test_one_by_one_is_the_same_order_as_all_at_once(shop: Shop) -> None:
    """Lanes take turns whether jobs are stepped one at a time or run together: as they do in a worker."""
    orders = []
    for stepwise in (True, False):
        with testing(shop.app) as kit:
            for cents in range(3):
                shop.charge("o-1", cents)
                shop.charge("o-2", cents)
            while stepwise and kit.run_next():
                pass
            kit.run()
        orders.append(shop.done[-6:])
    assert orders[0] == orders[1]
    assert [order for order, _ in orders[0]] == ["o-1", "o-2"] * 3


def test_it_is_the_real_path(shop: Shop) -> None:
    """What runs is claimed, started and settled in a store, and told and counted as in production."""
    with testing(shop.app) as kit:
        receipt = shop.charge("o-1")
        kit.run()
        told = [type(event) for event in kit.events if not isinstance(event, StorageCalled)]
        wanted = [JobEnqueued, LaneClaimed, AttemptStarted, AttemptSettled, LaneLeft]
        assert [each for each in told if each in wanted] == wanted
        assert [event.job_id for event in kit.events.of(AttemptSettled)] == [receipt.id]
        assert {event.operation for event in kit.events.of(StorageCalled)} >= {"append", "claim", "settle"}
        assert shop.app.queue("payments").stats().settled["succeeded"] == 1
        assert shop.told == ["charged"]


def test_metrics_count_from_the_beginning_of_the_block(shop: Shop) -> None:
    """Samples are found by name and labels; gauges are of this very moment; a wrong name is put right."""
    for _ in range(2):
        with testing(shop.app) as kit:
            shop.charge("o-1")
            assert kit.metrics.value("glassq_queue_depth", queue="payments", state="ready") == 1
            kit.run()
            assert kit.metrics.value("glassq_queue_depth", queue="payments") == 0
            processed = kit.metrics["glassq_jobs_processed_total"]
            assert sum(sample.value for sample in processed) == 1
            assert kit.metrics.value("glassq_jobs_processed_total", task="charge", outcome="succeeded") == 1
            assert kit.metrics.value("glassq_jobs_processed_total", task="send") == 0
            assert kit.metrics.value("glassq_storage_operation_duration_seconds_count", operation="claim") > 0
            assert kit.metrics["glassq_observer_failures_total"][0].value == 0
            with pytest.raises(KeyError, match="did you mean glassq_jobs_processed_total"):
                kit.metrics["glassq_jobs_proccessed_total"]


def test_what_was_enqueued_can_be_asserted(shop: Shop) -> None:
    """Some of the arguments are enough, defaults and `**` arguments among them; the job found says more."""
    with testing(shop.app) as kit:
        shop.charge("o-1", 500)
        shop.charge.options(delay=60, priority=Priority.HIGH)("o-2")
        shop.send("ann", subject="hello")
        kit.assert_enqueued(shop.charge)
        kit.assert_enqueued(shop.charge, order="o-1", cents=500)
        kit.assert_enqueued(shop.send, subject="hello")
        late = kit.assert_enqueued(shop.charge, cents=5)
        assert (late.key, late.delay, late.priority, late.queue) == ("o-2", 60, Priority.HIGH, "payments")
        kit.assert_not_enqueued(shop.charge, order="o-3")
        with pytest.raises(AssertionError, match=r"cents=7, \.\.\.\) was not enqueued(.|\n)*cents=500"):
            kit.assert_enqueued(shop.charge, cents=7)
        with pytest.raises(AssertionError, match="nothing like this"):
            kit.assert_not_enqueued(shop.charge, order="o-1")
        with pytest.raises(TypeError, match="charge has no argument 'sents'; it has order, cents"):
            kit.assert_enqueued(shop.charge, sents=5)
        with pytest.raises(BadOption, match="is a task, a call of one"):
            kit.assert_enqueued("charge")


def test_a_duplicate_was_not_enqueued_twice(shop: Shop) -> None:
    """`kit.jobs` has what was stored."""
    with testing(shop.app) as kit:
        first = shop.charge.options(dedup_id="d-1")("o-1")
        shop.charge.options(dedup_id="d-1")("o-1")
        assert [job.id for job in kit.jobs] == [first.id]


def test_the_order_of_a_key_can_be_asserted(shop: Shop) -> None:
    """By tasks, by calls, by receipts; a message shows both orders, and retries do not count."""
    with testing(shop.app, errors="keep") as kit:
        shop.charge("o-1", 1)
        second = shop.charge("o-1", 2)
        shop.send("ann")
        shop.broken.append(ValueError("no"))
        kit.run()
        shop.broken.clear()
        kit.run_until_idle()
        kit.assert_order("o-1", [shop.charge, second])
        kit.assert_order("o-1", [shop.charge.s("o-1", 1), shop.charge.s("o-1", cents=2)], queue="payments")
        kit.assert_order(None, [shop.send])
        kit.assert_order("o-1", [], queue="mail")
        with pytest.raises(BadOption, match="names jobs of mail, payments; order is within one queue"):
            kit.assert_order("o-1", [shop.charge, shop.send])
        with pytest.raises(
            AssertionError, match=r"were to begin(.|\n)*cents=2(.|\n)*began so:(.|\n)*cents=1"
        ):
            kit.assert_order("o-1", [shop.charge.s("o-1", 2), shop.charge.s("o-1", 1)])
        with pytest.raises(AssertionError):
            kit.assert_order("o-1", [shop.charge])


def test_shards_and_replicas_do_not_keep_a_queue_from_being_tested(shop: Shop) -> None:
    """What a queue is declared with for its servers is no reason to need them."""
    shop.app.queue("payments", shards=4, durability="replicated:1")
    with testing(shop.app) as kit:
        for number in range(8):
            shop.charge(f"o-{number}", number)
        assert kit.run() == 8
        assert {job.queue for job in kit.jobs} == {"payments"}
        kit.assert_order("o-3", [shop.charge.s("o-3", 3)], queue="payments")


def test_jobs_that_enqueue_themselves_come_to_an_end(shop: Shop) -> None:
    """A run that never ends says so instead of hanging the test."""
    with testing(shop.app) as kit:
        shop.before = lambda: shop.charge("o-1")
        shop.charge("o-1")
        with pytest.raises(AssertionError, match=r"still ready after 50 attempts: .* in payments"):
            kit.run(at_most=50)


def test_a_job_sees_no_context_of_its_caller(shop: Shop) -> None:
    """A handler that works only because it runs where it was called from fails, as it would in a worker."""
    variable = contextvars.ContextVar("variable", default="unset")
    seen = []
    shop.before = lambda: seen.append((variable.get(), current_job(None) is not None))
    variable.set("the caller's")
    with testing(shop.app, "inline"):
        shop.charge("o-1")
    assert seen == [("unset", True)]


# -- errors --------------------------------------------------------------------------------------------------


def test_what_a_job_raises_is_raised_where_the_test_runs_it(shop: Shop) -> None:
    """The very exception, once its attempt is settled; then the test may go on."""
    error = ValueError("the card is blocked")
    shop.broken.append(error)
    with testing(shop.app) as kit:
        shop.charge("o-1", 1)
        shop.charge("o-2", 2)
        with pytest.raises(ValueError, match="blocked") as raised:
            kit.run()
        assert raised.value is error
        assert error.__notes__ == ["in attempt 1 of charge(order='o-1', cents=1) of key o-1"]
        assert shop.app.queue("payments").stats().waiting_retry == 1
        shop.broken.clear()
        assert kit.run() == 1
        assert kit.run_until_idle() == 1
    assert shop.done == [("o-2", 2), ("o-1", 1)]


def test_errors_can_be_kept(shop: Shop) -> None:
    """Then retries, callbacks and dead letters take their course, through all the time that they take."""
    shop.broken.append(ValueError("no"))
    with testing(shop.app, errors="keep") as kit:
        began = kit.clock.wall()
        shop.charge("o-1")
        assert kit.run_until_idle() == 4
        assert kit.clock.wall() - began == pytest.approx(30, abs=0.1)
        assert [(each.attempt, each.final) for each in kit.failures] == [
            (1, False),
            (2, False),
            (3, False),
            (4, True),
        ]
        assert {each.error for each in kit.failures} == {shop.broken[0]}
        assert [letter.task for letter in shop.app.queue("payments").dead_letters()] == ["charge"]
        assert shop.told == ["given up"]


def test_waiting_for_what_never_ends_ends(shop: Shop) -> None:
    """Retries for ever do not hang a test."""
    shop.app.defaults(max_retries=-1)
    shop.broken.append(ValueError("no"))
    with testing(shop.app, errors="keep") as kit:
        shop.charge("o-1")
        with pytest.raises(AssertionError, match="not idle within 60 s: 1 waiting_retry in payments"):
            kit.run_until_idle(within=60)


def test_what_a_callback_raises_is_raised_too(shop: Shop) -> None:
    """In production it is logged and changes nothing; a test must not pass over it. The job
    has ended as ever."""

    def tell(*_: object) -> None:
        raise LookupError("nobody to tell")

    @shop.app.fifo("mail", name="tell", on_success=tell)
    def told() -> None:
        shop.done.append(("told", 1))

    with testing(shop.app) as kit:
        told()
        told()
        for number in (1, 2):
            with pytest.raises(LookupError, match="nobody to tell") as raised:
                kit.run()
            assert raised.value.__notes__ == ["in on_success of tell()"]
            assert len(shop.done) == number
        assert [each.callback for each in kit.failures] == ["on_success", "on_success"]
        assert shop.app.queue("mail").stats().settled["succeeded"] == 2


def test_a_job_that_cannot_be_run_is_an_error_too(shop: Shop) -> None:
    """No code of a job ran, so what is raised says what became of it."""
    with testing(shop.app) as kit:
        shop.charge("o-1")
        del shop.app.registry._tasks["charge"]
        with pytest.raises(JobFailed, match="UnknownTask: no task is registered as 'charge'"):
            kit.run()
        assert [lane.reason for lane in shop.app.queue("payments").halted()] == ["unknown_task"]


def test_what_would_end_the_program_is_the_jobs_own(shop: Shop) -> None:
    """In a worker a `SystemExit` fails the job; here it does not end the run of the tests either."""
    shop.broken.append(SystemExit(3))
    with testing(shop.app) as kit:
        shop.charge("o-1")
        with pytest.raises(JobFailed, match="SystemExit: 3 in attempt 1 of charge"):
            kit.run()


@pytest.mark.parametrize("mode", ["manual", "inline"])
def test_what_ends_a_test_ends_it_from_within_a_job(shop: Shop, mode: Any) -> None:
    """`pytest.fail` in a double that a job calls, or Ctrl-C, is not for the worker to swallow."""
    shop.before = lambda: pytest.fail("the double was called")
    with testing(shop.app, mode, errors="keep") as kit, pytest.raises(pytest.fail.Exception):  # noqa: PT012
        shop.charge("o-1")
        kit.run()


# -- inline --------------------------------------------------------------------------------------------------


def test_an_inline_call_returns_when_its_job_is_settled(shop: Shop) -> None:
    """The receipt is as ever, the job is done, and it was run by the worker."""
    with testing(shop.app, "inline") as kit:
        receipt = shop.charge("o-1", 1)
        assert shop.done == [("o-1", 1)]
        assert [event.job_id for event in kit.events.of(AttemptSettled)] == [receipt.id]
        shop.app.enqueue_many([shop.charge.s("o-2", 2), shop.send.s("ann")])
        assert shop.done[1:] == [("o-2", 2), ("ann", 0)]
        assert kit.run() == 0


def test_what_an_inline_job_calls_is_run_after_it(shop: Shop) -> None:
    """A job cannot overtake the one that calls it; the outer call returns when all of them are done."""
    seen: list[str] = []

    def follow_up() -> None:
        if not seen:
            seen.append("outer began")
            shop.charge("o-1", 2)
            shop.send("ann")
            seen.append(f"outer ends with {shop.done}")

    shop.before = follow_up
    with testing(shop.app, "inline") as kit:
        shop.charge("o-1", 1)
        assert seen == ["outer began", "outer ends with []"]
        assert sorted(shop.done) == [("ann", 0), ("o-1", 1), ("o-1", 2)]
        kit.assert_order("o-1", [shop.charge.s("o-1", 1), shop.charge.s("o-1", 2)])


def test_an_inline_call_raises_nothing_of_its_job(shop: Shop) -> None:
    """No call does in production. What the test was not told of before ends its block."""
    error = shop.broken
    error.append(ValueError("the card is blocked"))
    with pytest.raises(ValueError, match="blocked"), testing(shop.app, "inline") as kit:  # noqa: PT012
        assert shop.charge("o-1").seq == 1
        assert len(kit.failures) == 1
    with pytest.raises(ZeroDivisionError), testing(shop.app, "inline"):  # noqa: PT012
        shop.charge("o-1")
        raise ZeroDivisionError
    with testing(shop.app, "inline") as kit:
        shop.charge("o-1")
        with pytest.raises(ValueError, match="blocked"):
            kit.run()
    with testing(shop.app, "inline", errors="keep") as kit:
        shop.charge("o-1")
        shop.charge("o-1")  # behind the one that waits for its retry, as ever
        assert [each.attempt for each in kit.failures] == [1]
        error.clear()
        kit.advance(10)
        assert len(shop.done) == 2


# -- time ----------------------------------------------------------------------------------------------------


def test_time_passes_when_the_test_says_so(shop: Shop) -> None:
    """Delays, expiries and windows of deduplication go by the kit's clock, without waiting."""
    with testing(shop.app) as kit:
        shop.charge.options(delay=3600)("o-1", 1)
        shop.charge.options(eta=kit.clock.wall() + 7200)("o-2", 2)
        shop.charge.options(ttl=60)("o-3", 3)
        shop.charge.options(dedup_id="d", dedup_window=600)("o-4", 4)
        kit.advance(599)
        assert shop.charge.options(dedup_id="d", dedup_window=600)("o-4", 5).disposition == "duplicate"
        assert kit.run() == 2  # the one that has expired ends without being run
        assert shop.done == [("o-4", 4)]
        kit.advance(1)
        assert shop.charge.options(dedup_id="d", dedup_window=600)("o-4", 5).disposition == "created"
        kit.advance(2999)
        assert (kit.run(), shop.done[1:]) == (1, [("o-4", 5)])
        kit.advance(1)
        assert (kit.run(), shop.done[2:]) == (1, [("o-1", 1)])
        kit.advance(3600)
        assert (kit.run(), shop.done[3:]) == (1, [("o-2", 2)])
        with pytest.raises(ValueError, match="time does not go back"):
            kit.advance(-1)


def test_inline_jobs_run_at_their_time_while_it_passes(shop: Shop) -> None:
    """One `advance` over several due times runs each at its own."""
    times = []
    with testing(shop.app, "inline") as kit:
        began = kit.clock.wall()
        shop.before = lambda: times.append(round(kit.clock.wall() - began, 2))
        for delay in (100, 10, 1000):
            shop.charge.options(delay=delay)("o-1", delay)
        kit.advance(2000)
        assert times == [10, 100, 1000]
        assert shop.done == [("o-1", 10), ("o-1", 100), ("o-1", 1000)]
        assert kit.clock.wall() == began + 2000


def test_slots_of_schedules_come_as_time_passes(shop: Shop) -> None:
    """Each at its time, once, also when the worker that led died; what is missed is as the schedule says."""
    times: list[float] = []

    @shop.app.every(3600, name="hourly")
    @shop.app.fifo("reports", name="report")
    def report() -> None:
        times.append(kit.clock.wall())

    with testing(shop.app, "inline") as kit:
        [hourly] = shop.app.schedules.all()
        assert hourly.next_at is not None
        kit.advance(6 * 3600)
        assert times == [hourly.next_at + 3600 * number for number in range(6)]
        shop.before = kit.crash_worker
        shop.charge("o-1")
        shop.before = lambda: None
        kit.advance(3600)
        assert len(times) == 7
    with testing(shop.app) as kit:
        kit.advance(7200)
        assert len(times) == 7
        assert kit.run() == 2
    with testing(shop.app, schedules=False) as kit:
        kit.advance(7200)
        assert kit.run() == 0


@pytest.mark.parametrize("mode", ["manual", "inline"])
def test_what_cannot_run_does_not_hold_up_time(shop: Shop, mode: Any) -> None:
    """A retry that is due in a lane that is paused: an hour passes in some strides all the same."""
    shop.broken.append(ValueError("no"))
    with testing(shop.app, mode, errors="keep") as kit:
        shop.charge("o-1")
        kit.run()
        shop.app.queue("payments").pause("o-1")
        before, began = len(kit.events), kit.clock.wall()
        kit.advance(3600)
        assert kit.clock.wall() == began + 3600
        assert len(kit.events) - before < 2000
        assert kit.run_until_idle() == 0


def test_a_job_that_takes_long_keeps_its_lease(shop: Shop) -> None:
    """Time that passes within a job is time that it takes: it is renewed, and past its timeout it is told."""
    checked: list[float] = []

    @shop.app.fifo("reports", timeout=30, name="report")
    def report() -> None:
        kit.advance(20)
        current = current_job()
        current.check()
        checked.append(kit.metrics.value("glassq_queue_depth", queue="reports", state="leased"))
        kit.advance(20)
        current.check()

    with testing(shop.app) as kit:
        report()
        with pytest.raises(AttemptTimeout):
            kit.run()
        assert checked == [1]
        assert kit.events.of(LaneLost) == []


# -- dying ---------------------------------------------------------------------------------------------------


def test_a_job_whose_worker_died_runs_again_at_its_place(shop: Shop) -> None:
    """It ran, and nobody heard of it: nothing passes it, and after the lease it runs again, first."""
    with testing(shop.app) as kit:
        first, second = shop.charge("o-1", 1), shop.charge("o-1", 2)
        assert kit.crash_worker() == first.id
        assert shop.done == [("o-1", 1)]
        assert shop.told == []
        assert not any(isinstance(event, AttemptSettled | LaneLost | LaneLeft) for event in kit.events)
        assert kit.run() == 0
        kit.advance(kit.lease_seconds - 1)
        assert kit.run() == 0
        kit.advance(1)
        assert kit.run() == 2
        assert shop.done == [("o-1", 1), ("o-1", 1), ("o-1", 2)]
        kit.assert_order("o-1", [first, second])
        assert kit.metrics.value("glassq_jobs_reclaimed_total") == 1


def test_a_worker_can_die_within_a_job(shop: Shop) -> None:
    """The code is left where it is, past every handler of an `Exception`; `run_until_idle` waits for the
    lease."""
    closed: list[int] = []

    def die_once() -> None:
        try:
            if not closed:
                kit.crash_worker()
        except Exception:
            shop.done.append(("survived", 0))
        finally:
            closed.append(len(shop.done))

    shop.before = die_once
    with testing(shop.app) as kit:
        shop.charge("o-1", 1)
        shop.charge("o-2", 2)
        assert kit.run() == 1
        assert closed == [0]
        assert kit.run_until_idle() == 2
        assert shop.done == [("o-2", 2), ("o-1", 1)]
        assert kit.failures == []


def test_what_ends_without_being_run_is_nothing_to_die_of(shop: Shop) -> None:
    """An expired job at the head is ended as ever; the worker dies of the one behind it."""
    with testing(shop.app) as kit:
        shop.charge.options(ttl=5)("o-1", 1)
        second = shop.charge("o-1", 2)
        kit.advance(6)
        assert kit.crash_worker() == second.id
        kit.run_until_idle()
        assert shop.done == [("o-1", 2), ("o-1", 2)]


def test_a_job_that_kills_its_workers_is_given_up(shop: Shop) -> None:
    """The bound of crashes holds as in production."""
    with testing(shop.app, errors="keep") as kit:
        shop.before = kit.crash_worker
        shop.charge("o-1")
        kit.run_until_idle()
        [letter] = shop.app.queue("payments").dead_letters()
        assert letter.reason == "crashed"
        assert len(kit.events.of(AttemptStarted)) == 5
        with pytest.raises(AssertionError, match="no job is ready that a worker could die of"):
            kit.crash_worker()


# -- before and after ----------------------------------------------------------------------------------------


def test_afterwards_the_application_is_as_before(shop: Shop, tmp_path: Path) -> None:
    """Its own store was not even opened, and no observer or Around of the test stays with it."""
    bus = shop.app.bus
    before = {kind: len(observers) for kind, observers in bus._observers.items()}, bus._arounds
    for mode in ("manual", "inline"):
        with testing(shop.app, mode) as kit:
            shop.charge("o-1")
            kit.run()
            assert shop.app.address == "sqlite://"
    after = {kind: len(observers) for kind, observers in bus._observers.items() if observers}
    assert (after, bus._arounds) == (before[0], before[1])
    assert list(tmp_path.iterdir()) == []
    assert shop.app.address == f"sqlite:///{tmp_path}/own.db"
    assert shop.app.health.ready().ok
    assert shop.app.health.live().ok


def test_an_application_in_use_goes_on_with_its_own_store(shop: Shop) -> None:
    """What is in it is neither run nor seen, and stays."""
    shop.charge("o-1", 1)
    with testing(shop.app) as kit:
        shop.charge("o-2", 2)
        assert kit.run() == 1
    assert [job.key for job in shop.app.queue("payments").peek()] == ["o-1"]
    assert shop.done == [("o-2", 2)]
    shop.app.close()


def test_an_around_of_the_application_wraps_its_jobs(shop: Shop) -> None:
    """What the program adds to its bus is in force under test."""
    events: list[AttemptSettled] = []
    shop.app.bus.subscribe(events.append, AttemptSettled)
    with testing(shop.app, "inline"):
        shop.charge("o-1")
    assert len(events) == 1


def test_mistakes_are_named(shop: Shop) -> None:
    """Options that are none, and a kit outside its block."""
    with pytest.raises(BadOption, match="mode: is one of manual, inline, got 'inlin'; did you mean 'inline'"):
        testing(shop.app, "inlin")  # type: ignore[arg-type]
    with pytest.raises(BadOption, match="errors: is one of raise, keep"):
        testing(shop.app, errors="ignore")  # type: ignore[arg-type]
    with pytest.raises(BadOption, match="app: is an application"):
        testing("sqlite://")  # type: ignore[arg-type]
    kit = testing(shop.app)
    for use in (kit.run, kit.crash_worker, lambda: kit.advance(1), lambda: kit.events):
        with pytest.raises(ConfigurationError, match=r"with testing\(app\) as kit"):
            use()
    with kit:
        with pytest.raises(ConfigurationError, match="spans=True"):
            _ = kit.spans
        shop.before = kit.run
        shop.charge("o-1")
        with pytest.raises(ConfigurationError, match="the worker runs a job just now"):
            kit.run()
    with pytest.raises(ConfigurationError, match="the kit works inside its block"):
        kit.run()
    with pytest.raises(ConfigurationError, match="make a new one"):
        kit.__enter__()


def test_a_store_in_use_is_refused(shop: Shop, tmp_path: Path) -> None:
    """A test runs all that it finds, so it must find nothing of anybody's; and it leaves no lock on it."""
    shop.charge("o-1")
    refused = testing(shop.app, url=f"sqlite:///{tmp_path}/own.db")
    with pytest.raises(ConfigurationError, match=r"own\.db is in use \(by the queue payments\)"):
        refused.__enter__()
    with pytest.raises(ConfigurationError, match=r"with testing\(app\) as kit"):
        refused.run()
    with testing(shop.app, url=f"sqlite:///{tmp_path}/empty.db") as kit:
        shop.charge("o-2")
        assert kit.run() == 1
    shop.app.close()


def test_the_names_of_the_kit(shop: Shop) -> None:
    """`glassq.testing` gives what it names, and its function is collected by nobody's pytest."""
    import glassq.testing as rooms

    assert {name for name in rooms.__all__ if getattr(rooms, name)} == set(dir(rooms))
    assert isinstance(testing(shop.app), Kit)
    assert isinstance(testing(shop.app).clock, FakeClock)
    assert vars(testing)["__test__"] is False
    with pytest.raises(AttributeError, match="no attribute 'Kits'"):
        _ = rooms.Kits
