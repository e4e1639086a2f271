"""What the store asks of its server, or of a cluster of them: scripts, and commands on a few keys."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Sequence
from typing import Any, Final, Protocol, TypeVar

from redis import exceptions

from glassq.stores.redis.connections import Argument
from glassq.stores.redis.location import Wire
from glassq.stores.redis.resp import parts
from glassq.stores.redis.scripts import Call, Script

PATIENCE: Final = 2.0
"""Seconds for which a verb of a worker is retried: it has a loop of its own, and leases to look after."""
APPEND_PATIENCE: Final = 5.0
"""Seconds for which an append is retried: its caller has nothing better to do than to wait."""
REPLICA_SECONDS: Final = 1.0
"""How long an append waits for replicas."""

R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)


class Sending(Protocol[R_co]):
    """A request on its way."""

    @property
    def arrived(self) -> Callable[[], bool]:
        """Whether its answer is there, or never will be."""
        ...

    def answer(self) -> R_co:
        """Its answer as it was to be read, waited for. Raises as `run` does, but repeats nothing."""
        ...


class Commands(ABC):
    """One server, or a cluster, as the verbs see it. All that a script touches is in the slot of its key."""

    address: str

    @abstractmethod
    def carry_out(self, call: Call, *, patience: float | None = None, repeatable: bool = True) -> Any:
        """Run a script whose arguments are packed already; see `run`."""

    @abstractmethod
    def submit(self, call: Call, read: Callable[[Any], R]) -> Sending[R]:
        """Send a call of a script and do not wait: it is on its way when this returns. Where it `shares`.

        Nothing is repeated, and no outage is waited for: whoever asks for the answer is told.
        """

    @abstractmethod
    def carry_out_and_copy(self, call: Call, *, replicas: int, patience: float) -> tuple[Any, int]:
        """Run a script and wait until so many replicas have what it wrote, or `REPLICA_SECONDS` passed.

        Returns its answer and how many have it. One round trip; see `carry_out`.
        """

    @abstractmethod
    def run_each(self, script: Script, calls: Sequence[tuple[str, Sequence[Argument]]]) -> list[Any]:
        """Run a script that may be repeated on several queues. One round trip for all of a server's, one more
        for each that failed."""

    @abstractmethod
    def ask(self, command: str, key: str, *arguments: Argument, patience: float | None = None) -> Any:
        """A command on one key, which may be repeated. One round trip; waits as `run` does."""

    @abstractmethod
    def time(self) -> float:
        """The store's clock, in epoch seconds. One round trip."""

    @property
    @abstractmethod
    def shares(self) -> bool:
        """Whether requests can be sent without waiting for the answers of earlier ones."""

    @abstractmethod
    def wire(self, key: str) -> Wire:
        """A connection to where this key is that may block: apart from the others, closed by whoever asked
        for it."""

    @abstractmethod
    def place(self, key: str) -> Hashable:
        """What stands for where a key is: one request can be about all keys of one place."""

    @abstractmethod
    def note(self, key: str, error: exceptions.RedisError) -> None:
        """A request about this key failed, on a connection of somebody's own."""

    @abstractmethod
    def close(self) -> None:
        """Close all connections; later calls raise `StorageUnavailable`."""

    def run(
        self,
        script: Script,
        key: str,
        *arguments: Argument,
        patience: float | None = None,
        repeatable: bool = True,
    ) -> Any:
        """Run a script on the queue `key` belongs to. One round trip, two when the server does not know it.

        A failure that passes is waited out for up to `patience` seconds; unless `repeatable`, only when
        the request was certainly not carried out. Raises `Unanswered` when it may have been.
        """
        call = script.call(key, len(arguments), parts(arguments))
        return self.carry_out(call, patience=patience, repeatable=repeatable)

    def add_member(self, key: str, member: str) -> None:
        """Put a member into a set. One round trip."""
        self.ask("SADD", key, member, patience=APPEND_PATIENCE)

    def remove_member(self, key: str, member: str) -> None:
        """Take a member out of a set. One round trip."""
        self.ask("SREM", key, member)

    def members(self, key: str) -> list[str]:
        """The members of a set, sorted. One round trip."""
        found: list[bytes] = self.ask("SMEMBERS", key)
        return sorted(member.decode() for member in found)

    def fields(self, key: str) -> dict[str, str]:
        """The fields of a hash. One round trip."""
        told: list[bytes] = self.ask("HGETALL", key)
        found = [part.decode() for part in told]
        return dict(zip(found[::2], found[1::2], strict=True))
