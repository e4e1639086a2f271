"""What calls are enqueued with, whoever makes them: the application's users or the clock."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from glassq.model.clock import Clock
from glassq.model.jobs import Receipt, ReceiptOf
from glassq.registry import Registry
from glassq.storage import ShardedStorage
from glassq.telemetry import Bus


class Means(msgspec.Struct, frozen=True, kw_only=True):
    """What an application has for it. `storage` opens the store when it is first called."""

    storage: Callable[[], ShardedStorage]
    registry: Registry
    bus: Bus
    clock: Clock
    serializer: str
    """The name of the serializer, as envelopes say it."""
    random: Callable[[], float]
    kept_receipt: ReceiptOf = Receipt
    """Makes the receipts of jobs whose results are kept."""
