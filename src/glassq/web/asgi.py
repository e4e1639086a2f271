"""The ASGI application, written by hand: five paths do not need a framework.

Runs under any server whose loop is asyncio's, alone or mounted below a path of another application.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

from prometheus_client import CollectorRegistry

from glassq.observe.health import Health
from glassq.web.routes import Routes

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]


def build_asgi(
    *, registry: CollectorRegistry, health: Health, token: str | None = None, detail: bool = True
) -> ASGIApp:
    """`/metrics`, `/livez`, `/readyz`, `/startupz` and `/healthz`.

    With a `token`, metrics and details need it as a bearer token; without one, `detail=False` leaves
    nothing but the status in health answers. `ConfigurationError` for an empty token.
    """
    routes = Routes(registry, health, token=token, detail=detail)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
        elif scope["type"] == "http":
            await _http(routes, scope, send)
        else:
            raise RuntimeError(f"only HTTP is served here, not {scope['type']}")

    return app


async def _http(routes: Routes, scope: Scope, send: Send) -> None:
    request = (scope["method"], _path(scope), _headers(scope["headers"]))
    if routes.slow(request[1]):
        response = await asyncio.to_thread(routes.respond, *request)
    else:
        response = routes.respond(*request)
    headers = [(name.lower().encode(), value.encode("latin-1")) for name, value in response.headers]
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    await send({"type": "http.response.body", "body": response.body})


async def _lifespan(receive: Receive, send: Send) -> None:
    """Nothing to start or stop; servers ask nevertheless."""
    while True:
        message = await receive()
        kind = message["type"]
        await send({"type": f"{kind}.complete"})
        if kind == "lifespan.shutdown":
            return


def _path(scope: Scope) -> str:
    """The path below where this application is mounted."""
    path = str(scope["path"])
    root = str(scope.get("root_path", ""))
    return path.removeprefix(root) if root and path.startswith(f"{root}/") else path


def _headers(raw: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Names in lower case; repeated headers joined, as HTTP allows for those read here."""
    headers: dict[str, str] = {}
    for name, value in raw:
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        headers[key] = f"{headers[key]}, {text}" if key in headers else text
    return headers
