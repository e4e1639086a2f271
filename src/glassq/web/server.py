"""An HTTP server on a thread of its own, so that no busy task can starve the probes."""

from __future__ import annotations

import errno
import ipaddress
import socket
import threading
from typing import Any

from glassq.errors import ConfigurationError, MissingExtra
from glassq.web.asgi import ASGIApp

SHUTDOWN_SECONDS = 2
"""What requests under way get when the server closes."""
MAX_CONNECTIONS = 64
"""Beyond these, requests are answered 503 at once: probes and scrapers are few."""
MAX_PORT = 65535
_BACKLOG = 128


class HttpServer:
    """A running server. Daemon thread: it never keeps the process alive."""

    def __init__(self, app: ASGIApp, listener: socket.socket) -> None:
        try:
            import uvicorn
        except ImportError:
            listener.close()
            raise MissingExtra("serving HTTP", "server") from None
        host, port = listener.getsockname()[:2]
        self.url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        config = uvicorn.Config(
            app,
            lifespan="off",
            loop="asyncio",
            ws="none",
            log_config=None,  # the application decides about logging
            access_log=False,
            log_level="warning",
            server_header=False,
            limit_concurrency=MAX_CONNECTIONS,
            timeout_graceful_shutdown=SHUTDOWN_SECONDS,
        )
        self._listener = listener
        self._server = uvicorn.Server(config)
        # Not the main thread, so uvicorn installs no signal handlers: those belong to the application.
        self._thread = threading.Thread(
            target=self._server.run, args=([listener],), name="glassq-http", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Stop listening, let requests under way end, stop the thread. Idempotent; takes up to about 3 s."""
        self._server.should_exit = True
        self._thread.join(SHUTDOWN_SECONDS + 1)
        self._listener.close()


def serve(app: ASGIApp, *, host: str, port: int, token: str | None) -> HttpServer:
    """Serve `app` at once; port 0 takes a free one (see `HttpServer.url`).

    Raises `ConfigurationError` when the address cannot be had, or when it can be reached from other
    machines and there is no `token` (the one `app` was built with), and `MissingExtra` without uvicorn.
    """
    addresses = _addresses(host, port)
    if not token and not all(_loopback(address[0]) for _, address in addresses):
        raise ConfigurationError(
            f"{host or 'this address'} can be reached from other machines, and metrics tell a lot: "
            "give a token (token=..., --http-token-file, $GLASSQ_HTTP_TOKEN) or bind 127.0.0.1"
        )
    return HttpServer(app, _bound(*addresses[0], host=host))


Address = tuple[Any, ...]


def _addresses(host: str, port: int) -> list[tuple[int, Address]]:
    """Family and socket address for all that `host` stands for, IPv4 first; empty means every interface."""
    if not 0 <= port <= MAX_PORT:
        raise ConfigurationError(f"{port} is not a port; use 0 (any free one) to {MAX_PORT}")
    try:
        found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise ConfigurationError(f"{host!r} is not an address of this machine: {error}") from None
    addresses = [(int(family), address) for family, _, _, _, address in found]
    return sorted(addresses, key=lambda each: each[0] != socket.AF_INET)


def _loopback(host: str) -> bool:
    return ipaddress.ip_address(host.partition("%")[0]).is_loopback


def _bound(family: int, address: Address, *, host: str) -> socket.socket:
    """A listening socket: connections queue from now on, even before the server's loop turns."""
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        taken = error.errno == errno.EADDRINUSE
        why = "is taken by another program" if taken else f"cannot be had: {error.strerror}"
        where = f"port {address[1]} on {host or 'all interfaces'}"
        raise ConfigurationError(f"{where} {why}; choose another port, or 0 for any free one") from None
    return listener
