"""How the stores are driven beside the model: time, names, and answers without what is free."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import msgspec
import redis

from glassq.errors import QueueFull, StorageError
from glassq.model.jobs import Appended, NewJob, StoredJob
from glassq.model.leases import (
    Claimed,
    Lease,
    Leaving,
    Owner,
    Renewed,
    Settled,
    Settlement,
    SettleStatus,
)
from glassq.model.verdicts import Action
from glassq.model.waits import NO_WAITS, Waits
from glassq.model.watermarks import Counts, Watermark
from glassq.settling import Settling
from glassq.storage import Doorbell, Storage, Terms
from glassq.stores.open import open_storage
from glassq.stores.redis import scripts
from tests.model.lanes import SECOND
from tests.model.world import LIFE

_NOBODY = Owner("nobody", "first")


class Time:
    """A clock of whole microseconds that the machine moves."""

    def __init__(self) -> None:
        self.now = 1_750_000_000 * SECOND

    def wall(self) -> float:
        """Seconds since the epoch."""
        return self.now / SECOND

    def monotonic(self) -> float:
        """As the wall clock: no store looks at it."""
        return self.now / SECOND

    def sleep(self, seconds: float) -> None:
        """Nobody sleeps here."""
        raise AssertionError(f"a store slept {seconds} s")


class Lives:
    """Which life of a queue its marks told of first, and which run of the server. Their names are free."""

    def __init__(self) -> None:
        self._first: dict[str, Watermark] = {}

    def named(self, queue: str, mark: Watermark | None) -> Watermark | None:
        """A mark in the model's words: of the life and the run it always was, or as it came."""
        if mark is None or not mark.incarnation:
            return mark
        first = self._first.setdefault(queue, mark)
        same = (mark.incarnation, mark.run) == (first.incarnation, first.run)
        # The server has run since before there was a queue.
        return Watermark(LIFE, mark.counts) if same and begun_empty(mark) else mark

    def all_named(self, found: Mapping[str, Watermark]) -> dict[str, Watermark | None]:
        """Marks by queue in the model's words."""
        return {queue: self.named(queue, mark) for queue, mark in found.items()}


def begun_empty(mark: Watermark) -> bool:
    """Whether nothing had been counted when the server's run began, where there is a server."""
    return mark.run is None or mark.run.counts == Counts()


class Side:
    """One store, with the model's names for its jobs, and the change counters it told of."""

    def __init__(self, target: str, clock: Time) -> None:
        self.target = target
        self.clock = clock
        self.names: dict[str, str] = {}
        self.ids: dict[str, str] = {}
        self.changes = Changes()
        self.lives = Lives()
        self._open()
        self.bell: Doorbell | None = None

    def reopen(self) -> None:
        """Another handle, as after a restart of the process; the server forgets its scripts and reloads."""
        self.close()
        if self.is_redis:
            with redis.Redis.from_url(self.target) as client:
                client.script_flush()
                client.execute_command("DEBUG", "RELOAD")
        self._open()

    def _open(self) -> None:
        if self.is_redis:
            with redis.Redis.from_url(self.target) as client:
                # Any other script is sent anew when it is missed; who runs ahead is told, and waits.
                client.script_load(scripts.SETTLE.source)
        self.store: Storage = open_storage(self.target, clock=self.clock)
        # A handle's first settlement is waited for; who runs ahead has been through that.
        self.store.settle(_NOBODY, [])
        # People are elsewhere: a handle that has itself steered a queue waits for settlements for a while.
        self.people = open_storage(self.target, clock=self.clock) if self.is_redis else self.store

    @property
    def is_redis(self) -> bool:
        """Whether it is a store that answers later."""
        return self.target.startswith("redis")

    def close(self) -> None:
        """Nothing is kept; whoever listens says goodbye."""
        self.be_deaf()
        self.store.close()
        self.people.close()

    def listen(self, owner: Owner, queues: Sequence[str]) -> None:
        """From now on every ring is heard."""
        self.bell = self.store.listen(owner, queues)

    def be_deaf(self) -> None:
        """Say goodbye."""
        if self.bell is not None:
            self.bell.close()
            self.bell = None

    def append(self, queue: str, jobs: Sequence[NewJob], limit: int | None) -> list[Appended]:
        """See `Storage.append`."""
        answers = self.store.append(queue, jobs, max_length=limit, replicas=0)
        return [
            msgspec.structs.replace(answer, found=self.lives.named(queue, answer.found)) for answer in answers
        ]

    def report(self, owner: Owner, queues: Sequence[str]) -> dict[str, Watermark | None]:
        """See `Storage.report`."""
        return self.lives.all_named(self.store.report(owner, queues))

    def claim(
        self, owner: Owner, queues: Sequence[str], *, lanes: int, window: int, lease_seconds: float
    ) -> Claimed:
        """See `Storage.claim`. The counters of the grants are noted. All heads begin, as those do that begin
        together: of these a store may note less."""
        terms = dict.fromkeys(queues, Terms(together=True))
        found = self.store.claim(
            owner, queues, lanes=lanes, window=window, lease_seconds=lease_seconds, terms=terms
        )
        marks = self.lives.all_named(found.found)
        return self.changes.granted(msgspec.structs.replace(found, found=marks))

    def settle(self, owner: Owner, whats: Sequence[Settlement]) -> list[Settled]:
        """See `Storage.settle`, and `settle_together` where that is allowed; here with the model's names for
        jobs."""
        told = [self.identified(what) for what in whats]
        if all(each.leaving is Leaving.YIELD or each.begun for each in told):
            answers = [each.answer() for each in self.store.settle_together(owner, told)]
        else:
            answers = self.store.settle(owner, told)
        return [
            msgspec.structs.replace(answer, found=self.lives.named(what.lease.queue, answer.found))
            for what, answer in zip(whats, answers, strict=True)
        ]

    def settle_later(self, owner: Owner, what: Settlement) -> Settling:
        """See `Storage.settle_later`."""
        return self.store.settle_later(owner, self.identified(what))

    def heard(self, what: Settlement, settling: Settling) -> Settled:
        """Its answer."""
        answer = settling.answer()
        return msgspec.structs.replace(answer, found=self.lives.named(what.lease.queue, answer.found))

    def renew(self, owner: Owner, leases: Sequence[Lease], lease_seconds: float) -> Renewed:
        """See `Storage.renew`."""
        found = self.store.renew(owner, leases, lease_seconds=lease_seconds)
        return msgspec.structs.replace(found, found=self.lives.all_named(found.found))

    def named(self, value: Any) -> Any:
        """An answer with names for ids, in the form in which answers are compared."""
        return plain(value, self.names)

    def identified(self, what: Settlement) -> Settlement:
        """A settlement with ids for names."""
        return msgspec.structs.replace(
            what, job_id=self.ids[what.job_id], next_id=what.next_id and self.ids[what.next_id]
        )


class Changes:
    """The change counter a store told of for each lease. Their values are free, their growth is not."""

    def __init__(self) -> None:
        self._known: dict[Lease, int] = {}

    def granted(self, claimed: Claimed) -> Claimed:
        """Note the counters of a claim; its answer without them."""
        self._known |= {grant.lease: grant.change for grant in claimed.grants}
        return msgspec.structs.replace(
            claimed, grants=tuple(msgspec.structs.replace(grant, change=0) for grant in claimed.grants)
        )

    def sent(self, whats: Sequence[Settlement]) -> list[Settlement]:
        """Settlements that carry the counter the worker knows, or another one where `change` is not 0."""
        return [msgspec.structs.replace(what, change=self._known[what.lease] + what.change) for what in whats]

    def told(self, whats: Sequence[Settlement], answers: Any, again: Sequence[bool]) -> Any:
        """Answers that tell whether the counter grew, and nothing that is free."""
        if not isinstance(answers, list):
            return answers
        shown = []
        for what, answer, repeated in zip(whats, answers, again, strict=True):
            grew = answer.change != self._known[what.lease]
            # A kept lane is left by the same settlement once more, with the counter of its window; whoever is
            # ahead of an answer that brings no window goes on with the old one.
            stays = what.leaving is Leaving.KEEP or (what.begun and not answer.jobs)
            if not stays and answer.status is not SettleStatus.FENCED:
                self._known[what.lease] = answer.change
            shown.append(told(answer, grew=grew, repeated=repeated))
        return shown


class Hold(msgspec.Struct, eq=False):
    """What a worker believes it holds; it may be wrong."""

    owner: Owner
    lease: Lease
    jobs: list[StoredJob]
    kept: bool = False


def caught(call: Callable[[], Any]) -> Any:
    """The answer of a call, or what was refused."""
    try:
        return call()
    except QueueFull as full:
        return "full", str(full)
    except StorageError as error:
        return "refused", type(error).__name__


def plain(value: Any, names: Mapping[str, str] = MappingProxyType({})) -> Any:
    """An answer with names for ids, and without zeros in counts, and what lanes have waited for."""
    if isinstance(value, Waits):
        return NO_WAITS
    if isinstance(value, msgspec.Struct):
        return type(value)(
            **{field: plain(getattr(value, field), names) for field in value.__struct_fields__}
        )
    if isinstance(value, dict):
        return {key: count for key, count in value.items() if count}
    if isinstance(value, list | tuple | frozenset):
        return type(value)(plain(each, names) for each in value)
    return names.get(value, value) if type(value) is str else value


class Ending(msgspec.Struct):
    """How an attempt ends and what becomes of the lane, whichever lane it is."""

    action: Action
    leaving: Leaving
    named: bool
    stale: int
    """How far its counter is from the one that was told last: 0, or less."""
    window: int
    ran: bool
    wait: float
    ahead: int = 0

    def settlement(self, hold: Hold) -> Settlement:
        """The settlement of a held lane's current job."""
        return Settlement(
            lease=hold.lease,
            job_id=hold.jobs[0].id,
            action=self.action,
            reason=f"because {self.action}",
            error=b"boom" if self.ran else b"",
            ran=self.ran,
            wait=self.wait,
            leaving=self.leaving,
            next_id=hold.jobs[1].id if self.named and len(hold.jobs) > 1 else None,
            change=self.stale,
            window=self.window,
            ahead=self.ahead,
        )


def told(answer: Settled, *, grew: bool = False, repeated: bool = False) -> Any:
    """A settlement's answer without what is free in it."""
    if answer.status is SettleStatus.FENCED or (
        repeated and answer.status is SettleStatus.ALREADY and not answer.held
    ):
        kind = "fenced, or repeated" if repeated else "fenced"
        return answer.now, answer.held, answer.jobs, answer.found, kind
    # `paused` is told by stores whose workers hold lanes that have not begun: no such lane is held here.
    return msgspec.structs.replace(answer, change=int(grew), paused=False)
