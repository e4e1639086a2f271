"""A store whose calls are written into a history: asked before the store is, answered before anybody acts."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Protocol, TypeVar

from glassq.errors import ConfigurationError, EnqueueError, EnqueueUncertain, JobNotFound, StorageError
from glassq.model.jobs import Appended, Cancellation, Disposition, NewJob, StoredJob
from glassq.model.leases import Claimed, Lease, Owner, Renewed, Settled, Settlement, SettleStatus
from glassq.model.watermarks import Watermark
from glassq.settling import Course, Settling, Together
from glassq.storage import NO_TERMS, Doorbell, Replayed, Storage, Terms
from glassq.stores.instrumented import Heard, InstrumentedStorage
from glassq.stores.recordedcourse import RecordedCourse, write_what_is_known
from glassq.telemetry import Bus

R = TypeVar("R")


class Recorder(Protocol):
    """Where a history goes; never raises."""

    def now(self) -> float:
        """The clock of all histories of a host: monotonic seconds."""
        ...

    def call(self) -> str:
        """An id for one call, unique among all processes."""
        ...

    def write(self, event: str, **fields: Any) -> None:
        """Append an event that happens now."""
        ...


def digest(data: bytes) -> str:
    """What stands for bytes in a history: contents may be secrets, so they are never written down."""
    return hashlib.blake2b(data, digest_size=6).hexdigest()


class RecordedStorage(InstrumentedStorage):
    """A `Storage` that writes down every call that changes jobs or lanes, and its answer; otherwise the store
    it wraps. Left out are heartbeats (`report`), claims that grant nothing, and deliveries: what they tell
    was written down when it happened."""

    def __init__(self, inner: Storage, bus: Bus, history: Recorder) -> None:
        super().__init__(inner, bus)
        self._history = history
        self._unanswered: dict[Lease, Sequence[Settlement]] = {}

    def append(
        self, queue: str, jobs: Sequence[NewJob], *, max_length: int | None = None, replicas: int = 0
    ) -> list[Appended]:
        """See `Storage.append`."""
        write, call = self._history.write, self._history.call()
        write(
            "enqueue.invoked",
            call=call,
            queue=queue,
            n=len(jobs),
            keys=[job.lane for job in jobs],
            levels=[job.level for job in jobs],
        )
        try:
            answers = super().append(queue, jobs, max_length=max_length, replicas=replicas)
        except EnqueueUncertain as error:
            write("enqueue.unknown", call=call, queue=queue, ids=[error.job_id], error=type(error).__name__)
            raise
        except (EnqueueError, JobNotFound, StorageError, ConfigurationError, ValueError) as error:
            write("enqueue.failed", call=call, queue=queue, error=type(error).__name__)
            raise
        except BaseException as error:
            write("enqueue.unknown", call=call, queue=queue, ids=[], error=type(error).__name__)
            raise
        accepted = list(map(_accepted, jobs, answers))
        found = answers[0].found if answers else None
        after = _after(jobs, answers)
        write(
            "enqueue.ok",
            call=call,
            queue=queue,
            jobs=accepted,
            found=_mark(found),
            **({"after": after} if after else {}),
        )
        return answers

    def listen(self, owner: Owner, queues: Sequence[str]) -> Doorbell:
        """See `Storage.listen`."""
        self._history.write("worker.listening", owner=str(owner), queues=list(queues))
        return super().listen(owner, queues)

    def claim(
        self,
        owner: Owner,
        queues: Sequence[str],
        *,
        lanes: int,
        window: int,
        lease_seconds: float,
        begin: int | None = None,
        ahead: int = 0,
        terms: Mapping[str, Terms] = NO_TERMS,
    ) -> Claimed:
        """See `Storage.claim`."""
        sent = self._history.now()
        claimed = super().claim(
            owner,
            queues,
            lanes=lanes,
            window=window,
            lease_seconds=lease_seconds,
            begin=begin,
            ahead=ahead,
            terms=terms,
        )
        for grant in claimed.grants:
            found = claimed.found.get(grant.lease.queue)
            self._history.write(
                "lease.taken",
                **_lease(grant.lease),
                cause=str(grant.cause),
                seconds=lease_seconds,
                sent=sent,
                owner=str(owner),
                now=claimed.now,
                found=_mark(found),
                attempts=grant.attempts,
                crashes=grant.crashes,
            )
        return claimed

    def settle(self, owner: Owner, settlements: Sequence[Settlement]) -> list[Settled]:
        """See `Storage.settle`."""
        self._settling(settlements)
        return self._settled(settlements, partial(super().settle, owner, settlements))

    def settle_later(self, owner: Owner, settlement: Settlement) -> Settling:
        """See `Storage.settle_later`. Written down when it is sent, and when its answer is taken in."""
        self._settling([settlement])
        sent = super().settle_later(owner, settlement)
        return Heard(sent.arrived, partial(self._take_in, sent, settlement))

    def settle_together(self, owner: Owner, settlements: Sequence[Settlement]) -> Together:
        """See `Storage.settle_together`. Written down as those that are sent by themselves."""
        self._settling(settlements)
        sent = super().settle_together(owner, settlements)
        return Together(
            len(sent), sent.arrived, lambda: self._settled(settlements, lambda: [*sent.answers()])
        )

    def _take_in(self, sent: Settling, what: Settlement) -> Settled:
        return self._settled([what], lambda: [sent.answer()])[0]

    def course(self, owner: Owner, settlement: Settlement, *, others: bool) -> Course | None:
        """See `Storage.course`. Written down as those that are sent one by one."""
        inner = super().course(owner, settlement, others=others)
        if inner is None:
            return None
        return RecordedCourse(inner, settlement, self._settling, self._written, self._unanswered)

    def _settling(self, settlements: Sequence[Settlement]) -> None:
        for each in settlements:
            self._history.write(
                "settle.invoked",
                **_settlement(each),
                reason=each.reason,
                error=digest(each.error),
                ran=each.ran,
                leaving=str(each.leaving),
            )

    def _settled(
        self, settlements: Sequence[Settlement], answered: Callable[[], list[Settled]]
    ) -> list[Settled]:
        """Write down these answers, and what they tell of settlements that were sent before on a course."""
        before = [self._unanswered.pop(each.lease, ()) for each in settlements]
        try:
            answers = self._written(settlements, answered)
        except BaseException:
            for whats in before:
                write_what_is_known(self._written, whats, None)
            raise
        for whats, answer in zip(before, answers, strict=True):
            write_what_is_known(self._written, whats, answer)
        return answers

    def _written(
        self, settlements: Sequence[Settlement], answered: Callable[[], list[Settled]]
    ) -> list[Settled]:
        try:
            answers = answered()
        except BaseException as error:
            for each in settlements:
                self._history.write("settle.unknown", **_settlement(each), error=type(error).__name__)
            raise
        for each, answer in zip(settlements, answers, strict=True):
            if answer.status is SettleStatus.FENCED:
                self._history.write("settle.fenced", **_settlement(each))
                continue
            self._history.write(
                "settle.ok",
                **_settlement(each),
                ordinal=answer.ordinal,
                status=str(answer.status),
                held=answer.held,
                now=answer.now,
                found=_mark(answer.found),
            )
        return answers

    def renew(self, owner: Owner, leases: Sequence[Lease], *, lease_seconds: float) -> Renewed:
        """See `Storage.renew`."""
        sent = self._history.now()
        renewed = super().renew(owner, leases, lease_seconds=lease_seconds)
        if leases:
            self._history.write(
                "lease.renewed",
                seconds=lease_seconds,
                sent=sent,
                leases=[
                    (lease.queue, lease.lane, lease.token)
                    for lease in leases
                    if not (lease in renewed.lost or lease in renewed.unheard)
                ],
                lost=[(lease.queue, lease.lane, lease.token) for lease in renewed.lost],
            )
        return renewed

    def release(self, owner: Owner, leases: Sequence[Lease], *, front: bool = True) -> None:
        """See `Storage.release`."""
        for lease in leases:
            self._history.write("lease.releasing", **_lease(lease))
        super().release(owner, leases, front=front)

    def retry_lane(self, queue: str, lane: str) -> bool:
        """See `Storage.retry_lane`."""
        retry = super().retry_lane
        fields = {"queue": queue, "lane": lane}
        return self._steer("retry", lambda: retry(queue, lane), lambda done: {"retried": done}, **fields)

    def pause(self, queue: str, lane: str | None = None) -> bool:
        """See `Storage.pause`."""
        pause = super().pause
        fields = {"queue": queue, "lane": lane}
        return self._steer("pause", lambda: pause(queue, lane), lambda done: {"already": done}, **fields)

    def resume(self, queue: str, lane: str | None = None) -> bool:
        """See `Storage.resume`."""
        resume = super().resume
        fields = {"queue": queue, "lane": lane}
        return self._steer("resume", lambda: resume(queue, lane), lambda done: {"resumed": done}, **fields)

    def skip_lane(
        self, queue: str, lane: str, *, expected: str | None = None, keep: float = 0.0, note: bytes = b""
    ) -> StoredJob | None:
        """See `Storage.skip_lane`."""
        skip = super().skip_lane

        def described(job: StoredJob | None) -> dict[str, Any]:
            return {"id": job and job.id, "seq": job and job.seq}

        fields = {"queue": queue, "lane": lane}
        return self._steer(
            "skip",
            lambda: skip(queue, lane, expected=expected, keep=keep, note=note),
            described,
            **fields,
        )

    def cancel(self, job_id: str, *, keep: float = 0.0, note: bytes = b"") -> Cancellation | None:
        """See `Storage.cancel`."""
        cancel = super().cancel

        def described(done: Cancellation | None) -> dict[str, Any]:
            return {"result": done and str(done)}

        return self._steer("cancel", lambda: cancel(job_id, keep=keep, note=note), described, id=job_id)

    def replay(self, queue: str, ids: Sequence[str], *, front: bool) -> list[Replayed]:
        """See `Storage.replay`."""
        replay = super().replay

        def described(jobs: list[Replayed]) -> dict[str, Any]:
            return {"jobs": [(job.id, job.lane, job.was, job.seq) for job in jobs]}

        fields = {"queue": queue, "ids": list(ids), "front": front}
        return self._steer("replay", lambda: replay(queue, ids, front=front), described, **fields)

    def purge(self, queue: str, *, dead: bool, lane: str | None = None) -> int:
        """See `Storage.purge`."""
        purge = super().purge

        def described(count: int) -> dict[str, Any]:
            return {"count": count}

        fields = {"queue": queue, "dead": dead, "lane": lane}
        return self._steer("purge", lambda: purge(queue, dead=dead, lane=lane), described, **fields)

    def forget(self, queue: str) -> bool:
        """See `Storage.forget`."""
        forget = super().forget
        return self._steer("forget", lambda: forget(queue), lambda done: {"forgotten": done}, queue=queue)

    def _steer(
        self, verb: str, carry_out: Callable[[], R], described: Callable[[R], dict[str, Any]], **fields: Any
    ) -> R:
        """Carry out what somebody asked for besides the normal course, and write down that and its answer."""
        call = self._history.call()
        self._history.write(f"{verb}.invoked", call=call, **fields)
        try:
            result = carry_out()
        except BaseException as error:
            self._history.write(f"{verb}.unknown", call=call, error=type(error).__name__)
            raise
        self._history.write(f"{verb}.ok", call=call, **fields, **described(result))
        return result


def _after(jobs: Sequence[NewJob], answers: Sequence[Appended]) -> dict[str, list[tuple[str, str]]]:
    """What new jobs wait for: of each its parents, with what becomes of it when they fail."""
    return {
        answer.id: [
            (answers[each.job].id if isinstance(each.job, int) else each.job, str(each.policy))
            for each in job.after
        ]
        for job, answer in zip(jobs, answers, strict=True)
        if job.after and answer.disposition is Disposition.CREATED
    }


def _lease(lease: Lease) -> dict[str, Any]:
    return {"queue": lease.queue, "lane": lease.lane, "token": lease.token}


def _settlement(what: Settlement) -> dict[str, Any]:
    return {**_lease(what.lease), "id": what.job_id, "action": str(what.action)}


def _mark(found: Watermark | None) -> tuple[str, int, int, int, str, int, int] | None:
    """Where the queue stood: its life, seq, jobs accepted and settled; the server's run, and the seq and the
    settlements with which that began."""
    if found is None:
        return None
    counts, run = found.counts, found.run
    its_run = ("", 0, 0) if run is None else (run.id, run.counts.seq, run.counts.settled)
    return (found.incarnation, counts.seq, counts.enqueued, counts.settled, *its_run)


def _accepted(job: NewJob, answer: Appended) -> tuple[str, int | None, str, int, str, int]:
    """A job as the store took it; the last number is 1 for a duplicate, which was not stored."""
    duplicate = int(answer.disposition is Disposition.DUPLICATE)
    return answer.id, answer.seq, job.lane, job.level, digest(job.body), duplicate
