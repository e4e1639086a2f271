"""From a URL, or a client of the program's own, to connections set up as the store needs them."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any, Final, Protocol, cast
from urllib.parse import parse_qsl, unquote, urlsplit

import msgspec
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from glassq.errors import BadOption
from glassq.model.names import check_name, nearest
from glassq.stores.redis.keys import DEFAULT_NAMESPACE
from glassq.stores.redis.slots import Address

RIGHT_URLS: Final = (
    "redis://localhost:6379/0, rediss://user:password@host:6380/0 (TLS), unix:///run/redis.sock?db=0 or "
    "redis+cluster://host:7000,other:7000"
)
CLUSTER: Final = "redis+cluster"
SCHEMES: Final = ("redis", "rediss", "unix", CLUSTER)
_PLANNED = ("redis+sentinel",)
_OWN_OPTIONS = ("namespace", "allow_eviction")
_TLS_OPTIONS = ("ssl_cert_reqs", "ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_check_hostname")
_PORT = 6379
SOCKET_SECONDS: Final = 5.0
"""How long an answer may take before the connection is given up."""

# Set by the store for its own connections, whatever the program's client has them at.
_SETTINGS: dict[str, Any] = {
    "decode_responses": False,
    "protocol": 2,
    "socket_timeout": SOCKET_SECONDS,
    "socket_connect_timeout": SOCKET_SECONDS,
    "health_check_interval": 0,
    "retry_on_timeout": False,
    "retry_on_error": [],
}
_NETWORK_SETTINGS: dict[str, Any] = {"socket_keepalive": True}
_TAKEN_OVER = (
    "host",
    "port",
    "path",
    "db",
    "username",
    "password",
    "credential_provider",
    "client_name",
    "socket_type",
    "socket_keepalive_options",
)


class Wire(Protocol):
    """A connection of redis-py, which gives these no types. All raise `redis.exceptions.RedisError`."""

    _sock: socket.socket | None
    _parser: Any
    run: str
    """The run of the server, where it was asked for; see `Connections`."""

    def connect(self) -> None:
        """Open it."""

    def send_command(self, *parts: str | int) -> None:
        """Send a request."""

    def read_response(self) -> Any:
        """Wait for the next answer."""

    def disconnect(self) -> None:
        """Close it."""


class Location(msgspec.Struct, frozen=True, kw_only=True):
    """Where the server is and what the program allows. `address` is for people: it carries no password."""

    connection_class: type[Any]
    settings: dict[str, Any]
    address: str
    namespace: str = DEFAULT_NAMESPACE
    allow_eviction: bool = False
    nodes: tuple[Address, ...] = ()
    """Of a cluster, some of its nodes: they know the others."""

    @classmethod
    def parse(cls, url: str) -> Location:
        """Read a URL; `BadOption` says what is wrong with it and shows right ones. Connects to nothing."""
        scheme, _, _ = url.partition("://")
        if scheme in _PLANNED:
            raise BadOption("url", f"{scheme}:// is not built yet; use one like {RIGHT_URLS}")
        if scheme not in SCHEMES:
            raise BadOption("url", f"it is no Redis URL; use one like {RIGHT_URLS}")
        nodes: tuple[Address, ...] = ()
        try:
            if scheme == CLUSTER:
                url, nodes = _first_of(url)
            parts = urlsplit(url)
            host, port = parts.hostname or "localhost", parts.port or _PORT
        except ValueError as error:
            # What urlsplit says quotes what it could not read, which may be part of a password.
            kind = type(error).__name__
            raise BadOption(
                "url",
                f"its host or port cannot be read ({kind}); in a password write / # ? @ as %2F %23 %3F %40; "
                f"use one like {RIGHT_URLS}",
            ) from None
        options = _options(parts.query, scheme)
        settings: dict[str, Any] = {
            name: unquote(value)
            for name, value in (("username", parts.username), ("password", parts.password))
            if value
        }
        if scheme == "unix":
            settings |= {"path": unquote(parts.path), "db": _database(options.pop("db", "0"))}
            address = f"unix://{parts.path}"
            if not parts.path:
                raise BadOption("url", f"a unix:// URL names a socket; use one like {RIGHT_URLS}")
        else:
            db = _database(unquote(parts.path).strip("/") or options.pop("db", "0"))
            settings |= {"host": host, "port": port, "db": db}
            address = f"{scheme}://{host}:{port}/{db}"
        if nodes:
            if settings["db"]:
                raise BadOption("url", f"a cluster has no databases but 0; use one like {RIGHT_URLS}")
            address = f"{scheme}://{','.join(map(_told, nodes))}"
        return cls(
            connection_class=_CLASSES[scheme],
            address=address,
            namespace=check_name("namespace", options.pop("namespace", DEFAULT_NAMESPACE)),
            allow_eviction=options.pop("allow_eviction", "0") == "1",
            nodes=nodes,
            settings=settings | _tls(options) | _settings(_CLASSES[scheme]),
        )

    @classmethod
    def of_client(cls, client: object) -> Location:
        """The place a ready client speaks to. Its own connections and settings are left alone."""
        pool: Any = getattr(client, "connection_pool", None)
        if not isinstance(client, redis.Redis) or hasattr(pool, "sentinel_manager"):
            given = type(client).__name__
            raise BadOption("url", f"no store is built on {given} yet; use redis.Redis or {RIGHT_URLS}")
        known: dict[str, Any] = pool.connection_kwargs
        settings = {
            name: value
            for name, value in known.items()
            if name in _TAKEN_OVER or (name.startswith("ssl_") and value is not None)
        }
        path = known.get("path")
        host, port, db = known.get("host", "localhost"), known.get("port", 6379), known.get("db", 0)
        return cls(
            connection_class=pool.connection_class,
            address=f"unix://{path}" if path else f"redis://{host}:{port}/{db}",
            settings=settings | _settings(pool.connection_class),
        )

    @property
    def in_cluster(self) -> bool:
        """Whether this is a cluster, or a node of one."""
        return bool(self.nodes)

    def at(self, node: Address) -> Location:
        """One node of this cluster."""
        host, port = node
        return msgspec.structs.replace(
            self, settings={**self.settings, "host": host, "port": port}, address=f"redis://{_told(node)}"
        )

    @property
    def shareable(self) -> bool:
        """Whether one thread may send while another one reads: not on the state TLS keeps."""
        return not issubclass(self.connection_class, redis.SSLConnection)

    def pool(self, greet: Callable[[Any], None] | None = None) -> redis.ConnectionPool:
        """Connections of the store's own. `greet` is called with each that was made, and has to sign in."""
        return redis.ConnectionPool(
            connection_class=self.connection_class,
            redis_connect_func=greet,
            # redis-py would repeat requests by itself, ten times: only the store knows which may be.
            retry=Retry(NoBackoff(), 0),
            **self.settings,
        )

    def wire(self, greet: Callable[[Any], None] | None = None) -> Wire:
        """One more connection: for somebody who blocks on it, or to be shared. `greet`: see `pool`."""
        return cast(
            "Wire",
            self.connection_class(retry=Retry(NoBackoff(), 0), redis_connect_func=greet, **self.settings),
        )


_CLASSES: dict[str, type[Any]] = {
    "redis": redis.Connection,
    "rediss": redis.SSLConnection,
    "unix": redis.UnixDomainSocketConnection,
    CLUSTER: redis.Connection,
}


def _first_of(url: str) -> tuple[str, tuple[Address, ...]]:
    """A URL of several nodes as one of the first of them, and all of them. `ValueError` for what is none."""
    scheme, _, rest = url.partition("://")
    end = min((rest.find(mark) for mark in "/?#" if mark in rest), default=len(rest))
    user, at, hosts = rest[:end].rpartition("@")
    nodes = []
    for each in hosts.split(","):
        parts = urlsplit(f"//{each}")
        if not parts.hostname:
            raise ValueError("a node without a host")
        nodes.append((parts.hostname, parts.port or _PORT))
    return f"{scheme}://{user}{at}{hosts.partition(',')[0]}{rest[end:]}", tuple(nodes)


def _told(node: Address) -> str:
    host, port = node
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _settings(connection_class: type[Any]) -> dict[str, Any]:
    if issubclass(connection_class, redis.UnixDomainSocketConnection):
        return _SETTINGS  # a file of this machine has no network to keep alive, and redis-py refuses to
    return _SETTINGS | _NETWORK_SETTINGS


def _options(query: str, scheme: str) -> dict[str, str]:
    known = [*_OWN_OPTIONS, "db", *(_TLS_OPTIONS if scheme == "rediss" else ())]
    options = dict(parse_qsl(query, keep_blank_values=True))
    for name, value in options.items():
        if name not in known:
            raise BadOption(name, f"is not an option of a {scheme}:// URL", nearest(name, known))
        if name in ("allow_eviction", "ssl_check_hostname") and value not in ("0", "1"):
            raise BadOption(name, f"is 0 or 1, got {value!r}")
    return options


def _tls(options: dict[str, str]) -> dict[str, Any]:
    return {name: value == "1" if name == "ssl_check_hostname" else value for name, value in options.items()}


def _database(text: str) -> int:
    if not text.isdecimal():
        raise BadOption("url", f"a database is a number, got {text!r}; use one like {RIGHT_URLS}")
    return int(text)
