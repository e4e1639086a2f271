"""Enqueuing that is awaited: the same calls, without holding up the event loop they come from."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from time import perf_counter

from glassq.client.batches import telling
from glassq.client.following import follow_or_withdraw
from glassq.client.mailbox import Mailbox, Posting
from glassq.client.means import Means
from glassq.client.packing import REPORTED, Call, Packed
from glassq.client.producer import Producer, after_outside, cut, edges_of
from glassq.errors import EnqueueError, EnqueueUncertain, QueueFull
from glassq.model.jobs import Appended, NewJob, Receipt
from glassq.telemetry import Sending


class AwaitedProducer(Producer):
    """A `Producer` that can be awaited, too. What blocks is left to a `Mailbox`; the rest is done by the
    caller's task, in its context."""

    def __init__(self, means: Means) -> None:
        super().__init__(means)
        self._mailbox = Mailbox(means.storage, means.clock)
        self._opened = False

    async def aenqueue(self, call: Call) -> Receipt:
        """As `enqueue`. One round trip, shared with whoever awaits at the same time.

        Cancelled before it is on its way, nothing is stored. Afterwards the cancellation takes effect once
        the store has answered; it is caused by an `EnqueueUncertain` that names the job, if it is stored.
        """
        (receipt,) = await self._asend((self._packing.pack(call),))
        return receipt

    async def aenqueue_many(self, calls: Sequence[Call]) -> list[Receipt]:
        """As `enqueue_many`. When it is cancelled, its cause tells which calls are in."""
        packed = [self._packing.pack(call) for call in calls]
        accepted: dict[int, Receipt] = {}
        # How queues are cut is asked of the store, the first time.
        for chunk in await self._mailbox.errand(lambda storage: cut(packed, storage)) if packed else ():
            try:
                with telling(accepted, chunk):
                    sent = await self._asend([packed[at] for at in chunk])
            except asyncio.CancelledError as error:
                cause = error.__cause__
                if isinstance(cause, EnqueueError):
                    just_now = {chunk[at]: receipt for at, receipt in cause.accepted.items()}
                    cause.accepted = {**accepted, **just_now}
                raise
            accepted.update(zip(chunk, sent, strict=True))
        return [accepted[place] for place in range(len(packed))]

    async def _asend(self, packed: Sequence[Packed]) -> list[Receipt]:
        """Have one chunk appended, all of one queue."""
        queue = packed[0].queue
        outgoing = [each.outgoing for each in packed]
        cancelled: list[asyncio.CancelledError] = []
        started = perf_counter()
        try:
            if not self._opened:
                await self._mailbox.errand(lambda _: True)  # its first use opens the store
                self._opened = True
            after = after_outside(packed)
            if after and self.homes.strangers(after):
                await self._mailbox.errand(lambda storage: self.homes.check(storage, after))
            with self._bus.around(Sending(queue, outgoing)):
                jobs = [self._packing.job(each) for each in packed]
                answers = await self._aappend(queue, jobs, cancelled)
                for out, answer in zip(outgoing, answers, strict=True):
                    out.job_id = answer.id
                    out.seq = answer.seq
            if edges := edges_of(packed, answers):
                await self._mailbox.errand(lambda storage: follow_or_withdraw(storage, edges))
        except REPORTED as error:
            self._packing.refused(queue, error)
            if cancelled:
                raise cancelled[0] from error
            raise
        seconds = perf_counter() - started
        receipts = [
            self._packing.reported(each, answer, seconds)
            for each, answer in zip(packed, answers, strict=True)
        ]
        if cancelled:
            raise cancelled[0] from _known(queue, receipts)
        return receipts

    async def _aappend(
        self, queue: str, jobs: Sequence[NewJob], cancelled: list[asyncio.CancelledError]
    ) -> list[Appended]:
        """Append, waiting for room in a full queue as long as its options say, unless it is `cancelled`."""
        options = self._registry.options(queue)
        if options.max_length is None:
            return await self._carried(Posting(queue, jobs, None, options.replicas), cancelled)
        waits = self._waits_for_room(self._clock.monotonic() + options.full_wait)
        while True:
            posting = Posting(queue, jobs, options.max_length, options.replicas)
            try:
                return await self._carried(posting, cancelled)
            except QueueFull:
                wait = None if cancelled else next(waits, None)
                if wait is None:
                    raise
            await asyncio.sleep(wait)

    async def _carried(self, posting: Posting, cancelled: list[asyncio.CancelledError]) -> list[Appended]:
        """Leave it in the mailbox and wait. When that is cancelled after it was taken out, what becomes of it
        is waited for nevertheless, and the cancellation put off."""
        self._mailbox.leave(posting)
        try:
            await posting.future
        except asyncio.CancelledError as error:
            if self._mailbox.withdraw(posting):
                raise
            cancelled.append(error)
        while not posting.done:
            posting.future = posting.loop.create_future()
            with suppress(asyncio.CancelledError):  # it is cancelled already
                await posting.future
        return posting.outcome()


def _known(queue: str, receipts: Sequence[Receipt]) -> EnqueueUncertain:
    """What a cancelled caller is told of the jobs that were stored nevertheless."""
    first, count = receipts[0].id, len(receipts)
    known = EnqueueUncertain(
        f"the caller was cancelled after its {count} job(s) from {first} on were sent; they are in queue "
        f"{queue}, and app.cancel takes them out",
        first,
    )
    known.accepted = dict(enumerate(receipts))
    return known
