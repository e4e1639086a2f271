"""What doorbells and `close` promise."""

# ruff: noqa: S101, PLR2004 - asserts, and the numbers of an example, are the trade of a test

from __future__ import annotations

import threading
from collections.abc import Callable

from glassq.errors import StorageUnavailable
from glassq.model.jobs import NewJob
from glassq.model.leases import Leaving, Settlement
from glassq.model.verdicts import Action
from glassq.storage import Doorbell, Storage
from glassq.testing.conformance.scenario import (
    ALICE,
    BOB,
    LEASE,
    QUEUE,
    Scenario,
    bodies,
    refused,
)

PATIENCE = 10.0
"""Seconds until a ring that does not come fails its test. Nothing waits that long when it comes."""


class Ringing(Scenario):
    """A worker that waits is woken; one that is not waiting yet misses nothing."""

    def test_nothing_rings_in_an_idle_store(self) -> None:
        """A wait ends at its timeout, or at once when it is 0."""
        with self.listening(ALICE) as bell:
            assert not bell.wait(0)
            assert not bell.wait(0.02)

    def test_a_ring_before_the_wait_is_not_lost(self) -> None:
        """Work that came while the worker looked away is heard when it waits next."""
        with self.listening(ALICE) as bell:
            self.put("a")
            assert bell.wait(PATIENCE)
            assert not bell.wait(0)

    def test_a_waiter_on_another_handle_is_woken(self) -> None:
        """An append of one process starts the worker of another."""
        with self.listening(ALICE, self.another_handle()) as bell:
            assert rings(bell, lambda: self.put("a"))

    def test_all_waiters_are_woken(self) -> None:
        """Waking takes nothing away: every idle worker may look."""
        with (
            self.listening(ALICE, self.another_handle()) as first,
            self.listening(BOB, self.another_handle()) as second,
        ):
            self.put("a")
            assert first.wait(PATIENCE)
            assert second.wait(PATIENCE)

    def test_a_waiter_can_be_woken_by_its_own_process(self) -> None:
        """`ring` from another thread ends a wait without timeout; before the wait it is not lost."""
        with self.listening(ALICE) as bell:
            bell.ring()
            assert bell.wait(None)
            assert rings(bell, bell.ring)

    def test_lanes_that_become_ready_ring(self) -> None:
        """Release, the end of a turn, and a human's decision wake a standby: it need not poll."""
        standby = self.another_handle()
        self.put("a", "b", "c", "d", "e", "f")
        with self.listening(BOB, standby) as bell:
            for verb in (
                lambda: self.store.release(ALICE, [self.claim_one().lease]),
                lambda: self.settle(self.claim_one(), leaving=Leaving.YIELD),
                lambda: self.settle(self.claim_one(), leaving=Leaving.RELEASE),
                lambda: (self.halt(self.claim_one()), self.store.retry_lane(QUEUE, "")),
                lambda: (self.halt(self.claim_one()), self.store.skip_lane(QUEUE, "")),
            ):
                while bell.wait(0):
                    pass
                verb()
                assert bell.wait(PATIENCE)
        assert bodies(self.claim_one(BOB)) == ["d", "e", "f"]

    def test_a_retry_rings_so_that_a_standby_learns_its_time(self) -> None:
        """Whoever sleeps until something is due hears of something that is due earlier."""
        self.put("a")
        with self.listening(BOB, self.another_handle()) as bell:
            self.retry(self.claim_one(), wait=3)
            assert bell.wait(PATIENCE)
            due = self.claim(BOB).next_due
        assert due is not None
        assert 0 < due <= LEASE

    def test_only_the_queues_listened_to_need_to_ring(self) -> None:
        """A worker of two queues is woken by either."""
        bell = self.store.listen(ALICE, ["one", "two"])
        try:
            for queue in ("one", "two"):
                while bell.wait(0):
                    pass
                self.put("a", queue=queue)
                assert bell.wait(PATIENCE)
        finally:
            bell.close()

    def test_a_doorbell_attends_to_more_queues(self) -> None:
        """A worker that serves what is declared later hears of it without being made anew."""
        with self.listening(ALICE) as bell:
            bell.attend([QUEUE, "late"])
            while bell.wait(0):
                pass
            self.put("a", queue="late")
            assert bell.wait(5)
            while bell.wait(0):
                pass
            self.put("b")
            assert bell.wait(5)


class Closing(Scenario):
    """The end of a handle."""

    def test_close_is_idempotent_and_final(self) -> None:
        """Afterwards every verb raises `StorageUnavailable`: no silence, no foreign error."""
        self.put("a")
        grant = self.claim_one()
        store = self.store
        store.close()
        store.close()
        settlement = Settlement(lease=grant.lease, job_id=grant.jobs[0].id, action=Action.ACK)
        for verb in _every_verb(store, settlement):
            with refused(StorageUnavailable):
                verb()

    def test_other_handles_go_on(self) -> None:
        """A handle that is closed takes nothing with it."""
        self.put("a")
        other = self.another_handle()
        self.store.close()
        assert [answer.seq for answer in other.append(QUEUE, [NewJob(body=b"b")])] == [2]
        assert other.stats([QUEUE])[0].depth == 2

    def test_a_store_says_where_it_is(self) -> None:
        """`kind` is a metric label, `address` is for people."""
        assert self.store.kind
        assert self.store.kind in self.store.address or "://" in self.store.address


def _every_verb(store: Storage, settlement: Settlement) -> list[Callable[[], object]]:
    held = [settlement.lease]
    return [
        lambda: store.append(QUEUE, [NewJob(body=b"x")]),
        lambda: store.listen(ALICE, [QUEUE]),
        lambda: store.report(ALICE, [QUEUE]),
        lambda: store.claim(ALICE, [QUEUE], lanes=1, window=1, lease_seconds=LEASE),
        lambda: store.settle(ALICE, [settlement]),
        lambda: store.renew(ALICE, held, lease_seconds=LEASE),
        lambda: store.release(ALICE, held),
        lambda: store.retry_lane(QUEUE, ""),
        lambda: store.skip_lane(QUEUE, ""),
        lambda: store.waiting(QUEUE, 1),
        lambda: store.dead(QUEUE, 1),
        lambda: store.halted(QUEUE, 1),
        lambda: store.stats([QUEUE]),
        store.queues,
    ]


def rings(bell: Doorbell, verb: Callable[[], object]) -> bool:
    """Whether a thread that waits is woken by this verb."""
    heard: list[bool] = []
    waiter = threading.Thread(target=lambda: heard.append(bell.wait(PATIENCE)))
    waiter.start()
    # The waiter may not be waiting yet: then the ring comes first, and must not be lost either.
    verb()
    waiter.join(2 * PATIENCE)
    return heard == [True]
