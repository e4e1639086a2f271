"""What every conformance test stands on: one store, handles on it, a clock, and short ways to use them."""

# ruff: noqa: S101 - asserts are the trade of a test

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from glassq.model.clock import Clock
from glassq.model.jobs import Appended, NewJob, Priority
from glassq.model.leases import Claimed, Grant, Lease, Leaving, Owner, Settled, Settlement
from glassq.model.names import DEFAULT_LANE
from glassq.model.stats import QueueStats
from glassq.model.verdicts import Action
from glassq.storage import NO_TERMS, Doorbell, Storage, Terms
from glassq.testing.clock import FakeClock

QUEUE = "orders"
LEASE = 15.0
ALICE = Owner("alice", "first")
BOB = Owner("bob", "first")
PASSER_BY = Owner("passer-by", "first")


class Scenario:
    """The base of all conformance classes. A store's own test class supplies `make`."""

    clock: FakeClock
    _opened: list[Storage]

    def make(self, clock: Clock) -> Storage:
        """A new handle on the store of the running test: what another process would open.

        All handles of one test see the same jobs, the first one sees none, and the store takes its time
        from `clock`, which the test moves. The suite closes what it made.
        """
        raise NotImplementedError

    def setup_method(self) -> None:
        """Runs before each test."""
        self.clock = FakeClock()
        self._opened = []

    def teardown_method(self) -> None:
        """Runs after each test."""
        for handle in self._opened:
            handle.close()

    def another_handle(self) -> Storage:
        """One more handle on the same store, closed when the test ends."""
        handle = self.make(self.clock)
        self._opened.append(handle)
        return handle

    @property
    def store(self) -> Storage:
        """The test's first handle."""
        return self._opened[0] if self._opened else self.another_handle()

    # -- producing -------------------------------------------------------------------------------------

    def put(
        self, *bodies: str, lane: str = DEFAULT_LANE, level: int = Priority.NORMAL, queue: str = QUEUE
    ) -> list[Appended]:
        """Append jobs with these bodies to one lane, in one call."""
        return self.store.append(
            queue, [NewJob(body=body.encode(), lane=lane, level=level) for body in bodies]
        )

    # -- working ---------------------------------------------------------------------------------------

    def claim(
        self,
        owner: Owner = ALICE,
        *,
        queues: Sequence[str] = (QUEUE,),
        lanes: int = 10,
        window: int = 16,
        lease: float = LEASE,
        terms: Mapping[str, Terms] = NO_TERMS,
    ) -> Claimed:
        """Claim through the first handle."""
        return self.store.claim(owner, queues, lanes=lanes, window=window, lease_seconds=lease, terms=terms)

    def claim_one(self, owner: Owner = ALICE, *, window: int = 16) -> Grant:
        """Claim exactly one lane; fails when there is none."""
        granted = self.claim(owner, lanes=1, window=window).grants
        assert len(granted) == 1, f"{owner} was to get a lane"
        return granted[0]

    def settle(
        self,
        grant: Grant,
        action: Action = Action.ACK,
        *,
        index: int = 0,
        owner: Owner = ALICE,
        job_id: str | None = None,
        next_id: str | None = None,
        leaving: Leaving = Leaving.STAY,
        wait: float = 0.0,
        reason: str = "",
        error: bytes = b"",
        result: bytes | None = None,
        ran: bool = True,
        window: int = 16,
        change: int | None = None,
    ) -> Settled:
        """Settle a job of a grant's window (its head unless told otherwise)."""
        settlement = Settlement(
            lease=grant.lease,
            job_id=job_id or grant.jobs[index].id,
            action=action,
            reason=reason,
            wait=wait,
            error=error,
            result=result,
            ran=ran,
            leaving=leaving,
            next_id=next_id,
            change=grant.change if change is None else change,
            window=window,
        )
        [answer] = self.store.settle(owner, [settlement])
        return answer

    def retry(self, grant: Grant, wait: float = 10.0, *, owner: Owner = ALICE) -> Settled:
        """Let the head of a grant fail, to be tried again after `wait` seconds."""
        return self.settle(grant, Action.RETRY, wait=wait, reason="exception", error=b"boom", owner=owner)

    def halt(self, grant: Grant, *, owner: Owner = ALICE) -> Settled:
        """Let the head of a grant fail for good, its lane waiting for a human."""
        return self.settle(grant, Action.HALT, reason="exception", error=b"boom", owner=owner)

    def bury(self, grant: Grant, *, owner: Owner = ALICE, leaving: Leaving = Leaving.STAY) -> Settled:
        """Let the head of a grant fail for good, its lane going on."""
        return self.settle(
            grant, Action.BURY, reason="exception", error=b"boom", owner=owner, leaving=leaving
        )

    def renew(self, owner: Owner, leases: Sequence[Lease]) -> frozenset[Lease]:
        """Renew through the first handle; the leases that are lost."""
        return self.store.renew(owner, leases, lease_seconds=LEASE).lost

    # -- time ------------------------------------------------------------------------------------------

    def live_through(self, seconds: float) -> None:
        """Let time pass while somebody keeps using the queue, so that the store sees it pass.

        Nobody gains or renews a lease by it. A bare `clock.advance` past a lease is something else to the
        store: an outage.
        """
        remaining = seconds
        while remaining > 0:
            step = min(LEASE / 3, remaining)
            self.clock.advance(step)
            remaining -= step
            self.store.claim(PASSER_BY, [QUEUE], lanes=0, window=1, lease_seconds=LEASE)

    # -- looking ---------------------------------------------------------------------------------------

    def stats(self, queue: str = QUEUE) -> QueueStats:
        """The figures of one queue."""
        [found] = self.store.stats([queue])
        return found

    def unsettled(self, queue: str = QUEUE) -> list[str]:
        """The bodies of all unsettled jobs, by sequence."""
        return [record.job.body.decode() for record in self.store.waiting(queue, 1000)]

    @contextmanager
    def listening(self, owner: Owner, handle: Storage | None = None) -> Iterator[Doorbell]:
        """A doorbell that has heard everything up to now."""
        bell = (handle or self.store).listen(owner, [QUEUE])
        try:
            while bell.wait(0):
                pass
            yield bell
        finally:
            bell.close()


@contextmanager
def refused(error: type[Exception]) -> Iterator[None]:
    """The block must end in this error."""
    try:
        yield
    except error:
        return
    raise AssertionError(f"{error.__name__} was to be raised")


def bodies(grant: Grant | Settled) -> list[str]:
    """The bodies of a window."""
    return [job.body.decode() for job in grant.jobs]


def lanes_of(claimed: Claimed) -> list[str]:
    """The lanes of a claim's grants, in order."""
    return [grant.lease.lane for grant in claimed.grants]


def near(left: float, right: float) -> bool:
    """Whether two times are the same but for rounding."""
    return abs(left - right) < 0.001  # noqa: PLR2004 - a millisecond


def stale(lease: Lease) -> Lease:
    """The lease somebody had before this one."""
    return Lease(lease.queue, lease.lane, lease.token - 1)
