"""Settlements nobody asked about: what comes next tells of them, and nothing is made up."""

from __future__ import annotations

import pytest

from glassq.errors import StorageError
from glassq.model.events import AttemptAbandoned, AttemptSettled, SettlementDelayed
from glassq.model.leases import Settled, Settlement, SettleStatus
from glassq.model.verdicts import Action
from tests.unit.test_flight import LEASE, LOST, PlayedCourse, Sending, Stay, done, ended, stay

__all__ = ["stay"]  # a fixture


def succeeded(job: str) -> Settlement:
    """Its settlement, which is waited for."""
    return Settlement(lease=LEASE, job_id=job, action=Action.ACK)


def test_what_is_settled_next_tells_of_those_nobody_asked_about(stay: Stay) -> None:
    """One round trip for all; and when they ended is told by when they were sent, not by the long job behind
    them."""
    stay.begin()
    stay.course.silent = {"a", "b"}
    stay.go_on("a", "b")
    stay.clock.advance(60)
    stay.store.answers["c"] = Settled(status=SettleStatus.DONE, now=1000.0, held=True, ordinal=9)
    assert stay.flight.has_unasked()
    assert stay.flight.settle(ended("c"), succeeded("c"), stay.clock.monotonic()) == stay.store.answers["c"]
    assert stay.store.sent == ["a then a'", "b then b'", "c"]
    assert stay.store.told == []
    settled = [event for event in stay.events if isinstance(event, AttemptSettled)]
    assert [(event.job_id, event.ordinal) for event in settled] == [("a", 0), ("b", 0), ("c", 9)]
    assert [event.end_to_end for event in settled] == pytest.approx([939.999, 940.0, 1000.0])
    assert stay.flight.empty


def test_ordinals_are_known_where_nothing_else_was_settled_between(stay: Stay) -> None:
    """By those of the answers before and behind; never guessed."""
    stay.store.answers["a"] = Settled(status=SettleStatus.DONE, now=1.0, held=True, ordinal=4)
    stay.send("a")
    for jobs, ordinal, told in ((("b", "c"), 7, [5, 6, 7]), (("d", "e"), 11, [0, 0, 11])):
        stay.course = PlayedCourse(stay.store)
        stay.events.clear()
        stay.begin()
        stay.course.silent = set(jobs)
        stay.go_on(*jobs)
        last = f"after {jobs}"
        stay.store.answers[last] = Settled(status=SettleStatus.DONE, now=1.0, held=True, ordinal=ordinal)
        stay.send(last)
        assert [event.ordinal for event in stay.events if isinstance(event, AttemptSettled)] == told


def test_a_refusal_of_the_next_one_leaves_nothing_certain(stay: Stay) -> None:
    """O5: whether those before it came in time nobody knows; they may run again, as far as is known here."""
    stay.begin()
    stay.course.silent = {"a", "b"}
    stay.go_on("a", "b")
    stay.store.answers["c"] = done(SettleStatus.FENCED, held=False)
    assert stay.flight.has_unasked()
    assert stay.flight.settle(ended("c"), succeeded("c"), 0.0) is None
    assert stay.lane.lost
    assert (stay.told(AttemptSettled), stay.told(AttemptAbandoned)) == ([], ["a", "b", "c"])


def test_those_nobody_asked_about_are_repeated_first(stay: Stay) -> None:
    """O2: they were lost with a connection, so the next one is refused as not the head. From the oldest on,
    each is told again as it was sent."""
    stay.begin()
    stay.course.silent = {"a", "b"}
    stay.go_on("a", "b")
    stay.store.answers["c"] = refusal = StorageError("c is not the head of its lane")
    stay.store.repeated.append(refusal)
    assert stay.flight.has_unasked()
    assert stay.flight.settle(ended("c"), succeeded("c"), 0.0) == done()
    assert stay.store.told == ["c", "a", "b", "c"]
    assert stay.told(AttemptSettled) == ["a", "b", "c"]
    assert stay.told(SettlementDelayed) == ["a", "b", "c"]


def test_a_repetition_asks_where_nothing_comes_next(stay: Stay) -> None:
    """The last one is told again, and answers for all: nobody is left without a word."""
    stay.begin()
    stay.course.silent = {"a", "b"}
    stay.go_on("a", "b")
    stay.store.answers["b"] = Settled(status=SettleStatus.ALREADY, now=5.0, held=True)
    stay.flight.hear_all()
    assert stay.store.sent == ["a then a'", "b then b'", "b"]
    assert stay.told(AttemptSettled) == ["a", "b"]
    assert stay.flight.empty


def test_nobody_asks_in_a_lane_that_is_lost(stay: Stay) -> None:
    """They may run again, for all that is known."""
    stay.begin()
    stay.course.silent = {"a"}
    stay.go_on("a")
    stay.lane.lost = True
    stay.flight.hear_all()
    stay.flight.abandon()
    assert stay.store.sent == ["a then a'"]
    assert stay.told(AttemptAbandoned) == ["a"]


def test_an_end_that_others_hear_of_elsewhere_is_looked_for_when_the_lane_has_changed(stay: Stay) -> None:
    """Its own answer would have said so; nobody got it."""
    stay.begin()
    stay.course.silent = {"a"}
    stay.go_on("a")
    stay.store.answers["b"] = Settled(status=SettleStatus.DONE, now=0.0, held=True, change=1)
    stay.send("b")
    assert stay.relayed == [LEASE.queue]


def test_no_more_than_the_most_are_on_their_way_with_those_nobody_asked_about(stay: Stay) -> None:
    """O4: they count like any other."""
    stay.begin()
    stay.course.silent = {"b"}
    stay.go_on("a", "b")
    stay.send("c", "d")
    assert stay.store.waited == ["a"]


@pytest.mark.parametrize("held", [True, False])
def test_what_may_give_the_lane_up_hides_it_from_renewals_while_it_is_waited_for(
    stay: Stay, held: bool
) -> None:
    """That the store does not know the lease any more is no loss then; the answer says how it is."""
    leaving: list[bool] = []
    answer = Sending.answer

    def waiting(sent: Sending) -> Settled:
        leaving.append(stay.lane.leaving)
        return answer(sent)

    stay.begin()
    stay.course.silent = {"a"}
    stay.go_on("a")
    stay.store.answers["b"] = done(held=held)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Sending, "answer", waiting)
        assert stay.flight.has_unasked()
        stay.flight.settle(ended("b"), succeeded("b"), 0.0)
    assert leaving == [True]
    assert stay.lane.leaving is not held


def test_where_the_last_one_gave_the_lane_up_its_repetition_tells_of_all(stay: Stay) -> None:
    """It got there, and its answer was lost: the store would refuse to hear of those before it, as of a lane
    that is not this worker's."""
    stay.begin()
    stay.course.silent = {"a", "b"}
    stay.go_on("a", "b")
    stay.store.answers["c"] = LOST
    stay.store.repeated.append(done(SettleStatus.ALREADY, held=False))
    assert stay.flight.has_unasked()
    assert stay.flight.settle(ended("c"), succeeded("c"), 0.0) == done(SettleStatus.ALREADY, held=False)
    assert stay.store.told == ["c"]
    assert stay.told(AttemptSettled) == ["a", "b", "c"]
    assert not stay.lane.lost
