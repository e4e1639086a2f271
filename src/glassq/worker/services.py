"""What the lanes of one worker have in common."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from glassq.errors import StorageError
from glassq.model.clock import Clock
from glassq.model.events import LaneLeft
from glassq.model.leases import Owner
from glassq.shielding import Log
from glassq.storage import Storage
from glassq.telemetry import Bus
from glassq.worker.attempt import Attempts
from glassq.worker.callbacks import Callbacks
from glassq.worker.holdings import HeldLane
from glassq.worker.options import WorkerOptions
from glassq.worker.settle import Settler

log = Log("glassq.worker")


class Services(msgspec.Struct, frozen=True):
    """What the lanes of one worker share."""

    storage: Storage
    bus: Bus
    clock: Clock
    owner: Owner
    options: WorkerOptions
    attempts: Attempts
    settler: Settler
    callbacks: Callbacks
    stopping: Callable[[], bool]
    over: Callable[[], bool]
    """Whether no further job is to begin; asked once for each, right before it does."""
    crowded: Callable[[str], bool]
    """Whether lanes wait in this worker for a thread, or are likely to be on their way to it; or lanes of
    other queues than this one wait for a slot of it."""


def may_begin(services: Services, lane: HeldLane) -> bool:
    """Whether a job of this lane may begin: not on a lease that may have ended, not while stopping. Asked
    once for each, right before it does. What has been answered was heard when the last one was sent."""
    # fence: what lets a job begin. `LaneRun._run_ahead` asks the same of each job on a course, in its loop,
    # and `Turns._sweep` of each turn of one job.
    if not lane.ours():
        services.settler.lose(lane, "expired")  # unless that was noticed before
        return False
    return not services.over()


def begin(services: Services, lane: HeldLane) -> bool:
    """Tell the store that the head of a lane that waited in this worker begins; whether it may. One round
    trip."""
    if lane.lost or services.stopping():
        return False
    try:
        services.storage.begin(services.owner, lane.lease)
    except StorageError as error:
        log.warning("cannot begin %s, it is given back: %s", lane.lease, error)
        return False
    return True


def give_back(services: Services, lanes: Sequence[HeldLane]) -> None:
    """Give lanes up that nothing more is to begin in. The first of them is the first to be served again."""
    leases = [lane.lease for lane in lanes]
    for lane in lanes:
        lane.leaving = True
    try:
        services.storage.release(services.owner, leases[::-1])  # each goes to the front
    except StorageError as error:
        log.warning("cannot release %s, the leases will end by themselves: %s", leases, error)
    for lease in leases:
        services.bus.emit(LaneLeft(lease=lease))
