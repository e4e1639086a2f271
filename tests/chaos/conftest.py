"""Stages, stores, seeds and figures for the chaos suite."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from random import Random
from typing import Protocol

import pytest

from tests.chaos.figures import Figures, Summary
from tests.chaos.sizes import SIZES, Sizes
from tests.chaos.stage import Stage
from tests.conformance.redisservers import bundled_server, running, system_server

_SUMMARY = pytest.StashKey[Summary]()
_FAILED = pytest.StashKey[bool]()
_KEPT = pytest.StashKey[list[str]]()


class Stages(Protocol):
    """Makes a stage on a store; its processes are gone at the test's end, its histories only if it passed."""

    def __call__(self, url: str, *, lease: float = 1.0, **environment: str) -> Stage:
        """A stage with this much more in the environment of its processes; an empty value counts as none."""
        ...


def pytest_configure(config: pytest.Config) -> None:
    """One summary for the run."""
    config.stash[_SUMMARY] = Summary(SIZES)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything here carries the mark `chaos`, and as much time as its size needs."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.chaos)
            item.add_marker(pytest.mark.timeout(180 if SIZES.mode == "short" else SIZES.budget + 1800))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Tell of a failure how to repeat it; note it, so that its histories are kept."""
    report: pytest.TestReport = yield  # type: ignore[assignment]
    if report.failed:
        item.stash[_FAILED] = True
        kept = "".join(f"\nhistories: {folder}" for folder in item.stash.get(_KEPT, []))
        report.sections.append(("to repeat it", SIZES.command(item.nodeid) + kept))
    return report  # type: ignore[return-value]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """The figures of the run; as JSON, too, where they are wanted."""
    summary = config.stash[_SUMMARY]
    terminalreporter.section(f"chaos, {SIZES.mode}, CHAOS_SEED={SIZES.seed}")
    for line in summary.lines():
        terminalreporter.write_line(line)
    skipped = Counter(map(_reason, terminalreporter.stats.get("skipped", ())))
    if skipped:
        terminalreporter.section("chaos: rows that were NOT run here")
        for (test, reason), number in sorted(skipped.items()):
            terminalreporter.write_line(f"{test} ({number}): {reason}")
    wanted = os.environ.get("CHAOS_REPORT")
    if wanted:
        summary.write(Path(wanted))


def _reason(report: pytest.TestReport) -> tuple[str, str]:
    """The test that a skipped row is of, and why it was skipped."""
    said = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    return report.nodeid.partition("[")[0], said.removeprefix("Skipped: ")


@pytest.fixture
def sizes() -> Sizes:
    """How much of everything."""
    return SIZES


@pytest.fixture
def chance(request: pytest.FixtureRequest) -> Random:
    """The test's own source of chance, from the seed."""
    return SIZES.chance(request.node.name)


@pytest.fixture
def figures(request: pytest.FixtureRequest) -> Figures:
    """What the test counts and times, for the summary."""
    return request.config.stash[_SUMMARY].figures(request.node.name)


@pytest.fixture
def stages(request: pytest.FixtureRequest, tmp_path: Path, figures: Figures) -> Iterator[Stages]:
    """What makes stages."""
    with ExitStack() as endings:
        folders = (tmp_path / f"stage-{number}" for number in count())

        def make(url: str, *, lease: float = 1.0, **environment: str) -> Stage:
            stage = Stage(next(folders), url, SIZES, figures, lease=lease, **environment)
            endings.callback(_put_away, stage, request.node)
            endings.callback(stage.close)
            kept = _keep(stage.folder, request.node.name)
            request.node.stash.setdefault(_KEPT, []).append(str(kept))
            return stage

        yield make


def _keep(folder: Path, test: str) -> Path:
    """Where the histories of a failing test are to be found."""
    wanted = os.environ.get("CHAOS_KEEP")
    return Path(wanted) / f"{test}-{SIZES.seed}-{folder.name}" if wanted else folder


def _put_away(stage: Stage, test: pytest.Item) -> None:
    kept = _keep(stage.folder, test.name)
    if not test.stash.get(_FAILED, False):
        stage.clear()
    elif kept != stage.folder:
        shutil.move(stage.folder, kept)


@pytest.fixture
def redis_binary() -> str:
    """A real Redis: the installed one, or the one a Python package brings."""
    try:
        return system_server()
    except pytest.skip.Exception:
        return bundled_server()


@pytest.fixture
def redis_url(redis_binary: str, tmp_path: Path) -> Iterator[str]:
    """A Redis of the test's own."""
    with running(redis_binary, tmp_path) as url:
        yield url


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """A file of the test's own."""
    return f"sqlite:///{tmp_path}/jobs.db"


@pytest.fixture(params=["sqlite", "redis"])
def store_url(request: pytest.FixtureRequest) -> str:
    """An empty store of each kind in turn."""
    url: str = request.getfixturevalue(f"{request.param}_url")
    return url
