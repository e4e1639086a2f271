"""What ended jobs have to tell in other shards, or to more children than one step reaches, workers tell.

In a thread of its own: it may take long, and neither lanes nor leases wait for it. It begins with the first
thing there is to tell, which most programs never have.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable

from glassq.errors import StorageError
from glassq.flowstorage import MAX_DELIVERIES
from glassq.model.clock import Clock
from glassq.model.events import WorkflowEnded
from glassq.model.flows import Delivered
from glassq.relaying import relay
from glassq.shielding import Log
from glassq.storage import Storage
from glassq.telemetry import Bus
from glassq.worker.backoff import RetryPause

log = Log("glassq.worker")

_LINGER = 1.0
"""Seconds without anything to tell after which the thread ends."""


class Relay:
    """Tells what is in the outboxes of queues, or shards, that were named by `ring`.

    Every worker of a queue may do it, at the same time, too: whatever is told twice changes nothing. What a
    dead one has not told is told at the next heartbeat of another.
    """

    def __init__(self, storage: Storage, bus: Bus, clock: Clock, random: Callable[[], float]) -> None:
        self._storage = storage
        self._bus = bus
        self._pause = RetryPause(clock, random)
        self._wake = threading.Condition()
        self._rung: dict[str, None] = {}
        self._thread: threading.Thread | None = None
        self._telling = False
        self._looked = self._stopped = False

    @property
    def busy(self) -> bool:
        """Whether there may be something to tell that is not told yet, as far as is known here."""
        with self._wake:
            return bool(self._rung) or self._telling or not self._looked

    def look(self, shards: Iterable[str]) -> None:
        """Look into all of these: a worker that died may have left something to tell."""
        self.ring(shards)
        self._looked = True

    def ring(self, shards: Iterable[str]) -> None:
        """There may be something to tell in these. Does not wait."""
        with self._wake:
            self._rung.update(dict.fromkeys(shards))
            if not self._rung or self._stopped:
                return
            if self._thread is None:
                self._add_thread()
            self._wake.notify()

    def turn(self) -> None:
        """Tell all that there is to tell, in the calling thread. Raises `StorageError`."""
        while (shard := self._take()) is not None:
            self._tell(shard)

    def stop(self, patience: float) -> None:
        """Tell what there is, for no longer than so many seconds, then end. Others tell what is left."""
        with self._wake:
            self._stopped = True
            thread = self._thread
            self._wake.notify()
        if thread is not None:
            thread.join(patience)

    def _add_thread(self) -> None:
        self._thread = threading.Thread(target=self._run, name="glassq-relay", daemon=True)
        try:
            self._thread.start()
        except RuntimeError:  # no thread to be had now: the next heartbeat tries again
            self._thread = None

    def _run(self) -> None:
        while (shard := self._next()) is not None:
            try:
                self._tell(shard)
                self._pause.reset()
            except StorageError as error:
                self._failed(shard, logging.WARNING, error)
            except Exception as error:  # licensed: top of a thread
                self._failed(shard, logging.ERROR, error)

    def _next(self) -> str | None:
        """The next shard to look into; None when there was none for a while."""
        with self._wake:
            self._telling = False
            if not self._rung and not self._stopped:
                self._wake.wait(_LINGER)
            if (shard := self._take()) is None:
                self._thread = None
            self._telling = shard is not None
            return shard

    def _take(self) -> str | None:
        with self._wake:
            shard = next(iter(self._rung), None)
            if shard is not None:
                del self._rung[shard]
            return shard

    def _tell(self, shard: str) -> None:
        while relay(self._storage, shard, self._told) >= MAX_DELIVERIES and not self._stopped:
            pass

    def _failed(self, shard: str, level: int, error: Exception) -> None:
        unforeseen = level > logging.WARNING
        log.log(level, "telling what ended in %s: %s; tried again", shard, error, exc_info=unforeseen)
        if not self._stopped:
            self._pause.wait()
            self.ring([shard])

    def _told(self, shard: str, delivered: Delivered) -> None:
        if delivered.relay:  # who was told has to tell others in its turn
            self.ring((shard,))
        for flow in delivered.ended:
            self._bus.emit(
                WorkflowEnded(workflow=flow.id, name=flow.name, status=flow.status, seconds=flow.seconds)
            )
