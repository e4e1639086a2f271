"""From what the scripts answer to the model's records. The formats are those of `lua/opening.lua`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final

import msgspec

from glassq.errors import CorruptRecord
from glassq.model.flows import FlowEnded, status_of
from glassq.model.jobs import Appended, Disposition, JobRecord, JobState, StoredJob
from glassq.model.leases import ClaimCause, Grant, Lease, Settled, SettleStatus
from glassq.model.names import is_flow
from glassq.model.turnends import EndedTurns
from glassq.model.waits import Waits
from glassq.model.watermarks import Counts, Run, Watermark
from glassq.storage import DeadRecord, HaltedRecord

MICRO = 1_000_000
_CAUSES = {cause.value.encode(): cause for cause in ClaimCause}
_NONE: frozenset[int] = frozenset()
_STATUSES = {status.value.encode(): status for status in SettleStatus}


def micros(seconds: float) -> int:
    """Seconds as the scripts count them."""
    return round(seconds * MICRO)


def full_id(queue: str, local: str) -> str:
    """The id of a job from the part of it that is stored, `session:number`."""
    return f"{queue}/{local}"


def local_id(queue: str, job_id: str) -> str:
    """The stored part of a job's id; of another queue's job, a text no stored id is equal to."""
    place, _, local = job_id.partition("/")
    return local if place == queue else f"/{job_id}"


def member_name(queue: str, name: str) -> str:
    """How scripts of this queue call a job, a workflow or a gate: those of other queues, and gates, by all of
    their ids."""
    home, _, local = name.partition("/")
    if home == queue:
        return local
    return f"~{local}" if home == f"~{queue}" else name


def member_id(queue: str, name: bytes) -> str:
    """The id of what scripts of this queue call so."""
    told = name.decode()
    if "/" in told:
        return told
    return f"~{queue}/{told[1:]}" if is_flow(told) else full_id(queue, told)


def stored_job(queue: str, value: bytes) -> StoredJob:
    """A job from an element of a lane's list."""
    header, mark, body = value.partition(b"|")
    try:
        seq, level, eligible, expires, flags, local = header.decode().split(":", 5)
        if not mark:
            raise ValueError("no body")
        return StoredJob(
            id=f"{queue}/{local}",
            seq=int(seq),
            level=int(level),
            body=body,
            eligible_at=int(eligible) / MICRO,
            expires_at=int(expires) / MICRO if expires else None,
            replayed="r" in flags,
        )
    except ValueError as error:
        raise CorruptRecord(f"a job of queue {queue} begins with {header[:60]!r}: {error}") from error


def jobs(queue: str, values: Sequence[bytes]) -> tuple[StoredJob, ...]:
    """A window."""
    return tuple([stored_job(queue, value) for value in values])


class ClaimReply(msgspec.Struct, frozen=True):
    """What `claim` answers. `told` are the grants, `texts` the names and jobs they tell the lengths of."""

    now: float
    others: int
    workers: int
    due: float | None
    repeated: bool
    found: Watermark
    told: list[bytes]
    texts: bytes
    looked: str | None
    stolen: frozenset[int]
    """Which of the grants, counted from 1, were stolen."""

    def grants(self, queue: str) -> list[Grant]:
        """The granted lanes."""
        found, texts, end = [], self.texts, 0
        for told in self.told:
            size, waits, token, past = told.split(b":", 3)
            at, end = end, end + int(size)
            lease = Lease(queue, texts[at:end].decode(), int(token))
            if past.startswith(_USUAL) and past.count(b":") == _IN_USUAL:
                at, end = end, end + int(past[len(_USUAL) :])
                found.append(Grant(lease=lease, jobs=(stored_job(queue, texts[at:end]),), waits=Waits(waits)))
                continue
            cause, attempts, failures, crashes, change, cancelled, begun, ahead, *sizes = past.split(b":")
            window = []
            for each in sizes:
                at, end = end, end + int(each)
                window.append(stored_job(queue, texts[at:end]))
            grant = Grant(
                lease=lease,
                jobs=tuple(window),
                cause=_CAUSES[cause],
                attempts=int(attempts),
                failures=int(failures),
                crashes=int(crashes),
                cancelled=cancelled == b"1",
                change=int(change),
                begun=begun == b"1",
                ahead=int(ahead),
                waits=Waits(waits),
            )
            found.append(grant)
        for place in self.stolen:
            found[place - 1] = msgspec.structs.replace(found[place - 1], stolen=True)
        return found


_USUAL = b"ready:0:0:0:0:0:1:0:"
"""What is told of the past of nearly every lane that is granted for a turn of one job, before the length of
that: what a `Grant` says where nothing else is said."""
_IN_USUAL = _USUAL.count(b":")


def claim(reply: bytes) -> ClaimReply:
    """The answer of `claim`."""
    head, _, texts = reply.partition(b"\n")
    now, others, workers, due, repeated, stood, told, *chosen = head.split(b"|")
    looked, stolen = (chosen[0].decode(), chosen[1]) if chosen else (None, b"")
    return ClaimReply(
        now=int(now) / MICRO,
        others=int(others),
        workers=int(workers),
        due=int(due) / MICRO if due else None,
        repeated=repeated == b"1",
        found=watermark(stood),
        told=told.split(b";") if told else [],
        texts=texts,
        looked=looked,
        stolen=frozenset(map(int, stolen.split(b";"))) if stolen else _NONE,
    )


def watermark(reply: bytes) -> Watermark:
    """Where a queue stood, from `found` of `lua/queue.lua`."""
    seq, enqueued, settled, life = reply.split(b":", 3)
    incarnation, run = _life(life)
    return Watermark(incarnation, Counts(int(seq), int(enqueued), int(settled)), run)


@lru_cache(maxsize=1024)  # it changes with a start of the server, and is told in every answer
def _life(told: bytes) -> tuple[str, Run | None]:
    """The name of a queue's life, and of the server's run."""
    incarnation, _, run = told.decode().partition(":")
    if not run:
        return incarnation, None
    _, seq, enqueued, settled = run.split(":")
    # By all of it: a node of a cluster may get a queue twice in one run, and begins with other counts then.
    return incarnation, Run(run, Counts(int(seq), int(enqueued), int(settled)))


def settled(queue: str, reply: bytes | Sequence[bytes]) -> Sequence[Settled]:
    """The answers of `settle`."""
    head, windows = (reply, ()) if isinstance(reply, bytes) else (reply[0], reply[1:])
    now, stood, answers = head.split(b"|")
    found, at, told, read = watermark(stood), int(now) / MICRO, [], 0
    answers, alike, rest = answers.partition(b"*")
    if alike:
        return _turns(at, found, answers, *rest.split(b":"))
    for answer in answers.split(b";"):
        status, ordinal, held, others, change, size, *woven = answer.split(b":")
        window = jobs(queue, windows[read : read + int(size)]) if size != b"0" else ()
        read += len(window)
        flows = windows[read : read + int(woven[2])] if woven else ()
        read += len(flows)
        about = (status, ordinal, held, others, change)
        ended = tuple([flow_ended(queue, flow) for flow in flows]) if flows else ()
        told.append(_settled(at, found, about, window, woven, ended))
    return told


def _turns(
    at: float, found: Watermark, first: bytes, count: bytes, others: bytes, held: bytes = b""
) -> EndedTurns:
    """The answers to turns that all ended, or went on in lanes that are `held`, by the first of them; from
    `others` on, if it is not 0, they say that others wait."""
    status, ordinal = first.split(b":")[:2]
    size, crowded = int(count), int(others)
    return EndedTurns(
        size,
        _STATUSES[status],
        at,
        int(ordinal),
        crowded - 1 if crowded else size,
        found,
        held=[each == _HELD for each in held] if held else None,
    )


_HELD: Final = ord("1")


def flow_ended(home: str, told: bytes) -> FlowEnded:
    """A workflow that has ended, as `lua/workflows.lua` tells it."""
    flow, seconds, stopped, buried, cancelled, expired, name = told.split(b"\n", 6)
    ended = ended_counts(int(buried), int(cancelled), int(expired))
    status = status_of(ended, cancelled=stopped == b"1")
    return FlowEnded(member_id(home, flow), name.decode(), status, int(seconds) / MICRO)


def ended_counts(buried: int, cancelled: int, expired: int) -> dict[JobState, int]:
    """How many jobs of a workflow ended without success, by outcome."""
    found = {JobState.BURIED: buried, JobState.CANCELLED: cancelled, JobState.EXPIRED: expired}
    return {outcome: count for outcome, count in found.items() if count}


_OF_ONE = 5
"""So many parts of an answer say what became of a settlement. The size of the window comes next, and then
what became of others, if any wait for the job."""


def settled_one(queue: str, reply: bytes | Sequence[bytes]) -> Settled:
    """The answer of a `settle` that was told of one lane."""
    if type(reply) is not bytes:
        return settled(queue, reply)[0]
    now, stood, answer = reply.split(b"|")
    about = answer.split(b":")
    return _settled(int(now) / MICRO, watermark(stood), about[:_OF_ONE], (), about[_OF_ONE + 1 :])


def _settled(
    at: float,
    found: Watermark,
    about: Sequence[bytes],
    window: tuple[StoredJob, ...],
    woven: Sequence[bytes] = (),
    ended: tuple[FlowEnded, ...] = (),
) -> Settled:
    status, ordinal, held, others, change = about
    return Settled(
        status=_STATUSES[status],
        now=at,
        ordinal=int(ordinal),
        held=held == b"1",
        others=others == b"1",
        paused=others == b"2",
        change=int(change),
        jobs=window,
        found=found,
        released=int(woven[0]) if woven else 0,
        ended=ended,
        relay=bool(woven) and woven[1] == b"1",
    )


def routine(change: int, *, others: bool) -> bytes:
    """How the answer to a settlement ends that is routine (see `glassq.settling.Course`): the lane is held,
    others wait or do not, its change counter is this, and there is no new window."""
    return b":1:%d:%d:0" % (others, change)


def settled_alike(queue: str, replies: Sequence[bytes]) -> list[Settled]:
    """The answers of settlements that were done, and whose answers end in the same `routine` way, from one
    connection and in its order.

    Where the queue stood is read of the first and the last alone, as counters only grow; unless ordinals did
    not: then something is wrong, and of each.
    """
    if not replies:
        return []
    first, last = settled_one(queue, replies[0]), settled_one(queue, replies[-1])
    held, others, change, done = last.held, last.others, last.change, last.status
    told, before = [first], first.ordinal
    for reply in replies[1:-1]:
        ordinal = int(reply[reply.index(_BEFORE_ORDINAL) + len(_BEFORE_ORDINAL) :].partition(b":")[0])
        if not before < ordinal < last.ordinal:
            return [settled_one(queue, each) for each in replies]
        before, now = ordinal, int(reply[: reply.index(b"|")]) / MICRO
        told.append(Settled(status=done, now=now, ordinal=ordinal, held=held, others=others, change=change))
    return [*told, last] if len(replies) > 1 else told


_BEFORE_ORDINAL = b"|done:"


def dead_record(queue: str, value: bytes) -> DeadRecord:
    """A dead letter: the lengths of its texts, the numbers, the texts, the job as it was in its list."""
    header, _, rest = value.partition(b"|")
    lane, reason, error, attempts, buried_at = (int(part) for part in header.split(b":"))
    texts, job = rest[: lane + reason + error], rest[lane + reason + error :]
    return DeadRecord(
        # A replayed job has all the time it needs.
        job=msgspec.structs.replace(stored_job(queue, job), expires_at=None),
        lane=texts[:lane].decode(),
        reason=texts[lane : lane + reason].decode(),
        attempts=attempts,
        error=texts[lane + reason :],
        buried_at=buried_at / MICRO,
    )


def halted_record(queue: str, reply: Sequence[Any]) -> HaltedRecord:
    """A halted lane."""
    lane, head, reason, attempts, error, since, count = reply
    return HaltedRecord(
        lane=lane.decode(),
        head=stored_job(queue, head),
        reason=reason.decode(),
        attempts=attempts,
        error=error,
        since=int(since) / MICRO,
        waiting=count,
    )


def asks_to_look(reply: bytes) -> bool:
    """Whether an `append` has left parents to be looked for."""
    return reply.count(b"|") > _PLAIN_ANSWER


_PLAIN_ANSWER = 2


def appended(queue: str, session: str, number: int, count: int, reply: bytes) -> list[Appended]:
    """The answers of an `append` whose first job got this number of this session."""
    answer, stood, repeated = reply.split(b"|")[:3]
    found = watermark(stood)
    if b"," not in answer:
        if repeated == b"1":  # what it found is what it had done itself
            found = found.after(enqueued=-count)
        name, first = full_id(queue, session), int(answer)
        return [
            Appended(f"{name}:{number + each}", first + each, Disposition.CREATED, found)
            for each in range(count)
        ]
    places = [part.partition(",") for part in answer.decode().split(";")]
    if repeated == b"1":
        found = found.after(enqueued=-sum(not twin for _, _, twin in places))
    return [
        Appended(full_id(queue, twin), int(seq) if seq else None, Disposition.DUPLICATE, found)
        if twin
        else Appended(full_id(queue, f"{session}:{each}"), int(seq) if seq else None, found=found)
        for each, (seq, _, twin) in enumerate(places, number)
    ]


def scheduled_record(queue: str, due: bytes, record: bytes) -> JobRecord:
    """A job that is not due yet."""
    header, _, rest = record.partition(b"|")
    ttl, level, _, length, local = header.decode().split(":", 4)
    return JobRecord(
        id=full_id(queue, local),
        lane=rest[: int(length)].decode(),
        state=JobState.SCHEDULED,
        level=int(level),
        body=rest[int(length) :],
        seq=None,
        due_at=int(due) / MICRO,
        expires_at=(int(due) + int(ttl)) / MICRO if ttl else None,
    )


def deferred_record(job_id: str, record: bytes) -> JobRecord:
    """A job that waits for others."""
    header, _, rest = record.partition(b"|")
    _, level, _, length = header.decode().split(":")
    return JobRecord(
        id=job_id,
        lane=rest[: int(length)].decode(),
        state=JobState.DEFERRED,
        level=int(level),
        body=rest[int(length) :],
        seq=None,
    )


def found_record(queue: str, reply: Sequence[Any]) -> JobRecord:
    """An unsettled job in its lane, from `find`."""
    lane, _, value, current, begun, attempts, reason, halted = reply
    job = stored_job(queue, value)
    running = bool(current) and full_id(queue, current.decode()) == job.id
    return JobRecord(
        id=job.id,
        lane=lane.decode(),
        state=JobState.LEASED if running else JobState.READY,
        level=job.level,
        body=job.body,
        seq=job.seq,
        attempts=attempts + running if begun else 0,
        eligible_at=job.eligible_at,
        expires_at=job.expires_at,
        reason=reason.decode() if begun and halted else "",
        replayed=job.replayed,
    )


def buried_record(queue: str, value: bytes) -> JobRecord:
    """A dead letter as a job."""
    dead = dead_record(queue, value)
    return JobRecord(
        id=dead.job.id,
        lane=dead.lane,
        state=JobState.BURIED,
        level=dead.job.level,
        body=dead.job.body,
        seq=dead.job.seq,
        attempts=dead.attempts,
        eligible_at=dead.job.eligible_at,
        reason=dead.reason,
        replayed=dead.job.replayed,
    )
