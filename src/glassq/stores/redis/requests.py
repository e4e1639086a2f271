"""From the model's records to what the scripts are told. The formats are said at the top of each script."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import chain, groupby, repeat
from operator import attrgetter
from typing import Final

import msgspec

from glassq.model.jobs import NewJob
from glassq.model.leases import Lease, Leaving, Owner, Settlement
from glassq.model.turnends import TurnEnds
from glassq.model.verdicts import Action
from glassq.storage import Choice
from glassq.stores.redis import scripts
from glassq.stores.redis.connections import Argument
from glassq.stores.redis.replies import local_id, member_name, micros
from glassq.stores.redis.resp import LENGTHS, Command, parts, text
from glassq.stores.redis.scripts import Call

AT_ONCE: Final = 100
"""Items that one script takes at most: it blocks the server for about a millisecond then."""

_FAILED = (Action.RETRY, Action.HALT, Action.BURY)


def append(
    key: str, session: str, number: int, jobs: Sequence[NewJob], most: int | None, queue: str = ""
) -> Call:
    """A call of `lua/append.lua` with jobs that get the numbers from this one on; `most` is the limit of the
    `queue`, whose name is told where jobs may wait for others.

    Jobs that ask for nothing but their place, as nearly all do, are told in runs of one lane and level, each
    as the end of what is stored: server and client so have the least to do per job.
    """
    limit = "" if most is None else most
    for job in jobs:
        asks_more = job.due is not None or job.ttl is not None or job.dedup is not None
        if asks_more or job.after or job.flow is not None:
            return _appending(key, session, number, len(jobs), limit, _asking_more(queue, jobs))
    if len(jobs) == 1:
        return _append_one(key, session, number, jobs[0], limit)
    named = session.encode()
    runs: list[Argument] = ["1"]
    first = number
    for (lane, level), run in groupby(jobs, key=_place):
        stored = [b"%b:%d|%b" % (named, each, job.body) for each, job in enumerate(run, first)]
        first += len(stored)
        runs += (lane, level, len(stored), *stored)
    return _appending(key, session, number, len(jobs), limit, runs)


def _waits(job: NewJob) -> bool:
    return bool(job.after) or job.flow is not None


def _asking_more(queue: str, jobs: Sequence[NewJob]) -> list[Argument]:
    """Jobs that ask for more than their place, at least one of them."""
    if any(map(_waits, jobs)):
        return ["w", *(part for job in jobs for part in (*_new_job(job), *_woven(queue, job)))]
    return ["", *(part for job in jobs for part in _new_job(job))]


def _appending(
    key: str, session: str, number: int, count: int, limit: str | int, told: Sequence[Argument]
) -> Call:
    arguments = (session, number, count, limit, *told)
    return scripts.APPEND.call(key, len(arguments), parts(arguments))


_ONE: Final = (
    b"%b$%d\r\n%b\r\n$1\r\n1\r\n%b"  # session, number, count, limit
    b"$1\r\n1\r\n%b$1\r\n%d\r\n$1\r\n1\r\n"  # a run: lane, level, count
    b"$%d\r\n%b:%b|%b\r\n"
)


def _append_one(key: str, session: str, number: int, job: NewJob, limit: str | int) -> Call:
    """The commonest call of all: what `_appending` would make of it, in one step."""
    named, told, body = session.encode(), b"%d" % number, job.body
    size = len(named) + len(told) + len(body) + 2
    arguments = _ONE % (
        text(session), len(told), told, text(limit), text(job.lane), job.level, size, named, told, body
    )  # fmt: skip
    return Call(scripts.APPEND, key, 9, arguments)


def claim(key: str, owner: Owner, handle: str, number: int, asked: bytes, choice: bytes | None) -> Call:
    """A call of `lua/claim.lua`, with what is `wanted`. An idle worker asks for the same each time, but for
    the number."""
    told = b"%d" % number
    arguments = b"%b$%d\r\n%b\r\n%b" % (_claimant(owner, handle), len(told), told, asked)
    if choice is None:
        return Call(scripts.CLAIM, key, 11, arguments)
    return Call(scripts.CLAIM_ASSIGNED, key, 12, arguments + parts((choice,)))


@lru_cache(maxsize=64)  # as many as there are workers
def _claimant(owner: Owner, handle: str) -> bytes:
    return parts((str(owner), owner.node, owner.incarnation, handle))


@lru_cache(maxsize=256)
def wanted(lanes: int, window: int, lease_seconds: float, begin: int | bytes, turn: int, ahead: int) -> bytes:
    """What a claim asks for, see `Storage.claim` and `Terms`, as a call of the script has it."""
    return parts((lanes, window, micros(lease_seconds), begin, turn, ahead))


def choice(queue: str, wanted: Choice, lease_seconds: float, alive: int) -> bytes:
    """What `lua/choosing.lua` reads. An owner counts as alive for so many µs after it was heard of."""
    return msgspec.json.encode(
        {
            "assigned": wanted.assigned,
            "patterns": wanted.patterns,
            "lately": wanted.lately,
            "steal_from": wanted.steal_from,
            "exclusive": wanted.exclusive,
            "after": wanted.after.get(queue, ""),
            "patience": micros(wanted.patience),
            "stay": micros(wanted.stays),
            "lease": micros(lease_seconds),
            "alive": alive,
        }
    )


def settling(key: str, owner: Owner, whats: Sequence[Settlement]) -> Call:
    """The call of `lua/settle.lua` for these, at least one: in short, where they are turns that end."""
    ends = whats if isinstance(whats, TurnEnds) else _turn_ends(whats)
    if ends is None:
        told = settlements(owner, whats)
        return scripts.SETTLE.call(key, len(told), parts(told))
    form, size = ("turns", 3) if ends.next_ids is None else ("steps", 4)
    first: Command = (str(owner), digests(whats), form, *_named(ends.begins))
    return scripts.SETTLE.call(key, len(first) + size * len(ends), parts(first) + _packed_ends(ends))


def _packed_ends(ends: TurnEnds) -> bytes:
    """Of each its lane, its token and its job, as they are sent; where some go on, also the next job."""
    home, told, lengths = f"{ends.queue}/", [], LENGTHS
    for lease, job_id in zip(ends.leases, ends.job_ids, strict=True):
        # Another queue's job keeps its whole id: no stored id is equal to that.
        lane, token, job = lease.lane, str(lease.token), job_id.removeprefix(home)
        told.append(
            f"{lengths[len(lane)]}{lane}\r\n{lengths[len(token)]}{token}\r\n{lengths[len(job)]}{job}\r\n"
        )
    if ends.next_ids is not None:
        following = [(next_id or "").removeprefix(home) for next_id in ends.next_ids]
        told = [f"{end}{lengths[len(job)]}{job}\r\n" for end, job in zip(told, following, strict=True)]
    packed = "".join(told)
    if packed.isascii():
        return packed.encode()
    # Seldom: some text takes more bytes than it has letters.
    columns: list[Iterable[Argument]] = [
        [lease.lane for lease in ends.leases],
        [lease.token for lease in ends.leases],
        [job_id.removeprefix(home) for job_id in ends.job_ids],
    ]
    if ends.next_ids is not None:
        columns.append((next_id or "").removeprefix(home) for next_id in ends.next_ids)
    return parts([part for end in zip(*columns, strict=True) for part in end])


def settlements(owner: Owner, whats: Sequence[Settlement]) -> list[Argument]:
    """What `lua/settle.lua` reads after its first argument of settlements that are told in full.

    A settlement whose next job has begun is not kept by a digest: the lane does not end with it, so that its
    head tells a repetition.
    """
    if len(whats) == 1:
        return [str(owner), b"" if whats[0].begun else digest(whats[0]), *_settlement(whats[0])]
    return [str(owner), digests(whats), *(part for each in whats for part in _settlement(each))]


def _turn_ends(whats: Sequence[Settlement]) -> TurnEnds | None:
    """These, if they are nothing but jobs that have succeeded, each the last of its lane's turn or, where
    there are several, followed by one that has begun; and another lane begins only with the last of them."""
    *before, last = whats
    goes_on = [what.next_id if what.begun else None for what in whats] if before else [None]
    for what, next_id in zip(whats, goes_on, strict=True):
        is_end = next_id is not None or what.leaving is Leaving.YIELD
        if not is_end or what.action is not Action.ACK or what.result is not None or what.keep:
            return None
    if any(what.begins is not None for what in before):
        return None
    next_ids = goes_on if goes_on.count(None) < len(whats) else None
    return TurnEnds([what.lease for what in whats], [what.job_id for what in whats], last.begins, next_ids)


def sent_ahead(key: str, owner: Owner, what: Settlement) -> Call:
    """The call of `lua/settle.lua` for one settlement that nobody waits for. Where the next job has begun,
    all of it but the two jobs and what one leaves is the same for as long as the lane is run ahead."""
    says_more = what.keep or what.reason or what.action in _FAILED
    if not what.begun or what.next_id is None or says_more:
        return settling(key, owner, (what,))
    queue = what.lease.queue
    job, following = local_id(queue, what.job_id).encode(), local_id(queue, what.next_id).encode()
    result = what.result
    action = what.action if result is None else f"{what.action}+"
    beginning, end = _frame(owner, action, what.lease, what.change, what.window, what.ahead)
    packed = GO_ON % (beginning, len(job), job, len(following), following, end)
    if result is None:
        return Call(scripts.SETTLE, key, 11, packed)
    return Call(scripts.SETTLE, key, 16, _LEAVING % (packed, len(result), result))


GO_ON: Final = b"%b$%d\r\n%b\r\n$5\r\ngo_on\r\n$%d\r\n%b\r\n%b"
"""A settlement whose next job has begun: what stands before the job, its length and itself, those of the next
one, and what stands behind it."""


_LEAVING: Final = b"%b$1\r\n0\r\n$0\r\n\r\n$0\r\n\r\n$1\r\nr\r\n$%d\r\n%b\r\n"
"""The same of a job that leaves a result, and of which nothing is kept."""


STEP: Final = b"%b$%d\r\n%b\r\n$%d\r\n%b\r\n"
"""The same in short, for one whose answer nobody reads: what stands before the job, its length and itself,
and those of the next one."""


def stepping(key: str, owner: Owner, what: Settlement, run: bytes) -> bytes:
    """The first part of `STEP`, for requests that mean the same as this settlement but for the jobs, on a
    connection to this run of the server. See `lua/step.lua`."""
    lease = what.lease
    same = parts((lease.lane, f"{lease.token}|{owner}|", f"|{what.change}"))
    return Call(scripts.SETTLE, key, 5, same).by_digest(run)


def going_on(key: str, owner: Owner, what: Settlement, run: bytes) -> tuple[bytes, bytes]:
    """The first and the last part of `GO_ON`, for requests that are the same as the one for this settlement
    but for the jobs, on a connection to this run of the server."""
    beginning, end = _frame(owner, what.action, what.lease, what.change, what.window, what.ahead)
    return Call(scripts.SETTLE, key, 11, beginning).by_digest(run), end


@lru_cache(maxsize=1024)  # as many as there are lanes that are run ahead at a time
def _frame(
    owner: Owner, action: str, lease: Lease, change: int, window: int, ahead: int
) -> tuple[bytes, bytes]:
    """What stands before the job, and behind the next job."""
    return (
        parts((str(owner), "", str(action), lease.lane, lease.token)),
        parts((change, window, ahead)),
    )


def _settlement(what: Settlement) -> list[Argument]:
    lease = what.lease
    leaves = what.keep or what.result is not None
    told: list[Argument] = [
        f"{what.action}+" if leaves else str(what.action),
        lease.lane,
        lease.token,
        local_id(lease.queue, what.job_id),
        "go_on" if what.begun else str(what.leaving),
        *_next(what),
        what.window,
        what.ahead,
    ]
    if what.action in _FAILED:
        told += (what.reason, micros(what.wait), what.error, int(what.ran))
    if leaves:
        told += (micros(what.keep), what.reason, what.note, *_left(what))
    return told


def _left(what: Settlement) -> tuple[Argument, Argument]:
    """What remains of a job that has ended, and what that is."""
    if what.result is not None:
        return "r", what.result
    return ("e", what.error) if what.error else ("", "")


def _next(what: Settlement) -> tuple[Argument, Argument]:
    """What comes next: in the lane and by its counter, or in the thread that gives the lane up."""
    if what.leaving is not Leaving.YIELD:
        return (local_id(what.lease.queue, what.next_id) if what.next_id is not None else ""), what.change
    return _named(what.begins)


def _named(lease: Lease | None) -> tuple[Argument, Argument]:
    """A lease as scripts are told it, or none."""
    return ("", "") if lease is None else (lease.lane, lease.token)


def digest(what: Settlement) -> bytes:
    """What a settlement is known by when it is repeated after its lease is gone: the same in this process,
    and other processes are other owners."""
    return _digests((what.lease,), (what.job_id,), (what.begins,), hash(_REST(what)))


def digests(whats: Sequence[Settlement]) -> bytes:
    """Those of several, one after the other."""
    if not isinstance(whats, TurnEnds):
        return b"".join(map(digest, whats))
    begins = chain(repeat(None, len(whats) - 1), (whats.begins,))
    return _digests(whats.leases, whats.job_ids, begins, _REST_OF_AN_END)


def _digests(
    leases: Iterable[Lease], job_ids: Iterable[str], begins: Iterable[Lease | None], rest: int
) -> bytes:
    """Of settlements that say the same but for these."""
    return array("q", map(hash, zip(leases, job_ids, begins, repeat(rest)))).tobytes()


_OWN: Final = ("lease", "job_id", "begins")
_REST = attrgetter(*(field for field in Settlement.__struct_fields__ if field not in _OWN))
_REST_OF_AN_END: Final = hash(_REST(TurnEnds((Lease("", "", 0),), ("",))[0]))


def _place(job: NewJob) -> tuple[str, int]:
    # An enumeration's text would not be its number.
    return job.lane, int(job.level)


def _new_job(job: NewJob) -> list[Argument]:
    """The eight fields of a job that asks for more than its place."""
    due, kind, dedup, window = "", "", "", 0
    if job.due is not None:
        due = f"{'@' if job.due_is_time else '+'}{micros(job.due)}"
    if job.dedup is not None:
        dedup = job.dedup.id
        kind = "u" if job.dedup.window is None else "w"
        window = micros(job.dedup.window or 0.0)
    ttl = "" if job.ttl is None else micros(job.ttl)
    return [*_place(job), job.body, due, ttl, kind, dedup, window]


def _woven(queue: str, job: NewJob) -> tuple[Argument, Argument]:
    """The workflow a job belongs to, and those it waits for."""
    told = []
    for each in job.after:
        place = f"#{each.job}" if isinstance(each.job, int) else member_name(queue, each.job)
        parent, name = place.encode(), each.name.encode()
        told.append(b"%b:%d:%d:%b%b" % (each.policy[0].encode(), len(parent), len(name), parent, name))
    return "" if job.flow is None else member_name(queue, job.flow), b"".join(told)


def by_queue(names: Iterable[str]) -> list[tuple[str, list[int]]]:
    """Indices grouped by the queue they belong to, in order, no more in a group than a script takes."""
    groups: dict[str, list[int]] = {}
    for index, name in enumerate(names):
        groups.setdefault(name, []).append(index)
    return [
        (queue, chosen[start : start + AT_ONCE])
        for queue, chosen in groups.items()
        for start in range(0, len(chosen), AT_ONCE)
    ]


def named(leases: Iterable[Lease]) -> list[Argument]:
    """Leases as scripts are told them."""
    return [part for lease in leases for part in _named(lease)]


def scope(lane: str | None) -> tuple[str, str]:
    """One lane, or none for the whole queue."""
    return ("", "") if lane is None else ("1", lane)
