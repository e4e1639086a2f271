"""The embedded store keeps every promise of the protocol."""

from __future__ import annotations

from pathlib import Path

import pytest

from glassq.model.clock import Clock
from glassq.storage import Storage
from glassq.stores.sqlite.store import SqliteStorage
from glassq.testing.conformance import StorageConformance


class TestSqlite(StorageConformance):
    """One file per test; each handle opens it anew, as another process would."""

    _file: Path

    @pytest.fixture(autouse=True)
    def _place(self, tmp_path: Path) -> None:
        self._file = tmp_path / "jobs.db"

    def make(self, clock: Clock) -> Storage:
        """A handle on the test's file."""
        return SqliteStorage.open(f"sqlite:///{self._file}", clock=clock)
