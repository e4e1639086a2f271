"""`glassq job`: one job, wherever it is, and what became of it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from prometheus_client import CollectorRegistry

from glassq import Glassq, current_job
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


def test_a_job_is_shown_before_and_after_its_end(app: Glassq, glassq: Glass) -> None:
    """Where it is, how far, what happened to it; what it returned only if that is asked for."""

    @app.fifo("reports", key="month", result_ttl=60, name="report")
    def report(month: str) -> dict[str, str]:
        job = current_job()
        job.progress(0.25, "a quarter")
        return {"file": "a secret path"}

    receipt = report("may")
    told = glassq("job", receipt.id)
    assert told.code == 0
    assert "ready" in told.out
    assert "a quarter" not in told.out
    assert app.worker().run_until_idle(20)
    told = glassq("job", receipt.id)
    for shown in ("succeeded", "may", "25%, a quarter (attempt 1)", "kept (--result shows it)", "attempt"):
        assert shown in told.out
    assert "a secret path" not in told.out
    assert '"file": "a secret path"' in glassq("job", receipt.id, "--result").out
    told = glassq("job", receipt.id, "--json")
    assert (told.json["state"], told.json["has_result"], "result" in told.json) == ("succeeded", True, False)
    assert [each["event"] for each in told.json["history"]] == ["enqueued", "attempt", "settled"]
    assert glassq("job", receipt.id, "--result", "--json").json["result"] == {"file": "a secret path"}
    told = glassq("cancel", receipt.id, "--yes")
    assert (told.code, "has ended: succeeded" in told.err) == (1, True)


def test_what_is_not_kept_is_said_to_be_so(app: Glassq, glassq: Glass) -> None:
    """A job without a result can be shown while it is there, and no longer."""
    receipt = app.fifo("plain", name="plain")(lambda: 1)()
    told = glassq("job", receipt.id)
    assert (told.code, "ready" in told.out) == (0, True)
    assert "no result is kept" in glassq("job", receipt.id, "--result").err
    assert app.worker().run_until_idle(20)
    told = glassq("job", receipt.id)
    assert (told.code, "result_ttl=" in told.err) == (1, True)
