"""The connections of a process to its server: lent to one caller at a time, and each knows which run of the
server it leads to."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final, Protocol, TypeVar

import redis
from redis import exceptions

from glassq.stores.redis.failures import NeverSent
from glassq.stores.redis.location import Location
from glassq.stores.redis.pipeline import Made, Pending, Pipeline, Stream
from glassq.stores.redis.resp import packed

R = TypeVar("R")
Argument = str | bytes | int | float

_RUN: Final = re.compile(rb"\brun_id:(\w{12})")
"""As much of a run's id as tells it from others: it is sent with every call."""
_TAKEN_FOR: Final = inspect.signature(redis.ConnectionPool.get_connection).parameters["command_name"]
_TO_TAKE: Final = ("_",) if _TAKEN_FOR.default is inspect.Parameter.empty else ()
"""Before redis-py 5.3 a connection is asked for with a command's name."""


class Connection(Protocol):
    """A connection of redis-py, which gives these no types. All raise `redis.exceptions.RedisError`."""

    run: str
    """The run of the server, `""` when it does not tell. A restart breaks every connection."""

    def connect(self) -> None:
        """Open it."""

    def on_connect(self) -> None:
        """Sign in, as redis-py does by itself where nothing else is asked for."""

    def send_packed_command(self, command: Sequence[bytes]) -> None:
        """Send requests."""

    def read_response(self) -> Any:
        """Wait for the next answer."""

    def disconnect(self) -> None:
        """Close it."""


def _about_the_server(_: bytes) -> bytes:
    return packed(("INFO", "server"))


class Connections:
    """One connection that all threads share, and a pool for what needs one to itself. Each asks, when it is
    made, which run of the server it leads to.

    So a request can say what it is sent to, without another round trip and however old the connection is.
    Thread-safe; a forked child opens its own.
    """

    def __init__(self, location: Location) -> None:
        self._tells = True
        self.pool = location.pool(self._greet)
        self._shared = Pipeline(partial(location.wire, self._greet)) if location.shareable else None
        self.submit: Callable[[Made], Pending] = self._cannot if self._shared is None else self._shared.submit
        """Sends a request and does not wait: it is on the wire when this returns. Only where it `shares`."""

    def ask(self, request: Made) -> Any:
        """A request and its answer. One round trip, shared with whoever asks meanwhile."""
        if self._shared is not None:
            return self._shared.submit(request).answer()
        return self.use(lambda own: ask(own, request))

    def ask_each(self, requests: Sequence[Made]) -> list[Any]:
        """Several requests in one round trip; the refusals stand where the answers would."""
        if self._shared is not None:
            return self._shared.ask_each(requests)
        return self.use(lambda own: ask_all(own, requests))

    @property
    def shares(self) -> bool:
        """Whether requests can be sent without waiting for the answers of earlier ones."""
        return self._shared is not None

    @property
    def stream(self) -> Stream | None:
        """The shared connection, if there is one and it is whole."""
        return None if self._shared is None else self._shared.stream

    @staticmethod
    def _cannot(_: Made) -> Pending:
        raise AssertionError("requests on connections that are not shared are waited for")

    def use(self, call: Callable[[Connection], R]) -> R:
        """Call with a connection that is nobody else's meanwhile."""
        try:
            connection: Any = self.pool.get_connection(*_TO_TAKE)
        except exceptions.RedisError as error:
            raise error from NeverSent()
        try:
            return call(connection)
        except exceptions.ResponseError:
            raise  # an answer like others: nothing is left to be read
        except BaseException:
            connection.disconnect()  # an answer may be left
            raise
        finally:
            self.pool.release(connection)

    def close(self) -> None:
        """Close all of them."""
        if self._shared is not None:
            self._shared.close()
        self.pool.disconnect()

    def _greet(self, connection: Connection) -> None:
        """What is said on a new connection. One round trip more."""
        connection.run = ""
        try:
            connection.on_connect()
            connection.run = self._run_of(connection) if self._tells else ""
        except BaseException:
            connection.disconnect()  # half made, with an answer left perhaps
            raise

    def _run_of(self, connection: Connection) -> str:
        try:
            told = ask(connection, _about_the_server)
        except exceptions.NoPermissionError:
            return ""
        except exceptions.ResponseError as error:
            if "unknown command" not in str(error.args).lower():
                raise
            # A stand-in for a server has none, and hangs up on whoever asks.
            self._tells = False
            connection.disconnect()
            connection.connect()
            return ""
        found = _RUN.search(told)
        return found[1].decode() if found else ""


def ask(connection: Connection, request: Made) -> Any:
    """One request and its answer."""
    connection.send_packed_command([request(connection.run.encode())])
    return connection.read_response()


def ask_all(connection: Connection, requests: Sequence[Made]) -> list[Any]:
    """Several requests in one round trip; the refusals stand where the answers would."""
    run = connection.run.encode()
    connection.send_packed_command([request(run) for request in requests])
    answers: list[Any] = []
    for _ in requests:
        try:
            answers.append(connection.read_response())
        except exceptions.ResponseError as refusal:
            answers.append(refusal)
    return answers
