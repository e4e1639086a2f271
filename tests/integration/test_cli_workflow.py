"""`glassq workflow`, and `glassq cancel` of a whole one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from prometheus_client import CollectorRegistry

from glassq import Glassq, chain, parallel
from glassq.model.jobs import JobState
from tests.integration.commandline import Glass, command_line


@pytest.fixture
def app(store_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Glassq]:
    """An application on the store that $GLASSQ_URL names, one of each kind in turn."""
    monkeypatch.setenv("GLASSQ_URL", store_url)
    with Glassq(store_url, registry=CollectorRegistry()) as app:
        yield app


@pytest.fixture
def glassq(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Glass:
    """Runs one command."""
    return command_line(monkeypatch, capsys)


def test_a_workflow_is_shown_step_by_step(app: Glassq, glassq: Glass) -> None:
    """Before, and when one step was given up: which jobs wait for which others, how each stands and how long
    it took, where that is kept."""

    @app.fifo("left", max_retries=0, result_ttl=60, name="work")
    def work(*, fails: bool = False) -> None:
        if fails:
            raise ValueError

    @app.fifo("right", name="tidy")
    def tidy() -> None: ...

    before = tidy.options(delay=3600)()
    last = tidy.options(depends_on=[before]).s().named("last")
    whole = work.s().named("get") >> (work.s(fails=True).named("load") | tidy.s().named("note"))
    submitted = app.submit(whole.then(last, on_failure="run"), name="nightly")

    told = glassq("workflow", submitted.id, "--json").json
    assert (told["name"], told["status"], told["total"], told["ended"]) == ("nightly", "running", 4, {})
    get, load, _, end = told["steps"]
    assert (get["state"], load["state"], end["state"]) == ("ready", "deferred", "deferred")
    assert load["waits_for"] == [{"job": get["job"], "name": "get", "on_failure": "cancel"}]
    assert end["waits_for"][2] == {"job": before.id, "name": "", "on_failure": "cancel"}
    assert (get["took"], get["queue"], get["task"]) == (None, "left", "work")

    assert app.worker().run_until_idle(20)
    steps = glassq("workflow", submitted.id, "--json").json["steps"]
    assert [step["state"] for step in steps] == ["succeeded", "buried", "succeeded", "deferred"]
    assert [step["took"] is None for step in steps] == [False, False, True, True]
    told = glassq("workflow", submitted.id)
    assert told.code == 0
    for shown in (
        "nightly",
        "running",
        "4 (2 succeeded, 1 buried, 1 open)",
        f"load (run), note (run), {before.id}",
    ):
        assert shown in told.out


def test_a_large_workflow_is_cut(app: Glassq, glassq: Glass) -> None:
    """Steps of one name that are waited for are counted, not listed."""

    @app.fifo("q", name="part")
    def part() -> None: ...

    whole = chain(part.s().named("first"), parallel(*(part.s() for _ in range(40))), part.s().named("last"))
    submitted = app.submit(whole)
    told = glassq("workflow", submitted.id, "--limit", "5")
    assert "the first 5 of 42 steps" in told.out
    assert "40 part" in glassq("workflow", submitted.id).out


def test_a_whole_workflow_is_cancelled(app: Glassq, glassq: Glass) -> None:
    """Once its name was typed; its dead steps stay what they are, and a second time it is too late."""

    @app.fifo("q", name="step")
    def step() -> None: ...

    submitted = app.submit(chain(*(step.s() for _ in range(3))), name="nightly")
    told = glassq("cancel", submitted.id, typed="q\n")
    assert (told.code, app.job(submitted.jobs("step")[0]).state) == (1, JobState.READY)
    assert "is not the workflow's name" in told.err
    told = glassq("cancel", submitted.id, "--json", typed="nightly\n")
    assert (told.code, told.json) == (0, {"id": submitted.id, "name": "nightly", "cancelled": 3})
    assert told.audit == [
        f'cancel store={app.address} queue=q ids={submitted.id} result="3 removed or asked"'
    ]
    assert app.worker().run_until_idle(20)
    assert submitted.status() == "cancelled"
    told = glassq("cancel", submitted.id, "--yes")
    assert (told.code, "has ended: cancelled" in told.err) == (1, True)
    assert "took" in glassq("workflow", submitted.id).out


def test_what_is_no_workflow(app: Glassq, glassq: Glass) -> None:
    """A job's id, or one that nobody knows."""
    assert app.fifo("q", name="task")(lambda: 1)() is not None
    for command in ("workflow", "cancel"):
        told = glassq(command, "~q/0123456789abcdef", "--json")
        assert (told.code, "no workflow has the id" in told.err) == (1, True)
    told = glassq("workflow", "q/p:1")
    assert (told.code, "is no workflow's id" in told.err) == (2, True)
