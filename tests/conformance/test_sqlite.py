"""The embedded store keeps every promise of the protocol."""

from __future__ import annotations

from pathlib import Path

import pytest

from glassq.errors import QueueFull
from glassq.model.clock import Clock
from glassq.model.jobs import NewJob
from glassq.storage import Storage
from glassq.stores.sqlite.store import SqliteStorage
from glassq.testing.conformance import StorageConformance
from glassq.testing.conformance.scenario import ALICE, BOB, LEASE, QUEUE, lanes_of


class TestSqlite(StorageConformance):
    """One file per test; each handle opens it anew, as another process would."""

    _file: Path

    @pytest.fixture(autouse=True)
    def _place(self, tmp_path: Path) -> None:
        self._file = tmp_path / "jobs.db"

    def make(self, clock: Clock) -> Storage:
        """A handle on the test's file."""
        return SqliteStorage.open(f"sqlite:///{self._file}", clock=clock)

    def test_a_refused_append_follows_no_step_twice(self) -> None:
        """What a call that is refused saw of the clock is not half written: it may share its commit."""
        self.put("a", lane="held")
        self.put("b", lane="waiting")
        held, waiting = self.claim().grants
        self.retry(waiting, wait=LEASE)
        self.clock.step_wall(-3600)
        for _ in range(3):
            with pytest.raises(QueueFull):
                self.store.append(QUEUE, [NewJob(body=b"c")], max_length=2)
        assert self.claim(BOB).grants == ()
        self.live_through(LEASE / 2)
        assert self.claim(BOB).grants == ()
        assert self.renew(ALICE, [held.lease]) == set()
        self.live_through(LEASE / 2 + 0.5)
        assert lanes_of(self.claim(BOB)) == ["waiting"]
