"""What an exchange of values promises: of all who want to replace the same one, one does."""

# ruff: noqa: S101 - asserts, and the numbers of an example, are the trade of a test

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from glassq.keeping import MAX_VALUE_BYTES
from glassq.testing.conformance.scenario import LEASE, QUEUE, Scenario, near, refused

ALICE, BOB = b"alice", b"bob"


class Exchanging(Scenario):
    """Values that are replaced only by whoever knows what is there."""

    def exchange(
        self, was: bytes | None, body: bytes | None, *, seconds: float | None = None, name: str = "a"
    ) -> bool:
        """Through the first handle; whether it was done."""
        return self.store.exchange(QUEUE, name, was=was, body=body, seconds=seconds).done

    def there(self, name: str = "a") -> bytes | None:
        """What another process sees."""
        found = self.another_handle().value(QUEUE, name)
        return None if found is None else found.body

    def test_a_value_replaces_the_one_that_is_expected(self) -> None:
        """And no other one; bytes are bytes, and an empty value is not none."""
        assert self.exchange(None, b"")
        assert not self.exchange(None, b"2")
        assert not self.exchange(b"1", b"2")
        assert self.there() == b""
        assert self.exchange(b"", b"=\x00\r\n")
        assert self.exchange(b"=\x00\r\n", b"3")
        assert self.there() == b"3"
        assert self.there("b") is None

    def test_a_value_is_dropped_if_it_is_the_expected_one(self) -> None:
        """Once it is gone, dropping it again is done."""
        assert self.exchange(None, b"1")
        assert not self.exchange(b"2", None)
        assert self.there() == b"1"
        assert self.exchange(b"1", None)
        assert self.there() is None
        assert self.exchange(b"1", None)
        assert self.store.values(QUEUE, "") == []

    def test_an_exchange_may_be_repeated(self) -> None:
        """Whoever did not hear the answer finds the value there and is told that it is done."""
        assert self.exchange(None, b"1")
        assert self.exchange(None, b"1")
        assert self.exchange(b"1", b"2")
        assert self.exchange(b"1", b"2")
        assert not self.exchange(None, b"1")

    def test_it_tells_the_time_of_the_store(self) -> None:
        """Done or not; with nothing to exchange it does nothing else, also in a queue nobody ever used."""
        self.clock.step_wall(-3600)
        told = self.store.exchange("never-used", "a", was=None, body=None)
        assert told.done
        assert near(told.now, self.clock.wall())
        assert self.store.values("never-used", "") == []
        assert self.store.queues() == []
        assert self.exchange(None, b"1")
        refusal = self.store.exchange(QUEUE, "a", was=None, body=b"2")
        assert not refusal.done
        assert near(refusal.now, self.clock.wall())

    def test_an_office_has_one_holder(self) -> None:
        """It is renewed by its holder, passes to another one when its time is over by the store's clock, or
        at once when it is given up; who lost it cannot renew it, nor take it from the next."""
        assert self.exchange(None, ALICE, seconds=LEASE)
        self.clock.advance(LEASE - 1)
        assert not self.exchange(None, BOB, seconds=LEASE)
        assert self.exchange(ALICE, ALICE, seconds=LEASE)
        self.clock.advance(LEASE - 1)
        assert not self.exchange(None, BOB, seconds=LEASE)
        self.clock.advance(1.1)
        assert self.there() is None
        assert not self.exchange(ALICE, b"alice again", seconds=LEASE)
        assert self.exchange(None, BOB, seconds=LEASE)
        assert not self.exchange(ALICE, None)
        assert self.there() == BOB
        assert self.exchange(BOB, None)
        assert self.exchange(None, ALICE, seconds=LEASE)

    def test_one_of_many_gets_it(self) -> None:
        """However many try at once, from however many processes."""
        handles = [self.another_handle() for _ in range(4)]
        self.store.put(QUEUE, "a", b"0", None)

        def attempt(number: int) -> bool:
            body = str(number).encode()
            return handles[number % 4].exchange(QUEUE, "a", was=b"0", body=body).done

        with ThreadPoolExecutor(8) as pool:
            won = [number for number, done in enumerate(pool.map(attempt, range(1, 17)), 1) if done]
        assert len(won) == 1
        assert self.there() == str(won[0]).encode()

    def test_what_cannot_be_a_value_is_refused(self) -> None:
        """As by `put`."""
        with refused(ValueError):
            self.exchange(None, bytes(MAX_VALUE_BYTES + 1))
        with refused(ValueError):
            self.exchange(None, b"1", name="")
        with refused(ValueError):
            self.exchange(None, b"1", seconds=0)
