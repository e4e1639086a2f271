"""What an application shows of itself over HTTP."""

from __future__ import annotations

from prometheus_client import CollectorRegistry

from glassq.observe.health import Health
from glassq.web.asgi import ASGIApp, build_asgi
from glassq.web.server import HttpServer, serve


class Served:
    """The part of `Glassq` that serves pages."""

    metrics_registry: CollectorRegistry
    health: Health
    _servers: list[HttpServer]

    def asgi(self, *, token: str | None = None) -> ASGIApp:
        """An ASGI application with `/metrics`, `/livez`, `/readyz`, `/startupz` and `/healthz`, to be mounted
        or served by any ASGI server. With `token`, metrics and details need it as a bearer token."""
        return build_asgi(registry=self.metrics_registry, health=self.health, token=token)

    def serve_http(
        self, host: str = "127.0.0.1", port: int = 9464, *, token: str | None = None
    ) -> HttpServer:
        """Serve `asgi()` from a thread of its own until `close()`. Needs the extra `server`.

        Raises `ConfigurationError` for a port that is taken, and for a host outside loopback without a token.
        """
        server = serve(self.asgi(token=token), host=host, port=port, token=token)
        self._servers.append(server)
        return server
