"""How an application fits into a web server: its pages, and its life beside that of the server."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Unpack

from prometheus_client import CollectorRegistry

from glassq.errors import BadOption
from glassq.observe.health import Health
from glassq.stores.lazy import LazyStore
from glassq.web.asgi import ASGIApp, build_asgi
from glassq.web.lifespan import Lifespan, lifespan_with, opened
from glassq.web.server import HttpServer, serve
from glassq.worker.options import WorkerOption


class LifespanOption(WorkerOption, total=False):
    """What `app.lifespan(...)` takes for its worker, for type checkers: what `app.async_worker` does."""

    queues: Sequence[str] | None
    concurrency: int
    drain: float


class Served:
    """The part of `Glassq` that web servers and frameworks see."""

    metrics_registry: CollectorRegistry
    health: Health
    async_worker: Callable[..., AbstractAsyncContextManager[object]]
    _store: LazyStore
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

    def lifespan(
        self, own: Lifespan | None = None, *, worker: bool = True, **options: Unpack[LifespanOption]
    ) -> Lifespan:
        """For FastAPI, Starlette, and whatever else takes a lifespan: `FastAPI(lifespan=app.lifespan())`.

        While the application serves, a worker works on its event loop, made by `async_worker` with these
        `options`; at its end running jobs have `drain` seconds (10). `worker=False`: none; the store is
        opened before the first request all the same.

        `own` is the application's own lifespan; what it sets up is there before the first job begins and
        until the last one has ended. What `async_worker` raises is raised when the application begins, as is
        `StorageError` while a worker cannot reach its store.

        The store stays open at the end, whoever opened it: sync jobs that outlast the drain renew their lease
        there, what other threads and other lifespans still enqueue goes there, one in memory would be lost,
        and an application may begin again, as its tests have it do. The end of the process closes it. To have
        it closed before, call `close` at the end of `own`; the application cannot begin again then.
        """
        if worker:
            return lifespan_with(lambda: self.async_worker(**options), own)
        if options:
            raise BadOption(next(iter(options)), "is an option of the worker: leave it out, or worker=False")
        return lifespan_with(lambda: opened(self._store.get), own)
