"""What a history says of settlements on a course."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from glassq.model.leases import Lease, Owner, Settlement
from glassq.model.verdicts import Action
from glassq.storage import Storage
from glassq.stores.recorded import RecordedStorage
from glassq.telemetry import Bus


class Refusing:
    """A course on which nothing is sent any more."""

    is_over = False

    def send(self, _job: str, _next: str) -> None:
        """Not sent."""


class Pages:
    """A history in memory."""

    def __init__(self) -> None:
        self.written: list[tuple[str, str]] = []

    def write(self, event: str, **about: Any) -> None:
        """A line."""
        self.written.append((event, about["id"]))


def test_a_settlement_that_is_not_sent_is_not_on_its_way_for_ever() -> None:
    """It is asked for again in another way, and whoever counts what is on its way counts it once."""
    store, pages = SimpleNamespace(kind="redis", address="", course=lambda *_, **__: Refusing()), Pages()
    recorded = RecordedStorage(cast("Storage", store), Bus(), cast("Any", pages))
    like = Settlement(lease=Lease("q", "", 1), job_id="", action=Action.ACK, begun=True)
    course = recorded.course(Owner("n", "i"), like, others=False)
    assert course is not None
    assert course.send("q/p:1", "q/p:2") is None
    assert pages.written == [("settle.invoked", "q/p:1"), ("settle.unknown", "q/p:1")]
