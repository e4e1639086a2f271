"""A plain job's attempt comes to what any attempt comes to; a job that is not plain is left alone."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from operator import attrgetter
from typing import Any, cast

import msgspec
import pytest

from glassq import Glassq, current_job
from glassq.codec import Envelope, Place, seal
from glassq.context import SLOT_HEADER
from glassq.model.events import AttemptSettled, AttemptStarted, Event
from glassq.model.jobs import StoredJob
from glassq.model.leases import Lease, Owner, Settled, SettleStatus
from glassq.model.runs import Run
from glassq.model.verdicts import Action, Outcome
from glassq.model.waits import NO_WAITS
from glassq.observe.running import running_on
from glassq.policy.decide import ACKED
from glassq.telemetry import Attempting, Bus, Subject
from glassq.testing.clock import FakeClock
from glassq.worker.attempt import Attempts, Ended, Standing
from glassq.worker.holdings import HeldLane
from glassq.worker.plain import PlainAttempts
from glassq.worker.settle import Settler

LEASE = Lease("orders", "c-7", 41)
LEFT: ContextVar[str] = ContextVar("left", default="nothing")


class Desk:
    """A lane, and attempts of both kinds in it."""

    def __init__(self) -> None:
        self.app, self.bus, self.clock = Glassq("sqlite://"), Bus(), FakeClock()
        self.ran: list[Any] = []
        self.wrapped: list[tuple[Attempting, str]] = []
        self.events: list[Event] = []
        self.bus.subscribe(self.events.append, AttemptStarted)
        self.attempts = Attempts(
            self.app.registry, self.bus, self.clock, serializer="json", max_crashes=5, random=lambda: 0.5
        )
        self.lane = HeldLane(LEASE, self.clock.monotonic() + 15, self.clock)
        self.plain = PlainAttempts(self.attempts, self.lane)

    def job(self, name: str = "charge", *, arguments: bytes = b"[[7],{}]", **more: Any) -> StoredJob:
        """A call of a task, as it is stored."""
        about = {key: more.pop(key) for key in ("headers", "serializer", "keep", "place") if key in more}
        envelope = Envelope(name, "json", {}, arguments)
        body = seal(msgspec.structs.replace(envelope, **about))
        eligible = self.clock.wall() - 3
        return StoredJob(
            **{"id": "orders/p:1", "seq": 1, "level": 3, "body": body, "eligible_at": eligible, **more}
        )

    def wrap(self, **how: Any) -> None:
        """Put something around attempts, which notes what they are and what they raise."""

        @contextlib.contextmanager
        def around(subject: Subject) -> Iterator[None]:
            raised = ""
            try:
                yield
            except BaseException as error:
                raised = repr(error)
                raise
            finally:
                assert isinstance(subject, Attempting)
                assert current_job() is subject.job
                self.wrapped.append((subject, raised))

        self.bus.wrap(around, **how)

    def plainly(self, job: StoredJob) -> Ended | None:
        """One kind."""
        call, started = self.plain.open(job), self.clock.monotonic()
        if call is None:
            return None
        return self.plain.run(job, call, started, self.clock.wall() - started, NO_WAITS).ended()

    def generally(self, job: StoredJob) -> Ended:
        """The other one."""
        return self.attempts.perform(self.lane, job, Standing(), self.clock.wall(), NO_WAITS)


@pytest.fixture
def desk() -> Desk:
    """Where jobs come to."""
    return Desk()


def succeeds(_: int) -> str:
    """Returns something."""
    return "done"


def fails(_: int) -> None:
    """Raises."""
    raise ValueError("declined")


def leaves(_: int) -> None:
    """Ends what it runs in."""
    raise SystemExit(3)


def forgets_to_await(_: int) -> Any:
    """Returns a coroutine, as a decorated async function does."""

    async def inner() -> None: ...

    return inner()


@pytest.mark.parametrize("code", [succeeds, fails, leaves, forgets_to_await])
@pytest.mark.parametrize("headers", [{}, {"traceparent": "00-1", "x-tenant": "7"}], ids=str)
@pytest.mark.parametrize("wrapped", [True, False])
def test_both_kinds_of_attempts_come_to_the_same(
    desk: Desk, code: Callable[[int], Any], headers: dict[str, str], *, wrapped: bool
) -> None:
    """The same is told before it, the same is decided, and kept of it."""
    desk.app.fifo("orders", name="charge")(code)
    if wrapped:
        desk.wrap(leaves_plain=True)
    job = desk.job(headers=headers)
    plainly, generally = desk.plainly(job), desk.generally(job)
    assert plainly is not None
    assert desk.events[0] == desk.events[1]
    assert (plainly.ran.outcome, repr(plainly.ran.error)) == (
        generally.ran.outcome,
        repr(generally.ran.error),
    )
    kept = [
        msgspec.structs.replace(each, ran=generally.ran, failure=each.failure and each.failure.type)
        for each in (plainly, generally)
    ]
    assert kept[0] == kept[1]
    wraps = {"True": 2, "False": 0}[str(wrapped)]
    assert [subject.headers for subject, _ in desk.wrapped] == [headers] * wraps
    if wrapped:
        (one, its_failure), (other, another_failure) = desk.wrapped
        assert (one.task, one.time_in_queue, one.links) == (other.task, other.time_in_queue, other.links)
        assert its_failure == another_failure


@pytest.mark.parametrize("wrapped", [True, False])
@pytest.mark.parametrize("headers", [{}, {SLOT_HEADER: "2026-11-01T06:00:00+00:00"}], ids=str)
def test_code_sees_the_same_job_in_both(desk: Desk, headers: dict[str, str], *, wrapped: bool) -> None:
    """All of `current_job()`, and nothing of what the job before has left in its context."""
    if wrapped:
        desk.wrap(leaves_plain=True)

    @desk.app.fifo("orders", name="charge")
    def charge(_: int) -> None:
        job = current_job()
        job.check()
        desk.ran.append((LEFT.get(), {name: getattr(job, name) for name in _shown(job)}))
        LEFT.set("something")

    desk.plainly(desk.job(headers=headers))
    desk.generally(desk.job(headers=headers))
    desk.plainly(desk.job(headers=headers))
    assert desk.ran[0] == desk.ran[1] == desk.ran[2]
    assert (desk.ran[0][1]["slot"] is not None) is bool(headers)
    assert (desk.ran[0][0], LEFT.get(), current_job(None)) == ("nothing", "nothing", None)


def _shown(job: Any) -> list[str]:
    return [name for name in job.__struct_fields__ if name != "_check"]


def test_a_timeout_is_a_timeout(desk: Desk) -> None:
    """However the attempt was made: found when the code has ended."""

    @desk.app.fifo("orders", name="charge", timeout=2)
    def charge(_: int) -> None:
        desk.clock.advance(3)

    ended = desk.plainly(desk.job())
    assert ended is not None
    assert (ended.ran.outcome, ended.verdict.action) == (Outcome.TIMEOUT, Action.RETRY)


@pytest.mark.parametrize(("stood_still", "runs"), [(14.0, True), (15.0, False)])
@pytest.mark.parametrize("who", ["observer", "around"])
def test_user_code_does_not_begin_on_a_lease_that_ended_meanwhile(
    desk: Desk, stood_still: float, runs: bool, who: str
) -> None:
    """O5: the last look is right before it, after observers and Arounds were told."""
    desk.app.fifo("orders", name="charge")(desk.ran.append)

    @contextlib.contextmanager
    def around(_: Subject) -> Iterator[None]:
        desk.clock.advance(stood_still)
        yield

    if who == "around":
        desk.bus.wrap(around, leaves_plain=True)
    else:
        desk.bus.subscribe(lambda _: desk.clock.advance(stood_still), AttemptStarted)
    ended = desk.plainly(desk.job())
    assert ended is not None
    assert desk.ran == ([7] if runs else [])
    assert ended.ran.outcome is (Outcome.SUCCEEDED if runs else Outcome.LEASE_LOST)
    assert ended.verdict.action is (Action.ACK if runs else Action.DROP)
    assert desk.lane.lapsed is not runs


def test_an_attempt_in_a_lane_that_was_lost_meanwhile_is_dropped(desk: Desk) -> None:
    """O5: only the holder settles, whatever its code has come to."""

    @desk.app.fifo("orders", name="charge")
    def charge(_: int) -> None:
        desk.lane.lost = True

    ended = desk.plainly(desk.job())
    assert ended is not None
    assert ended.verdict.action is Action.DROP


def test_who_is_patient_hears_of_all_that_began(desk: Desk) -> None:
    """Together, in their order, once."""
    together: list[list[Event]] = []
    desk.bus.subscribe(lambda _: None, AttemptStarted, together=lambda events: together.append([*events]))
    desk.app.fifo("orders", name="charge")(desk.ran.append)
    for seq in (1, 2, 3):
        desk.plainly(desk.job(seq=seq))
    assert together == []
    desk.plain.tell()
    desk.plain.tell()
    assert together == [desk.events]
    assert len(desk.events) == 3


def test_what_runs_is_seen_while_it_runs(desk: Desk) -> None:
    """Though those who show it are told of it later: this attempt, as it is told, and no other."""
    running, seen = running_on(desk.bus), list[Sequence[Event]]()

    @desk.app.fifo("orders", name="charge")
    def charge(_: int) -> None:
        seen.append(running.attempts())

    for seq in (1, 2):
        desk.plainly(desk.job(id=f"orders/p:{seq}", seq=seq))
        assert seen[-1] == (desk.events[-1],)
    desk.plain.tell()
    assert running.attempts() == ()


def test_events_are_not_made_for_those_who_ask_for_fields(desk: Desk) -> None:
    """One is, to know what they are about; its fields are those of the events."""
    asked: list[Run[Any]] = []
    desk.bus.subscribe(lambda _: None, AttemptStarted, together=asked.append)
    desk.app.fifo("orders", name="charge")(desk.ran.append)
    for seq in (1, 2, 3):
        desk.plainly(desk.job(seq=seq))
    desk.plain.tell()
    (run,) = asked
    for name in AttemptStarted.__struct_fields__:
        assert (
            run.column(name)
            == [getattr(event, name) for event in run]
            == [*map(attrgetter(name), desk.events)]
        )
    assert (run[-1], run[1:]) == (desk.events[-1], desk.events[1:])
    assert (run.common("task"), run.common("headers"), run.common("seq")) == ("charge", {}, None)


def test_ends_that_are_told_together_have_the_fields_of_their_events(desk: Desk) -> None:
    """Also for who asks for fields alone."""
    asked: list[Run[Any]] = []
    desk.bus.subscribe(lambda _: None, AttemptSettled, together=asked.append)
    desk.app.fifo("orders", name="charge")(desk.ran.append)
    ended = [desk.plainly(desk.job(id=f"orders/p:{seq}", seq=seq)) for seq in (1, 2)]
    answers = [
        Settled(status=SettleStatus.DONE, now=desk.clock.wall() + ordinal, ordinal=ordinal)
        for ordinal in (7, 8)
    ]
    settler = Settler(desk.app.storage, desk.bus, desk.clock, Owner("n", "i"), lambda: 0.5)
    settler.settled_together(desk.lane, cast("list[Ended]", ended), answers)
    (run,) = asked
    for name in AttemptSettled.__struct_fields__:
        assert run.column(name) == [getattr(event, name) for event in run]
    assert [(event.job_id, event.ordinal, event.end_to_end) for event in run] == [
        ("orders/p:1", 7, 10.0),
        ("orders/p:2", 8, 11.0),
    ]
    assert [run.common(name) for name in ("task", "verdict")] == ["charge", ACKED]
    for name in ("lease", "outcome", "task", "seq"):
        assert run.first(name) == getattr(run[0], name)


def test_tasks_of_a_lane_may_alternate(desk: Desk) -> None:
    """What is remembered of one is not taken for the other."""
    desk.app.fifo("orders", name="charge")(desk.ran.append)
    desk.app.fifo("orders", name="refund")(lambda amount: desk.ran.append(-amount))
    desk.app.fifo("orders", name="report", result_ttl=60)(desk.ran.append)
    names = ("charge", "refund", "report", "charge", "charge", "refund")
    ended = [desk.plainly(desk.job(name)) for name in names]
    assert [each and each.task_name for each in ended] == [
        "charge",
        "refund",
        None,
        "charge",
        "charge",
        "refund",
    ]
    assert desk.ran == [7, -7, 7, 7, -7]


def test_code_is_told_one_job_however_often_it_asks(desk: Desk) -> None:
    """It is made when it is first asked for."""

    @desk.app.fifo("orders", name="charge")
    def charge(_: int) -> None:
        desk.ran.append(current_job() is current_job(None))

    desk.plainly(desk.job())
    assert desk.ran == [True]


# -- what is not plain --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "about"),
    [
        ({}, {"keep": 60.0}),
        ({}, {"keep": 60.0, "headers": {"traceparent": "00-1"}}),
        ({}, {"place": Place(), "headers": {"traceparent": "00-1"}}),
        ({}, {"expires_at": 9e9}),
        ({}, {"body": b"what nobody wrote"}),
        ({}, {"body": b'{"v":1,"t":"charge","s":"json","h":{},"c":1}\n[[7],{}]'}),
        ({}, {"serializer": "pickle"}),
        ({}, {"arguments": b"[[7,8],{}]"}),
        ({}, {"name": "unheard_of"}),
        ({"on_success": print}, {}),
        ({"result_ttl": 60}, {}),
    ],
    ids=str,
)
def test_what_is_not_plain_is_left_alone(desk: Desk, options: dict[str, Any], about: dict[str, Any]) -> None:
    """Nothing was told of it, and nothing ran."""
    desk.app.fifo("orders", name="charge", **options)(desk.ran.append)
    assert desk.plainly(desk.job(**about)) is None
    assert (desk.ran, desk.events) == ([], [])


def test_async_tasks_are_not_plain(desk: Desk) -> None:
    """They run on an event loop."""

    @desk.app.fifo("orders", name="charge")
    async def charge(_: int) -> None: ...

    assert desk.plainly(desk.job()) is None


def test_nothing_is_plain_that_somebody_wraps(desk: Desk) -> None:
    """An Around may do anything to an attempt, unless it says that it leaves plain ones so."""

    @contextlib.contextmanager
    def around(_: Subject) -> Iterator[None]:
        yield

    desk.app.fifo("orders", name="charge")(desk.ran.append)
    desk.wrap(leaves_plain=True)
    desk.bus.wrap(around)
    assert desk.plainly(desk.job()) is None
    desk.bus.unwrap(around)
    assert desk.plainly(desk.job()) is not None
    assert len(desk.wrapped) == 1


def test_an_idle_around_is_asked_again_for_jobs_with_headers(desk: Desk) -> None:
    """It is idle for those without alone: of the others it decides when it gets them."""
    desk.app.fifo("orders", name="charge")(desk.ran.append)
    desk.wrap(idle=lambda: True, leaves_plain=True)
    desk.plainly(desk.job())
    assert desk.wrapped == []
    desk.plainly(desk.job(headers={"traceparent": "00-1"}))
    assert len(desk.wrapped) == 1


def test_the_end_of_a_traced_job_is_told_with_others_only_where_nobody_minds(desk: Desk) -> None:
    """One who wants to know when it was settled hears of it at once."""
    desk.app.fifo("orders", name="charge")(desk.ran.append)
    bare, traced = desk.generally(desk.job()), desk.generally(desk.job(headers={"traceparent": "00-1"}))
    assert (desk.plain.says_no_more(bare), desk.plain.says_no_more(traced)) == (True, True)
    desk.wrap(idle=lambda: True)
    assert (desk.plain.says_no_more(bare), desk.plain.says_no_more(traced)) == (True, False)


def test_a_task_whose_options_change_is_looked_at_again(desk: Desk) -> None:
    """As by the application's defaults: what it says now counts."""
    desk.app.fifo("orders", name="charge")(desk.ran.append)
    assert desk.plainly(desk.job()) is not None
    desk.app.registry.default(result_ttl=60)
    assert desk.plainly(desk.job()) is None
