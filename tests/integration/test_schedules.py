from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from glassq import UNORDERED, From, Glassq, current_job
from glassq.errors import BadOption, ResultNotKept
from tests.integration.commandline import Glass, command_line
from tests.processes import wait_until

Slots = list[datetime | None]


@pytest.fixture
def app(store_url: str) -> Iterator[Glassq]:
    """An application on each store in turn."""
    with Glassq(store_url, registry=CollectorRegistry()) as app:
        yield app


def shown(app: Glassq) -> str:
    """The metrics of its process."""
    return generate_latest(app.metrics_registry).decode()


def enough(ran: Slots, number: int) -> None:
    """Wait for so many runs."""
    wait_until(lambda: len(ran) >= number, f"{number} runs", lambda: str(ran))


def test_a_worker_leads_what_its_application_declares(app: Glassq) -> None:
    """Its jobs run in their order, know their slots, and are counted; the trace begins with their call."""
    ran: Slots = []
    again: list[str] = []

    @app.every(1, missed="all")
    @app.fifo("ticks")
    def tick() -> None:
        job = current_job()
        ran.append(job.slot)

    @app.fifo("ticks")
    def named(name: str) -> None:
        again.append(name)

    app.schedule("named", named.s("x"), every=1)
    with app.worker():
        enough(ran, 3)
        wait_until(lambda: bool(again), "the other one", lambda: "")
    first = ran[0]
    assert first is not None
    assert first.tzinfo is UTC
    assert ran == [first + timedelta(seconds=number) for number in range(len(ran))]
    [view] = [each for each in app.schedules.all() if each.name != "named"]
    assert (view.queue, view.declared, view.slots_missed) == ("ticks", "code", 0)
    assert view.slots_enqueued >= len(ran)
    assert 'glassq_schedule_slots_total{queue="ticks",result="enqueued"}' in shown(app)
    assert 'glassq_schedule_slots_total{queue="ticks",result="missed"} 0.0' in shown(app)


def test_an_async_task_is_scheduled_alike(app: Glassq) -> None:
    """On the caller's loop, with a worker that lives there."""
    ran = asyncio.Event()

    @app.every(1)
    @app.fifo("ticks")
    async def tick() -> None:
        job = current_job()
        assert job.slot is not None
        ran.set()

    async def live() -> None:
        async with app.async_worker():
            await ran.wait()

    asyncio.run(asyncio.wait_for(live(), 30))


def test_slots_of_a_sharded_queue(app: Glassq) -> None:
    """Each job a lane of its own, in whatever shard: whoever enqueues a slot again finds it there."""
    ran: Slots = []
    app.queue("ticks", shards=3)

    @app.every(1, missed="all")
    @app.fifo("ticks", key=UNORDERED)
    def tick() -> None:
        job = current_job()
        ran.append(job.slot)

    with app.worker():
        enough(ran, 3)
    assert len(ran) == len(set(ran))


def test_who_leads(app: Glassq) -> None:
    """Not a worker that is told not to; one of an application without schedules if it is told to."""
    ran: Slots = []

    @app.fifo("ticks")
    def tick() -> None:
        ran.append(None)

    def threads() -> int:
        return sum(each.name == "glassq-schedules" for each in threading.enumerate())

    with app.worker():
        assert threads() == 0
    with app.worker(schedules=True):
        app.schedules.add("tick", tick.s(), every=1)
        enough(ran, 1)
    app.every(1)(tick)
    with app.worker(schedules=False):
        assert threads() == 0
    wait_until(lambda: threads() == 0, "its end", lambda: "")
    with pytest.raises(BadOption, match="schedules"):
        app.worker(schedules="yes")  # type: ignore[arg-type]


def test_a_scheduler_leads_without_running_jobs(app: Glassq) -> None:
    """For stores whose workers do not lead: the jobs wait for them."""

    @app.every(1)
    @app.fifo("ticks")
    def tick() -> None: ...

    with app.scheduler():
        wait_until(lambda: app.queue("ticks").stats().ready > 0, "a job", lambda: "")
    before = app.queue("ticks").stats().enqueued
    time.sleep(1.1)
    assert app.queue("ticks").stats().enqueued == before


def test_lag_grows_while_nobody_leads(app: Glassq) -> None:
    """Read from the store by any process that declares schedules."""

    @app.every(1)
    @app.fifo("ticks")
    def tick() -> None: ...

    with app.scheduler():
        wait_until(lambda: app.schedules.all() != [], "it to be stored", lambda: "")
    wait_until(lambda: app.schedules.lags().get("ticks", 0) > 1.5, "a lag", lambda: "")
    lags = [line for line in shown(app).splitlines() if line.startswith("glassq_schedule_lag_seconds{")]
    assert float(lags[0].rpartition(" ")[2]) > 1


def test_what_scheduled_jobs_return_is_kept(app: Glassq) -> None:
    """As of any call: by the call's option, else the task's, else what all tasks say when it is stored."""

    @app.fifo("reports")
    def report(where: str) -> str:
        return where

    app.schedule("default", report.s("eu"), every=86_400)
    app.schedule("never", report.options(result_ttl=0).s("no"), every=86_400)
    app.defaults(result_ttl=60)
    app.schedules.add("added", report.options(result_ttl=600).s("us"), every=86_400)
    with app.worker():
        wait_until(lambda: len(app.schedules.all()) == 3, "all of them", lambda: str(app.schedules.all()))
        receipts = [app.schedules.run_now(name) for name in ("default", "added")]
        assert [receipt.result(timeout=20) for receipt in receipts] == ["eu", "us"]
        with pytest.raises(ResultNotKept):
            app.schedules.run_now("never").result(timeout=20)
    assert [each.event for each in app.job(receipts[0].id).history()][-1] == "settled"


def test_what_cannot_be_declared(app: Glassq) -> None:
    """A function that is no task, arguments it does not take, two of one name: said where it is written."""

    @app.fifo("reports")
    def report(where: str) -> None: ...

    with pytest.raises(BadOption, match=r"above @app\.fifo"):
        app.every(5)(lambda: None)  # type: ignore[type-var]
    with pytest.raises(TypeError, match="where"):
        app.every(5)(report)
    app.schedule("eu", report.s("eu"), every=5)
    app.schedule("eu", report.s("eu"), every=5)
    with pytest.raises(BadOption, match="two schedules are named 'eu'"):
        app.schedule("eu", report.s("us"), every=5)
    with pytest.raises(BadOption, match="cron: every or at says when"):
        app.schedule("us", report.s("us"))
    with pytest.raises(BadOption, match="every: and cron exclude each other"):
        app.schedule("us", report.s("us"), cron="0 9 * * *", every=5)
    with pytest.raises(BadOption, match="depends_on: is the schedule's own"):
        app.schedule("us", report.options(depends_on=["reports/ab:1"]).s("us"), every=5)
    with pytest.raises(BadOption, match="'where' comes from step 'eu'"):
        app.schedule("us", report.s(From("eu")), every=5)
    with pytest.raises(BadOption, match="is for cron"):
        app.schedule("us", report.s("us"), every=5, timezone="Europe/Stockholm")
    with pytest.raises(BadOption, match="missed"):
        app.schedule("us", report.s("us"), every=5, missed="none")  # type: ignore[arg-type]
    with pytest.raises(BadOption, match="choose another name"):
        app.queue("glassq:schedules")
    assert app.schedules.declared == ("eu",)


# -- the command line ----------------------------------------------------------------------------------------

SHOP = """
from glassq import Glassq
app = Glassq(lease_seconds=2)

@app.cron("0 9 * * *", timezone="Europe/Stockholm", name="daily")
@app.fifo("reports", key="where")
def report(where="eu", days=1):
    print("report", where, days, flush=True)
"""


@pytest.fixture
def glassq(
    store_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Glass:
    """Commands beside a shop's module, on the store that is under test."""
    (tmp_path / "reporting.py").write_text(SHOP)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("GLASSQ_URL", store_url)
    monkeypatch.delitem(sys.modules, "reporting", raising=False)
    return command_line(monkeypatch, capsys)


def test_schedules_on_the_command_line(glassq: Glass) -> None:
    """Added with arguments, listed without them, held up, run and removed; each change is in the audit."""
    added = glassq(
        "schedule", "add", "reporting:app", "us", "reporting.report", "--every", "3600",
        "--args", '{"where": "us", "days": 7}', "--jitter", "5",
    )  # fmt: skip
    assert added.code == 0, added.err
    assert "schedule us is added" in added.out
    assert added.audit[0].endswith("schedule=us task=reporting.report result=added")
    listed = glassq("schedule", "list")
    assert "us        every 1:00:00" in listed.out
    assert "days" not in listed.out
    [row] = glassq("schedule", "list", "--json").json
    assert (row["key"], row["jitter"], row["declared"], row["paused"]) == ("us", 5, "run time", False)
    assert glassq("schedule", "pause", "us").audit[0].endswith("schedule=us result=paused")
    assert "paused" in glassq("schedule", "list").out
    assert glassq("schedule", "resume", "us").out == "schedule us goes on\n"
    ran = glassq("schedule", "run-now", "us")
    assert ran.out.startswith("enqueued reports/")
    [job] = glassq("peek", "reports", "--json").json
    assert (job["key"], job["task"]) == ("us", "reporting.report")
    assert glassq("schedule", "remove", "us").code == 0
    assert glassq("schedule", "list").out.startswith("no schedule is stored")
    gone = glassq("schedule", "pause", "us")
    assert (gone.code, gone.err.splitlines()[-1]) == (
        2,
        "error: no schedule is stored as 'us'; see glassq schedule list",
    )


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["reporting.reports", "--every", "5"], "did you mean 'reporting.report'"),
        (["reporting.report"], "give one of them"),
        (["reporting.report", "--every", "5", "--args", "eu"], "--args: is JSON"),
        (["reporting.report", "--every", "5", "--args", "5"], "--args: is a list"),
        (["reporting.report", "--every", "5", "--args", "[1, 2, 3]"], "not what reporting.report takes"),
        (["reporting.report", "--at", "tomorrow"], "is not a time such as"),
        (["reporting.report", "--at", "2020-01-01T00:00:00+00:00"], "is over"),
        (["reporting.report", "--cron", "0 9 * *"], "minute, hour, day of month"),
    ],
)
def test_what_cannot_be_added(glassq: Glass, words: list[str], says: str) -> None:
    """One line that says what to do, and nothing is stored."""
    told = glassq("schedule", "add", "reporting:app", "x", *words)
    assert told.code == 2
    assert says in told.err
    assert "reporting" not in glassq("schedule", "list").out


@pytest.mark.slow
def test_processes_of_their_own_lead(glassq: Glass, tmp_path: Path) -> None:
    """`glassq worker` leads what was added at run time, too, and so does `glassq scheduler`."""
    glassq("schedule", "add", "reporting:app", "often", "reporting.report", "--every", "1")
    for command in (["worker", "reporting:app"], ["scheduler", "reporting:app"]):
        [before] = [each for each in glassq("schedule", "list", "--json").json if each["name"] == "often"]
        with subprocess.Popen(
            [sys.executable, "-m", "glassq", *command], stdout=subprocess.PIPE, text=True
        ) as process:

            def moved(past: int = before["slots_enqueued"]) -> bool:
                rows = glassq("schedule", "list", "--json").json
                return any(each["slots_enqueued"] > past for each in rows)

            wait_until(moved, "a slot", lambda: "")
            process.terminate()
            assert process.wait(30) == 0
    assert {each["name"] for each in glassq("schedule", "list", "--json").json} == {"often", "daily"}
