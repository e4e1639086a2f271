"""What a history says of settlements on a course."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest

from glassq.errors import StorageUnavailable
from glassq.model.leases import Lease, Owner, Settled, Settlement, SettleStatus
from glassq.model.verdicts import Action
from glassq.settling import Answered
from glassq.storage import Storage
from glassq.stores.recorded import RecordedStorage
from glassq.telemetry import Bus

OWNER = Owner("n", "i")


class Refusing:
    """A course on which nothing is sent any more."""

    is_over = False

    def send(self, _job: str, _next: str) -> None:
        """Not sent."""


class Silent:
    """A course whose first settlement is answered, and no other one."""

    is_over = False

    def send(self, _job: str, _next: str) -> int:
        """Sent, and nothing is heard."""
        return 0

    def leave(self) -> list[tuple[Any, int]]:
        """Of the first, the answer comes later."""
        return [(Answered(lambda: settled(SettleStatus.DONE)), 1)]


def settled(status: SettleStatus) -> Settled:
    """An answer."""
    return Settled(status=status, now=1.0, ordinal=7, held=True)


def a_store(course: object, **verbs: object) -> SimpleNamespace:
    """As much of a store as is asked for here."""
    return SimpleNamespace(
        kind="redis", address="", is_steered=lambda _: False, course=lambda *_, **__: course, **verbs
    )


class Pages:
    """A history in memory."""

    def __init__(self) -> None:
        self.written: list[tuple[str, str]] = []

    def write(self, event: str, **about: Any) -> None:
        """A line."""
        self.written.append((event, about["id"]))


def test_a_settlement_that_is_not_sent_is_not_on_its_way_for_ever() -> None:
    """It is asked for again in another way, and whoever counts what is on its way counts it once."""
    store, pages = a_store(Refusing()), Pages()
    recorded = RecordedStorage(cast("Storage", store), Bus(), cast("Any", pages))
    like = Settlement(lease=Lease("q", "", 1), job_id="", action=Action.ACK, begun=True)
    course = recorded.course(OWNER, like, others=False)
    assert course is not None
    assert course.send("q/p:1", "q/p:2") is None
    assert pages.written == [("settle.invoked", "q/p:1"), ("settle.unknown", "q/p:1")]


@pytest.mark.parametrize(
    ("status", "told"),
    [(SettleStatus.DONE, "settle.ok"), (SettleStatus.FENCED, "settle.unknown")],
)
def test_what_a_later_answer_tells_of_is_written_down(status: SettleStatus, told: str) -> None:
    """Of those nobody asked about the next settlement under their lease tells, not one that was on its way
    before, and of another lease none."""
    store = a_store(Silent(), settle_later=lambda *_: Answered(lambda: settled(status)))
    pages = Pages()
    recorded = RecordedStorage(cast("Storage", store), Bus(), cast("Any", pages))
    like = Settlement(lease=Lease("q", "", 1), job_id="", action=Action.ACK, begun=True)
    course = recorded.course(OWNER, like, others=False)
    assert course is not None
    for number in (1, 2, 3):
        course.send(f"q/p:{number}", f"q/p:{number + 1}")
    [(first, count)] = course.leave()
    assert count == 1
    other = msgspec.structs.replace(like, lease=Lease("q", "other", 2), job_id="q/p:9")
    recorded.settle_later(OWNER, other).answer()
    first.answer()
    pages.written.clear()
    recorded.settle_later(OWNER, msgspec.structs.replace(like, job_id="q/p:4")).answer()
    own = "settle.ok" if status is SettleStatus.DONE else "settle.fenced"
    assert sorted(pages.written) == sorted(
        [("settle.invoked", "q/p:4"), (own, "q/p:4"), (told, "q/p:2"), (told, "q/p:3")]
    )


def test_of_a_settlement_that_fails_nothing_is_known() -> None:
    """Nor of those before it."""
    pages = Pages()
    store = a_store(Silent())
    recorded = RecordedStorage(cast("Storage", store), Bus(), cast("Any", pages))
    like = Settlement(lease=Lease("q", "", 1), job_id="q/p:3", action=Action.ACK, begun=True)
    course = recorded.course(OWNER, like, others=False)
    assert course is not None
    for number in (1, 2):
        course.send(f"q/p:{number}", f"q/p:{number + 1}")
    course.leave()

    def away(*_: Any) -> None:
        raise StorageUnavailable("away", "connection")

    store.settle = away
    with pytest.raises(StorageUnavailable):
        recorded.settle(OWNER, [like])
    assert pages.written[-2:] == [("settle.unknown", "q/p:3"), ("settle.unknown", "q/p:2")]
