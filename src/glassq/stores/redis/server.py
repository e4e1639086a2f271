"""One Redis server as the verbs see it: scripts in, replies out, with the only retry loop there is."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

from redis import exceptions

from glassq.errors import ConfigurationError, StorageError, StorageUnavailable
from glassq.forking import begin_in_children
from glassq.model.clock import Clock
from glassq.stores.redis.connections import Argument, Connection, Connections, Request, ask
from glassq.stores.redis.failures import Diagnosis, diagnose, translated
from glassq.stores.redis.location import Location, Wire
from glassq.stores.redis.outage import Outage
from glassq.stores.redis.pipeline import Pending
from glassq.stores.redis.scripts import Script

PATIENCE: Final = 2.0
"""Seconds for which a verb of a worker is retried: it has a loop of its own, and leases to look after."""
APPEND_PATIENCE: Final = 5.0
"""Seconds for which an append is retried: its caller has nothing better to do than to wait."""
REPLICA_SECONDS: Final = 1.0
"""How long an append waits for replicas."""
_FIRST_WAIT, _LONGEST_WAIT = 0.05, 5.0
_OLDEST = (6, 2)
_INFO: Final = b"*1\r\n$4\r\nINFO\r\n"  # as it is sent

R = TypeVar("R")


class Sent:
    """A script on its way to the server, or what kept it from being sent."""

    def __init__(self, server: Server, began: float, pending: Pending | StorageError) -> None:
        self._server = server
        self._began = began
        self._pending = pending
        # Asked for before each job: no call more than it takes.
        self.arrived = _at_once if isinstance(pending, StorageError) else pending.arrived
        """Whether its answer is there, or never will be."""

    def answer(self) -> Any:
        """Its answer, waited for. Raises as `Server.run` does, but repeats nothing."""
        if isinstance(self._pending, StorageError):
            raise self._pending
        try:
            return self._pending.answer()
        except exceptions.RedisError as error:
            raise self._server.failed(self._began, error) from error


def _ask_for_info(connection: Connection) -> bytes:
    connection.send_packed_command([_INFO])
    told: bytes = connection.read_response()
    return told


def _at_once() -> bool:
    return True


class Server:
    """Connections to one server, shared by threads; a forked child opens its own."""

    def __init__(
        self, location: Location, *, clock: Clock | None = None, reconnected: Callable[[], None] | None = None
    ) -> None:
        self.address = location.address
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
        evaluate = self._evaluation(script, key, arguments)
        return self.attempt(lambda: evaluate(self._connections.ask), patience=patience, repeatable=repeatable)

    @property
    def shares(self) -> bool:
        """Whether requests can be sent without waiting for the answers of earlier ones."""
        return self._connections.shares

    def send(self, script: Script, key: str, *arguments: Argument) -> Sent:
        """Send a script and do not wait: it is on its way when this returns. Only where it `shares`.

        Nothing is repeated, and no outage is waited for: whoever asks for the answer is told.
        """
        began = time.monotonic()
        try:
            self._require_open()
            away = self._outage.error
            if away is not None:
                raise translated(away, self.address, lost=False) from away
            self._check_fitness()
            pending = self._connections.submit(self._request("EVALSHA", script.sha, key, arguments))
        except exceptions.RedisError as error:
            return Sent(self, began, self.failed(began, error))
        except StorageError as error:
            return Sent(self, began, error)
        return Sent(self, began, pending)

    def failed(self, began: float, error: exceptions.RedisError) -> StorageError:
        """What to tell about a request that was sent then and will not be repeated here."""
        failure = diagnose(error)
        self._note(began, error, failure, _FIRST_WAIT)
        return translated(error, self.address, lost=failure.lost)

    def run_and_copy(
        self, script: Script, key: str, *arguments: Argument, replicas: int, patience: float
    ) -> tuple[Any, int]:
        """Run a script and wait until so many replicas have what it wrote, or `REPLICA_SECONDS` passed.

        Returns its answer and how many have it. One round trip; see `run`.
        """
        evaluate = self._evaluation(script, key, arguments)

        def copy(connection: Connection) -> tuple[Any, int]:
            # The server counts from what this very connection has written.
            answer = evaluate(lambda request: ask(connection, *request(connection.run)))
            return answer, int(ask(connection, "WAIT", replicas, int(REPLICA_SECONDS * 1000)))

        return self.attempt(lambda: self._connections.use(copy), patience=patience)

    def run_each(self, script: Script, calls: Sequence[tuple[str, Sequence[Argument]]]) -> list[Any]:
        """Run a script that may be repeated on several queues. One round trip for all, one more for each
        that failed."""
        if len(calls) == 1:
            return [self.run(script, key, *arguments) for key, arguments in calls]

        requests = [self._request("EVALSHA", script.sha, key, arguments) for key, arguments in calls]
        answers = self.attempt(lambda: self._connections.ask_each(requests))
        for index, (key, arguments) in enumerate(calls):
            if isinstance(answers[index], exceptions.RedisError):
                answers[index] = self.run(script, key, *arguments)
        return answers

    def time(self) -> float:
        """The store's clock, in epoch seconds. One round trip."""
        if self._clock is not None:
            return self._clock.wall()
        seconds, micros = self.attempt(lambda: self._connections.ask(lambda _: ("TIME",)))
        return int(seconds) + int(micros) / 1_000_000

    def add_member(self, key: str, member: str) -> None:
        """Put a member into a set. One round trip."""
        self.attempt(lambda: self._connections.ask(lambda _: ("SADD", key, member)), patience=APPEND_PATIENCE)

    def members(self, key: str) -> list[str]:
        """The members of a set, sorted. One round trip."""
        found: list[bytes] = self.attempt(lambda: self._connections.ask(lambda _: ("SMEMBERS", key)))
        return sorted(member.decode() for member in found)

    def attempt(self, call: Callable[[], R], *, patience: float | None = None, repeatable: bool = True) -> R:
        """Do this now or as soon as the server is able to, see `run`."""
        deadline = time.monotonic() + (PATIENCE if patience is None else patience)
        longest, lost = _FIRST_WAIT, False
        while True:
            asked, began = False, time.monotonic()
            try:
                away = self._outage.hinders(deadline)
                self._require_open()
                if away is not None:
                    raise translated(away, self.address, lost=lost) from away
                began = time.monotonic()
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
                self._outage.answered(began)
                return answer
            finally:
                self._outage.give_back()
            self._outage.pause(wait)
            longest = min(2 * longest, _LONGEST_WAIT)

    def _note(self, began: float, error: exceptions.RedisError, failure: Diagnosis, longest: float) -> float:
        """An outage is everybody's, a refusal is one request's. Returns how long to wait before the next."""
        if failure.reason in ("connection", "timeout"):
            self._outage.met(error)
            longest = _FIRST_WAIT  # beyond it `Outage.hinders` lets nobody through too soon, or wait too long
        else:
            self._outage.answered(began)
        return random.uniform(0, longest)  # noqa: S311 - spreads clients, hides nothing

    def _require_open(self) -> None:
        if self._closed:
            raise StorageUnavailable("this store is closed; open the application again", "connection")

    def wire(self) -> Wire:
        """A connection that may block: apart from the others, closed by whoever asked for it."""
        self._require_open()
        return self._location.wire()

    def close(self) -> None:
        """Close all connections; later calls raise `StorageUnavailable`."""
        self._closed = True
        self._outage.end()
        self._connections.close()

    def _evaluation(
        self, script: Script, key: str, arguments: Sequence[Argument]
    ) -> Callable[[Callable[[Request], Any]], Any]:
        """A try to run a script: by its digest, or by its text once it was not known by it."""
        by_digest = self._request("EVALSHA", script.sha, key, arguments)
        by_text = self._request("EVAL", script.source, key, arguments)
        known = True

        def evaluate(ask: Callable[[Request], Any]) -> Any:
            nonlocal known
            if known:
                try:
                    return ask(by_digest)
                except exceptions.NoScriptError:  # the server is new, restarted or flushed
                    known = False
            return ask(by_text)

        return evaluate

    def _request(self, command: str, script: str, key: str, arguments: Sequence[Argument]) -> Request:
        """A call of a script. Its first argument is the run of the server it is sent to, and the time when it
        is not theirs to ask for but a test's to say."""

        def made_for(run: str) -> Sequence[Argument]:
            first = run if self._clock is None else f"{run}:{round(self._clock.wall() * 1_000_000)}"
            return (command, script, 1, key, first, *arguments)

        return made_for

    def _check_fitness(self) -> None:
        """Refuse servers that would break promises, once, at the first use. One round trip."""
        if self._fit:
            return
        with self._lock:
            if not self._fit:
                info = self._info()
                self._check_version(info)
                if not self._location.allow_eviction:
                    self._check_eviction(info)
                self._connections.pool.disconnect()  # from now on these are used seldom
                self._fit = True

    def _info(self) -> dict[str, str]:
        # As a request of our own: what instruments redis-py's clients makes a span of each of their calls.
        try:
            told = self._connections.use(_ask_for_info)
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

    def _check_eviction(self, info: dict[str, str]) -> None:
        policy = info.get("maxmemory_policy", "noeviction")
        if policy.startswith("allkeys"):
            raise ConfigurationError(
                f"{self.address} evicts any key when its memory is full (maxmemory-policy {policy}), jobs "
                "included; set maxmemory-policy to noeviction or volatile-lru, or add ?allow_eviction=1"
            )
