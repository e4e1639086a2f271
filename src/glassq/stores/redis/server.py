"""One Redis server as the verbs see it: scripts in, replies out, with the only retry loop there is."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Hashable, Sequence
from functools import partial
from typing import Any, Generic, TypeVar

from redis import exceptions

from glassq.errors import ConfigurationError, StorageError, StorageUnavailable
from glassq.forking import begin_in_children
from glassq.model.clock import Clock
from glassq.stores.redis.commands import PATIENCE, REPLICA_SECONDS, Commands
from glassq.stores.redis.connections import Argument, Connection, Connections, ask
from glassq.stores.redis.failures import Diagnosis, diagnose, translated
from glassq.stores.redis.location import Location, Wire
from glassq.stores.redis.outage import Outage
from glassq.stores.redis.pipeline import Made, Pending, Stream
from glassq.stores.redis.resp import packed, parts
from glassq.stores.redis.scripts import Call, Script

_FIRST_WAIT, _LONGEST_WAIT = 0.05, 5.0
_OLDEST = (6, 2)

R = TypeVar("R")


class Sent(Generic[R]):
    """A request on its way to the server, or what kept it from being sent."""

    __slots__ = ("_began", "_pending", "_read", "_server", "arrived")

    def __init__(
        self, server: Server, began: float, pending: Pending | StorageError, read: Callable[[Any], R]
    ) -> None:
        self._server = server
        self._began = began
        self._pending = pending
        self._read = read
        # Asked for before each job: no call more than it takes.
        self.arrived = _at_once if isinstance(pending, StorageError) else pending.arrived
        """Whether its answer is there, or never will be."""

    def answer(self) -> R:
        """Its answer as it was to be read, waited for. Raises as `Server.run` does, but repeats nothing."""
        if isinstance(self._pending, StorageError):
            raise self._pending
        try:
            reply = self._pending.answer()
        except exceptions.RedisError as error:
            raise self._server.failed(self._began, error) from error
        return self._read(reply)


def _at_once() -> bool:
    return True


class Server(Commands):
    """Connections to one server, shared by threads; a forked child opens its own. `failing` is told of each
    request that it refused or that got no answer."""

    def __init__(
        self,
        location: Location,
        *,
        clock: Clock | None = None,
        reconnected: Callable[[], None] | None = None,
        failing: Callable[[exceptions.RedisError], None] | None = None,
    ) -> None:
        self.address = location.address
        self._failing = failing
        self._location = location
        self._clock = clock
        self._connections = Connections(location)
        self._outage = Outage(reconnected)
        self._fit = False
        self._closed = False
        begin_in_children(self)

    def begin(self) -> None:
        """Begin, here and in a forked child: another thread of the parent may have held its lock."""
        self._lock = threading.Lock()

    def carry_out(self, call: Call, *, patience: float | None = None, repeatable: bool = True) -> Any:
        """See `Commands.carry_out`."""
        evaluation = partial(self._evaluate, self._connections.ask, call)
        return self.attempt(evaluation, patience=patience, repeatable=repeatable)

    @property
    def away(self) -> bool:
        """Whether it was found not to answer, and has not answered since."""
        return self._outage.error is not None

    @property
    def shares(self) -> bool:
        """See `Commands.shares`."""
        return self._connections.shares

    @property
    def stream(self) -> Stream | None:
        """The connection that all requests take now, if they share one and do not tell the time."""
        return None if self._closed or self._clock is not None else self._connections.stream

    def submit(self, call: Call, read: Callable[[Any], R]) -> Sent[R]:
        """See `Commands.submit`."""
        began = time.monotonic()
        try:
            if self._closed or not self._fit:
                self._require_open()
                self._check_fitness()
            away = self._outage.error
            if away is not None:
                raise translated(away, self.address, lost=False) from away
            request = call.by_digest if self._clock is None else self._timed(call.by_digest)
            return Sent(self, began, self._connections.submit(request), read)
        except exceptions.RedisError as error:
            return Sent(self, began, self.failed(began, error), read)
        except StorageError as error:
            return Sent(self, began, error, read)

    def failed(self, began: float, error: exceptions.RedisError) -> StorageError:
        """What to tell about a request that was sent then and will not be repeated here."""
        failure = diagnose(error)
        self._note(began, error, failure, _FIRST_WAIT)
        return translated(error, self.address, lost=failure.lost)

    def carry_out_and_copy(self, call: Call, *, replicas: int, patience: float) -> tuple[Any, int]:
        """See `Commands.carry_out_and_copy`."""
        wait = packed(("WAIT", replicas, int(REPLICA_SECONDS * 1000)))

        def copy(connection: Connection) -> tuple[Any, int]:
            # The server counts from what this very connection has written.
            answer = self._evaluate(partial(ask, connection), call)
            return answer, int(ask(connection, lambda _: wait))

        return self.attempt(lambda: self._connections.use(copy), patience=patience)

    def run_each(self, script: Script, calls: Sequence[tuple[str, Sequence[Argument]]]) -> list[Any]:
        """See `Commands.run_each`."""
        if len(calls) == 1:
            return [self.run(script, key, *arguments) for key, arguments in calls]
        answers = self.try_each(script, calls)
        for index, (key, arguments) in enumerate(calls):
            if isinstance(answers[index], exceptions.RedisError):
                answers[index] = self.run(script, key, *arguments)
        return answers

    def try_each(
        self,
        script: Script,
        calls: Sequence[tuple[str, Sequence[Argument]]],
        *,
        patience: float | None = None,
    ) -> list[Any]:
        """The same, with what was refused as a value among the answers."""
        requests = [
            self._timed(script.call(key, len(arguments), parts(arguments)).by_digest)
            for key, arguments in calls
        ]
        return self.attempt(lambda: self._connections.ask_each(requests), patience=patience)

    def time(self) -> float:
        """See `Commands.time`."""
        if self._clock is not None:
            return self._clock.wall()
        seconds, micros = self.attempt(partial(self._ask, "TIME"))
        return int(seconds) + int(micros) / 1_000_000

    def ask(self, command: str, key: str, *arguments: Argument, patience: float | None = None) -> Any:
        """See `Commands.ask`."""
        return self.attempt(partial(self._ask, command, key, *arguments), patience=patience)

    def attempt(self, call: Callable[[], R], *, patience: float | None = None, repeatable: bool = True) -> R:
        """Do this now or as soon as the server is able to, see `Commands.run`."""
        deadline = time.monotonic() + (PATIENCE if patience is None else patience)
        longest, lost = _FIRST_WAIT, False
        while True:
            asked, began = False, time.monotonic()
            try:
                if self._outage.error is not None or self._closed:
                    self._wait_for_the_server(deadline, lost=lost)
                    began = time.monotonic()
                if not self._fit:
                    self._check_fitness()
                asked = True
                answer = call()
            except exceptions.RedisError as error:
                failure = diagnose(error)
                lost = lost or (asked and failure.lost)
                hopeless = not failure.passing or (lost and not repeatable)
                wait = self._note(began, error, failure, longest)
                if hopeless or time.monotonic() + wait >= deadline:
                    raise translated(error, self.address, lost=lost) from error
            else:
                if self._outage.error is not None:
                    self._outage.answered(began)
                return answer
            finally:
                self._outage.give_back()
            self._outage.pause(wait)
            longest = min(2 * longest, _LONGEST_WAIT)

    def _wait_for_the_server(self, deadline: float, *, lost: bool) -> None:
        """Wait until this thread may ask it; raises what keeps it from that."""
        away = self._outage.hinders(deadline)
        self._require_open()
        if away is not None:
            raise translated(away, self.address, lost=lost) from away

    def _note(self, began: float, error: exceptions.RedisError, failure: Diagnosis, longest: float) -> float:
        """An outage is everybody's, a refusal is one request's. Returns how long to wait before the next."""
        if self._failing is not None:
            self._failing(error)
        if failure.reason in ("connection", "timeout"):
            self._outage.met(error)
            longest = _FIRST_WAIT  # beyond it `Outage.hinders` lets nobody through too soon, or wait too long
        else:
            self._outage.answered(began)
        return random.uniform(0, longest)  # noqa: S311 - spreads clients, hides nothing

    def _require_open(self) -> None:
        if self._closed:
            raise StorageUnavailable("this store is closed; open the application again", "connection")

    def wire(self, key: str) -> Wire:  # noqa: ARG002 - all keys are here
        """See `Commands.wire`."""
        self._require_open()
        return self._location.wire()

    def place(self, key: str) -> Hashable:  # noqa: ARG002 - all keys are here
        """See `Commands.place`."""
        return None

    def note(self, key: str, error: exceptions.RedisError) -> None:
        """See `Commands.note`."""

    def close(self) -> None:
        """See `Commands.close`."""
        self._closed = True
        self._outage.end()
        self._connections.close()

    def _ask(self, *command: Argument) -> Any:
        told = packed(command)
        return self._connections.ask(lambda _: told)

    def _evaluate(self, ask: Callable[[Made], Any], call: Call) -> Any:
        """Run a script: by its digest, or by its text where it is not known by it."""
        try:
            return ask(call.by_digest if self._clock is None else self._timed(call.by_digest))
        except exceptions.NoScriptError:  # the server is new, restarted or flushed
            return ask(self._timed(call.by_text))

    def _timed(self, request: Made) -> Made:
        """A request that is made for what its script is told first: the run of the server it is sent to, and
        the time when that is not theirs to ask for but a test's to say."""
        clock = self._clock
        if clock is None:
            return request
        return lambda run: request(b"%b:%d" % (run, round(clock.wall() * 1_000_000)))

    def _check_fitness(self) -> None:
        """Refuse servers that would break promises, once, at the first use. One round trip."""
        if self._fit:
            return
        with self._lock:
            if not self._fit:
                info = self._info()
                self._check_version(info)
                self._check_mode(info)
                if not self._location.allow_eviction:
                    self._check_eviction(info)
                self._connections.pool.disconnect()  # from now on these are used seldom
                self._fit = True

    def _info(self) -> dict[str, str]:
        # As a request of our own: what instruments redis-py's clients makes a span of each of their calls.
        try:
            told: bytes = self._connections.use(lambda own: ask(own, lambda _: packed(("INFO",))))
        except exceptions.ResponseError as error:
            if "unknown command" in str(error.args).lower():  # stand-ins for servers have no INFO
                return {}
            raise
        return dict(line.split(":", 1) for line in told.decode(errors="replace").splitlines() if ":" in line)

    def _check_version(self, info: dict[str, str]) -> None:
        found = info.get("redis_version", "6.2")
        parts = tuple(int(part) for part in found.split(".")[:2] if part.isdecimal())
        if parts < _OLDEST:
            raise ConfigurationError(
                f"{self.address} is Redis {found}; glassq needs 6.2 or newer, or Valkey: upgrade the server"
            )

    def _check_mode(self, info: dict[str, str]) -> None:
        if info.get("redis_mode") == "cluster" and not self._location.in_cluster:
            raise ConfigurationError(
                f"{self.address} is a node of a cluster and has some of the keys only; name the cluster: "
                f"redis+cluster://{self.address.partition('://')[2].partition('/')[0]}"
            )

    def _check_eviction(self, info: dict[str, str]) -> None:
        policy = info.get("maxmemory_policy", "noeviction")
        if policy.startswith("allkeys"):
            raise ConfigurationError(
                f"{self.address} evicts any key when its memory is full (maxmemory-policy {policy}), jobs "
                "included; set maxmemory-policy to noeviction or volatile-lru, or add ?allow_eviction=1"
            )
