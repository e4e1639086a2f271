"""How the stores are driven beside the model: time, names, and answers without what is free."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import msgspec
import redis

from glassq.errors import QueueFull, StorageError
from glassq.model.jobs import StoredJob
from glassq.model.leases import Claimed, Lease, Leaving, Owner, Settled, Settlement, SettleStatus
from glassq.model.verdicts import Action
from glassq.storage import Storage
from glassq.stores.open import open_storage
from tests.model.lanes import SECOND


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


class Side:
    """One store, with the model's names for its jobs, and the change counters it told of."""

    def __init__(self, target: str, clock: Time) -> None:
        self.target = target
        self.clock = clock
        self.names: dict[str, str] = {}
        self.ids: dict[str, str] = {}
        self.changes = Changes()
        self.store: Storage = open_storage(target, clock=clock)

    def reopen(self) -> None:
        """Another handle, as after a restart of the process; the server forgets its scripts and reloads."""
        self.store.close()
        if self.target.startswith("redis"):
            with redis.Redis.from_url(self.target) as client:
                client.script_flush()
                client.execute_command("DEBUG", "RELOAD")
        self.store = open_storage(self.target, clock=self.clock)

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
            # A kept lane is left by the same settlement once more, with the counter of its window.
            if what.leaving is not Leaving.KEEP and answer.status is not SettleStatus.FENCED:
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
    """An answer with names for ids, and without what is free in it: watermarks, and zeros in counts."""
    if isinstance(value, msgspec.Struct):
        fields = {field: plain(getattr(value, field), names) for field in value.__struct_fields__}
        return type(value)(**fields | ({"found": None} if "found" in fields else {}))
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
    window: int
    ran: bool
    wait: float

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
        )


def told(answer: Settled, *, grew: bool = False, repeated: bool = False) -> Any:
    """A settlement's answer without what is free in it."""
    if answer.status is SettleStatus.FENCED or (
        repeated and answer.status is SettleStatus.ALREADY and not answer.held
    ):
        return answer.now, answer.held, answer.jobs, "fenced, or repeated" if repeated else "fenced"
    return msgspec.structs.replace(answer, change=int(grew))
