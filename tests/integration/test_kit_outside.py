"""The test kit as strangers use it: by pytest, with OpenTelemetry, on a server of the test's."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from glassq.app import Glassq
from glassq.model.events import AttemptStarted
from glassq.testing import testing
from tests.conformance.redisservers import running, system_server

ROOT = Path(__file__).parents[2]
PLUGIN = "glassq.testing.plugin"

SHOP = """
from glassq import Glassq

app = Glassq("redis://nowhere.invalid/0")
charged = []


@app.fifo("payments", key="order")
def charge(order: str, cents: int) -> None:
    if cents < 0:
        raise ValueError("a charge is positive")
    charged.append((order, cents))
"""

TESTS = """
import pytest
from glassq.testing import testing
from shop import app, charge, charged


@pytest.fixture
def kit(glassq_testing):
    return glassq_testing(app, errors="keep")


def test_it_charges(kit):
    charge("o-1", 500)
    kit.run()
    assert charged == [("o-1", 500)]


def test_it_fails(glassq_testing):
    kit = glassq_testing(app)
    charge("o-2", -1)
    kit.run()


def test_it_is_told_at_the_end(glassq_testing):
    glassq_testing(app, "inline")
    charge("o-3", -1)


def test_no_trace_is_left(kit):
    assert kit.run() == 0
"""


def run_pytest(folder: Path, *arguments: str) -> str:
    """Run pytest with nothing but the plugin; what it printed."""
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", PLUGIN, "-W", "error", "--tb=short", *arguments],
        cwd=folder,
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return result.stdout + result.stderr


def run(program: str, folder: Path) -> str:
    """Run a program, warnings being errors; what it printed."""
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_the_fixture_puts_an_application_under_test(tmp_path: Path) -> None:
    """No server is asked, tests are apart from each other, and errors point at the line of the job."""
    (tmp_path / "shop.py").write_text(SHOP, encoding="utf-8")
    (tmp_path / "test_shop.py").write_text(TESTS, encoding="utf-8")
    shown = run_pytest(tmp_path)
    assert "1 failed, 3 passed, 1 error" in shown
    assert "shop.py:11: in charge" in shown
    assert "E   in attempt 1 of shop.charge(order='o-2', cents=-1) of key o-2" in shown
    assert "ERROR test_shop.py::test_it_is_told_at_the_end" in shown
    assert "testing/kit.py" not in shown


def test_pytest_finds_the_plugin_and_pays_nothing_for_it() -> None:
    """The package names it; loading it loads none of the dependencies, and no application."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert project["project"]["entry-points"]["pytest11"] == {"glassq": PLUGIN}
    heavy = ("redis", "opentelemetry", "prometheus_client", "msgspec", "sqlite3", "glassq.app")
    shown = run(
        f"import pytest, sys; before = set(sys.modules); import {PLUGIN}\n"
        f"print([name for name in {heavy!r} if name in sys.modules and name not in before])\n"
        f"print(len([name for name in set(sys.modules) - before if not name.startswith('glassq')]))",
        ROOT,
    )
    assert shown.splitlines()[0] == "[]"
    assert int(shown.splitlines()[1]) == 0


SPANS = """
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from glassq import Glassq
from glassq.testing import testing

exporter = InMemorySpanExporter()
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(exporter))
trace.set_tracer_provider(provider)
app = Glassq("sqlite://")

@app.fifo("payments", name="charge")
def charge() -> None:
    with trace.get_tracer("shop").start_as_current_span("bank"):
        pass

charge()
for _ in range(2):
    with testing(app, spans=True) as kit:
        charge()
        kit.run()
        assert sorted(span.name for span in kit.spans) == ["bank", "enqueue payments", "process payments"]
        by_name = {span.name: span for span in kit.spans}
        assert by_name["bank"].parent.span_id == by_name["process payments"].context.span_id
charge()
assert len(kit.spans) == 3
assert [span.name for span in exporter.get_finished_spans()].count("enqueue payments") == 4
app.close()
"""


def test_spans_are_kept_of_the_block(tmp_path: Path) -> None:
    """Those of glassq and of the program, once each, also where the program traces its own calls; what it
    calls afterwards is traced as before, and not kept."""
    run(SPANS, tmp_path)


def test_without_the_sdk_the_command_that_installs_it_is_named(tmp_path: Path) -> None:
    """The extra is asked for when the block begins, and the block has not begun."""
    shown = run(
        "import sys; sys.modules['opentelemetry.sdk'] = None\n"
        "from glassq import Glassq\n"
        "from glassq.errors import MissingExtra\n"
        "from glassq.testing import testing\n"
        "app = Glassq('sqlite:///own.db')\n"
        "try: testing(app, spans=True).__enter__()\n"
        "except MissingExtra as error: print(error, app.address)",
        tmp_path,
    )
    assert shown.startswith("testing(app, spans=True) needs an optional package: pip install 'glassq[otel]' ")
    assert shown.strip().endswith("own.db")


def test_it_works_on_a_server_of_the_tests(tmp_path: Path) -> None:
    """The same steps, deaths and times on Redis, by the kit's clock; what is left there is refused next."""
    app, done = Glassq("sqlite:///nowhere.db"), list[int]()

    @app.fifo("payments", key="order", name="charge")
    def charge(order: str, cents: int) -> None:
        done.append(cents)

    with running(system_server(), tmp_path) as url:
        with testing(app, url=url) as kit:
            for cents in range(3):
                charge("o-1", cents)
                charge("o-2", 10 + cents)
            charge.options(delay=60)("o-1", 3)
            assert kit.run_next()
            kit.crash_worker()
            assert done == [0, 10]
            assert kit.run() == 2
            assert done == [0, 10, 1, 2]
            kit.advance(kit.lease_seconds + 1)
            assert kit.run() == 3
            assert done == [0, 10, 1, 2, 10, 11, 12]
            kit.advance(60)
            assert kit.run() == 1
            kit.assert_order("o-1", [charge.s("o-1", cents) for cents in range(4)])
            assert len(kit.events.of(AttemptStarted)) == 8
        with pytest.raises(Exception, match="is in use"):
            testing(app, url=url).__enter__()
