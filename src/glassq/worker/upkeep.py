"""What must go on while jobs run: leases are renewed and the worker is heard of.

In a thread of its own, so that neither a busy lane nor a blocked event loop can lose a lease; and told by yet
another one, so that no slow observer or log handler can.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable

from glassq.errors import StorageError
from glassq.model.clock import Clock
from glassq.model.leases import Owner
from glassq.storage import Storage
from glassq.worker.holdings import HeldLane, Holdings
from glassq.worker.options import WorkerOptions
from glassq.worker.settle import Settler
from glassq.worker.telling import Teller

_PER_CALL = 100
_RETRIES_PER_LEASE = 10
"""A renewal that failed is repeated this often within a lease: a shorter outage loses nothing."""


class Upkeep:
    """Renews every held lane each third of a lease, until told to stop and nothing is held any more."""

    def __init__(
        self,
        *,
        storage: Storage,
        clock: Clock,
        owner: Owner,
        options: WorkerOptions,
        holdings: Holdings,
        settler: Settler,
        teller: Teller,
        queues: Callable[[], tuple[str, ...]],
        relay: Callable[[Iterable[str]], None] = lambda _: None,
    ) -> None:
        self._storage = storage
        self._clock = clock
        self._owner = owner
        self._lease_seconds = options.lease_seconds
        self._callback_timeout = options.callback_timeout
        self._holdings = holdings
        self._settler = settler
        self._teller = teller
        self._queues = queues
        self._relay = relay
        self._slow_callbacks: set[int] = set()
        self._stop = threading.Event()

    def run(self) -> None:
        """The thread's body."""
        with self._teller.telling():
            while not (self._stop.is_set() and len(self._holdings) == 0):
                renewed = self.turn()
                self._pause(self._lease_seconds / (3 if renewed else _RETRIES_PER_LEASE))

    def stop(self) -> None:
        """End once nothing is held."""
        self._stop.set()

    def _pause(self, seconds: float) -> None:
        if self._stop.is_set():  # what remains are attempts that outlast the stop: go on renewing them
            self._holdings.wait_until_empty(seconds)
        else:
            self._stop.wait(seconds)

    def turn(self) -> bool:
        """Renew and report once; False when the store, or a part of it, was away."""
        lanes, whole = self._holdings.all(), True
        self._report_slow_callbacks(lanes)
        try:
            for first in range(0, len(lanes), _PER_CALL):
                whole = self._renew(lanes[first : first + _PER_CALL]) and whole
            # By their shards, in which a worker that died may have left something to tell.
            self._relay(self._storage.report(self._owner, self._queues()))
        except StorageError as error:
            self._teller.log(logging.WARNING, "renewing %d leases: %s", len(lanes), error)
            return False
        except Exception as error:  # licensed: top of a thread; one that stops renewing loses all it runs
            self._teller.log(logging.ERROR, "renewing leases failed and is tried again", error=error)
            return False
        return whole

    def _renew(self, lanes: list[HeldLane]) -> bool:
        """Renew some lanes; False when a part of the store was away."""
        # Counted from before the call is sent, so that this process never believes in a lease longer than
        # the store does.
        deadline = self._clock.monotonic() + self._lease_seconds
        ours = [lane for lane in lanes if not lane.lost]
        renewed = self._storage.renew(
            self._owner, [lane.lease for lane in ours], lease_seconds=self._lease_seconds
        )
        for lane in ours:
            lane.cancelled |= renewed.cancelled
            if lane.lease in renewed.unheard:
                continue
            if lane.lease not in renewed.lost:
                lane.deadline = deadline
            elif not lane.leaving:  # one that is being left is not lost; if it was, its settlement says so
                self._settler.lose(lane, "taken_over")
        return not renewed.unheard

    def _report_slow_callbacks(self, lanes: list[HeldLane]) -> None:
        now = self._clock.monotonic()
        slow = {
            id(lane): lane
            for lane in lanes
            if lane.callback_since is not None and now - lane.callback_since > self._callback_timeout
        }
        for lane in (slow[each] for each in slow.keys() - self._slow_callbacks):
            self._teller.log(
                logging.WARNING, "a callback on %s has run for over %g s", lane.lease, self._callback_timeout
            )
        self._slow_callbacks = set(slow)
