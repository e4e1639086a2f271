"""A cluster: each key has its node, until it has another one."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Hashable, Sequence
from functools import partial
from typing import Any, Final, TypeVar

from redis import exceptions

from glassq.errors import ConfigurationError, StorageError, StorageUnavailable
from glassq.forking import begin_in_children
from glassq.model.clock import Clock
from glassq.stores.redis.commands import APPEND_PATIENCE, PATIENCE, Commands
from glassq.stores.redis.connections import Argument
from glassq.stores.redis.failures import Unanswered, diagnose, translated
from glassq.stores.redis.location import Location, Wire
from glassq.stores.redis.scripts import Call, Script
from glassq.stores.redis.server import Sent, Server
from glassq.stores.redis.slots import SLOTS, Address, owners, slot_of

_FIRST_WAIT, _LONGEST_WAIT = 0.02, 0.5
_AT_ONCE: Final = 3
"""How often a request follows its key to another node without a pause: nodes may disagree for a moment."""
_LOOKS: Final = 0.1
"""Seconds between two looks at who holds what: each asks one node about all slots."""

R = TypeVar("R")


class Cluster(Commands):
    """One `Server` per node, and which of them holds a key. Thread-safe; a forked child opens its own.

    A request that is refused because its key is elsewhere, or not answered, is sent again to where its key is
    then. A lane's requests keep their order all the same: while one of them was not answered, those behind it
    are refused wherever they arrive (its job is the head), and are repeated behind it (see `InFlight`). No
    request follows a slot that is on its way (ASK): that is waited for.
    """

    def __init__(
        self, location: Location, *, clock: Clock | None = None, reconnected: Callable[[], None] | None = None
    ) -> None:
        self.address = location.address
        self._location = location
        self._clock = clock
        self._reconnected = reconnected
        self._servers: dict[Address, Server] = {}
        self._owners: list[Address | None] = [None] * SLOTS
        self._stale = True
        self._looked = 0.0
        begin_in_children(self)

    def begin(self) -> None:
        """Begin, here and in a forked child: another thread of the parent may have held the lock."""
        self._lock = threading.Lock()
        self._closed = threading.Event()

    # -- requests ------------------------------------------------------------------------------------------

    def carry_out(self, call: Call, *, patience: float | None = None, repeatable: bool = True) -> Any:
        """See `Commands.carry_out`."""
        guarded = call.guarded()

        def once(server: Server) -> Any:
            return server.carry_out(guarded, patience=0.0, repeatable=repeatable)

        return self._routed(call.key, once, patience, repeatable=repeatable)

    def submit(self, call: Call, read: Callable[[Any], R]) -> Sent[R]:
        """See `Commands.submit`."""
        return self._server_of(call.key).submit(call.guarded(), read)

    def carry_out_and_copy(self, call: Call, *, replicas: int, patience: float) -> tuple[Any, int]:
        """See `Commands.carry_out_and_copy`."""
        guarded = call.guarded()

        def once(server: Server) -> tuple[Any, int]:
            return server.carry_out_and_copy(guarded, replicas=replicas, patience=0.0)

        return self._routed(call.key, once, patience)

    def run_each(self, script: Script, calls: Sequence[tuple[str, Sequence[Argument]]]) -> list[Any]:
        """See `Commands.run_each`. One node after the other."""
        of_node: dict[Server, list[int]] = {}
        for index, (key, _) in enumerate(calls):
            of_node.setdefault(self._server_of(key), []).append(index)
        answers: dict[int, Any] = {}
        for server, indices in of_node.items():
            if len(indices) > 1:
                try:
                    told = server.try_each(script.guarded, [calls[each] for each in indices], patience=0.0)
                except StorageUnavailable:
                    continue
                answers.update(zip(indices, told, strict=True))
        for index, (key, arguments) in enumerate(calls):
            if isinstance(answers.get(index, _MISSING), exceptions.RedisError):
                answers[index] = self.run(script, key, *arguments)
        return [answers[index] for index in range(len(calls))]

    def ask(self, command: str, key: str, *arguments: Argument, patience: float | None = None) -> Any:
        """See `Commands.ask`."""
        return self._routed(key, lambda server: server.ask(command, key, *arguments, patience=0.0), patience)

    def time(self) -> float:
        """See `Commands.time`. That of any node: nothing that is stored is judged by it."""
        return self._routed("", lambda server: server.time(), APPEND_PATIENCE)

    @property
    def shares(self) -> bool:
        """See `Commands.shares`."""
        return self._location.shareable

    def wire(self, key: str) -> Wire:
        """See `Commands.wire`."""
        self._require_open()
        return self._server_of(key).wire(key)

    def place(self, key: str) -> Hashable:
        """See `Commands.place`."""
        return slot_of(key)

    def note(self, key: str, error: exceptions.RedisError) -> None:
        """See `Commands.note`."""
        self._learn(self._owners[slot_of(key)] or self._location.nodes[0], error)

    def close(self) -> None:
        """See `Commands.close`."""
        self._closed.set()
        for server in list(self._servers.values()):
            server.close()

    # -- where -------------------------------------------------------------------------------------------

    def _routed(
        self, key: str, once: Callable[[Server], R], patience: float | None, *, repeatable: bool = True
    ) -> R:
        """Ask where the key is, now or as soon as somebody is able to answer, see `Commands.run`."""
        deadline = time.monotonic() + (PATIENCE if patience is None else patience)
        longest, lost, hops = _FIRST_WAIT, False, 0
        while True:
            self._require_open()
            server = self._server_of(key)
            try:
                return once(server)
            except StorageError as error:
                cause = error.__cause__
                if not isinstance(cause, exceptions.RedisError):
                    raise
                lost = lost or isinstance(error, Unanswered)
                hopeless = not diagnose(cause).passing or (lost and not repeatable)
                hops += 1
                follows = hops <= _AT_ONCE and self._server_of(key) is not server
                wait = 0.0 if follows else random.uniform(0, longest)  # noqa: S311 - spreads clients
                if hopeless or (not follows and time.monotonic() + wait >= deadline):
                    raise translated(cause, self.address, lost=lost) from cause
            self._closed.wait(wait)
            longest = min(2 * longest, _LONGEST_WAIT)

    def _server_of(self, key: str) -> Server:
        """The node that holds a key, as far as is known; any where that is not."""
        if self._stale:
            self._look()
        return self._server(self._owners[slot_of(key)] or self._location.nodes[0])

    def _server(self, node: Address) -> Server:
        server = self._servers.get(node)
        if server is None:
            with self._lock:
                server = self._servers.get(node)
                if server is None:
                    server = self._servers[node] = Server(
                        self._location.at(node),
                        clock=self._clock,
                        reconnected=self._reconnected,
                        failing=partial(self._learn, node),
                    )
        return server

    def _learn(self, node: Address, error: exceptions.RedisError) -> None:
        """What a node's refusal, or no answer, says about who holds what."""
        if isinstance(error, exceptions.MovedError):
            self._owners[error.slot_id] = (error.host or node[0], error.port)
            self._stale = True
        elif diagnose(error).passing:
            self._stale = True

    def _look(self) -> None:
        """Ask a node who holds what; one thread at a time, others go on by what they know, if they do."""
        now = time.monotonic()
        if self._looked and now - self._looked < _LOOKS:
            return
        self._looked, self._stale = now, False
        nodes = [node for node in {*self._owners, *self._location.nodes} if node is not None]
        random.shuffle(nodes)
        for node in sorted(nodes, key=lambda node: self._server(node).away):
            try:
                told = self._server(node).ask("CLUSTER", "SLOTS", patience=0.0)
            except StorageError as error:
                if "cluster support disabled" in str(error):
                    raise ConfigurationError(
                        f"{self._location.at(node).address} is no node of a cluster; name it by redis://"
                    ) from error
                continue
            found = owners(told, node)
            if any(found):
                self._owners = found
                return
        self._stale = True

    def _require_open(self) -> None:
        if self._closed.is_set():
            raise StorageUnavailable("this store is closed; open the application again", "connection")


_MISSING: Final = exceptions.RedisError("not asked yet")
