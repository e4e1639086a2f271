"""The crash in the demo: `kill -9` half way, at the moment a delivery is really being made."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

from glassq.cli.demo.children import Child
from glassq.cli.demo.ledger import Delivery, Ledger
from glassq.cli.demo.receiver import refuses


class Crash:
    """Watches the receiver's arrivals and kills the first worker that delivers after half of the events.

    It hears of an arrival while the worker waits for the answer, so the job is certainly running.
    """

    def __init__(self, half: int) -> None:
        self._half = half
        self._lock = threading.Lock()
        self._workers: tuple[Child, ...] = ()
        self._ledger: Ledger | None = None
        self.victim: Child | None = None
        self.delivery: Delivery | None = None
        self.at = 0.0

    def arm(self, workers: Sequence[Child], ledger: Ledger) -> None:
        """From now on, kill one of these workers when the time has come."""
        with self._lock:
            self._workers, self._ledger = tuple(workers), ledger

    def __call__(self, delivery: Delivery) -> None:
        """One arrival. A delivery that is going to be refused is spared: its crash would prove less."""
        with self._lock:
            if self._ledger is None or self.victim is not None or refuses(delivery.event.id):
                return
            if self._ledger.accepted() < self._half:
                return
            for worker in self._workers:
                if worker.pid == delivery.worker:
                    worker.kill()
                    self.at, self.delivery, self.victim = time.monotonic(), delivery, worker

    def takeover_seconds(self, deliveries: Sequence[Delivery]) -> float | None:
        """From the kill until another worker made the interrupted delivery again; None before that."""
        if self.victim is None or self.delivery is None:
            return None
        for each in deliveries:
            again = each.event.id == self.delivery.event.id and each.worker != self.victim.pid
            if again and each.arrived > self.delivery.arrived:
                return each.arrived_at - self.at
        return None
