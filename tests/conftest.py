"""What every test stands on."""

from __future__ import annotations

import os

import pytest
from hypothesis import settings

from glassq.observe import exemplars

# Deadlines measure the machine, not the code; a run in CI must be repeatable from its log alone.
settings.register_profile("local", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
settings.register_profile("chaos", deadline=None, print_blob=True, max_examples=1000)
settings.load_profile("ci" if os.environ.get("CI") else "local")


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting of the developer's shell reaches a test or the processes it starts."""
    for name in list(os.environ):
        if name.startswith(("GLASSQ_", "OTEL_")) and not name.startswith("GLASSQ_TEST_"):
            monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def _own_traces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spans are remembered by the ids of their jobs, which tests make up: each begins with none."""
    monkeypatch.setattr(exemplars, "_here", exemplars._Remembered())


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything in `tests/integration` carries the mark `integration`, so nobody can forget it."""
    for item in items:
        if "integration" in item.path.parts:
            item.add_marker(pytest.mark.integration)
