"""The line that says what a store has lost, for those who read no metrics."""

from __future__ import annotations

from collections.abc import Callable

from glassq.model.events import DataLossDetected
from glassq.shielding import Log
from glassq.telemetry import Bus

log = Log("glassq.stores")


def log_losses(bus: Bus, address: Callable[[], str]) -> None:
    """Log every loss as it is told. An observer like others: a slow or broken log holds up nobody who renews
    leases, and no figure depends on it."""

    def lost(event: DataLossDetected) -> None:
        log.error(
            "the store %s lost data of queue %s (%s): %s; enqueue again what must not be lost, and make the "
            "store more durable",
            address(),
            event.queue,
            event.kind,
            _extent(event),
        )

    bus.subscribe(lost, DataLossDetected)


def _extent(loss: DataLossDetected) -> str:
    """What is gone, as far as it is known here."""
    if loss.kind == "emptied":
        if not loss.missing:
            return "no job is known to have waited, and the numbers begin at 1 again"
        return (
            f"at least {loss.missing} accepted jobs are gone, all that were waiting, "
            "and the numbers begin at 1 again"
        )
    gone = []
    if loss.missing:
        gone.append(f"at least {loss.missing} accepted jobs are gone, from seq {loss.first_seq} on")
    if loss.unsettled:
        gone.append(f"{loss.unsettled} settlements are gone (what they ended may run again)")
    return ", and ".join(gone) or f"the seqs from {loss.first_seq} on are given again"
