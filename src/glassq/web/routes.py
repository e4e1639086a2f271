"""What each path answers. Pure: a request comes in as values, a response goes out as a value."""

from __future__ import annotations

import hmac
import json
from collections.abc import Callable, Mapping
from http import HTTPStatus

import msgspec
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from glassq.errors import ConfigurationError
from glassq.observe.health import Health, HealthReport

METRICS = "/metrics"
HEALTH_TYPE = "application/health+json"


class Response(msgspec.Struct, frozen=True):
    """A whole answer, content length included. The body of a HEAD is empty."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes


class Routes:
    """The five paths. `token` guards metrics and details; without one, `detail` says whether the health
    paths tell more than their status."""

    def __init__(
        self, registry: CollectorRegistry, health: Health, *, token: str | None = None, detail: bool = True
    ) -> None:
        if token is not None and not token.strip():
            raise ConfigurationError(
                "the HTTP token is empty; give one that cannot be guessed, or none at all"
            )
        self._registry = registry
        self._token = token.encode() if token is not None else None
        self._detail = detail
        self._reports: dict[str, Callable[[], HealthReport]] = {
            "/livez": health.live,
            "/readyz": health.ready,
            "/startupz": health.startup,
            "/healthz": health.full,
        }

    def slow(self, path: str) -> bool:
        """Whether answering may take longer than reading memory: then it belongs on a thread."""
        return path == METRICS

    def respond(self, method: str, path: str, headers: Mapping[str, str]) -> Response:
        """The answer to one request; header names come in lower case."""
        report = self._reports.get(path)
        if report is None and path != METRICS:
            known = ", ".join((METRICS, *self._reports))
            return _finished(method, HTTPStatus.NOT_FOUND, _problem(f"nothing is here; there are {known}"))
        if method not in ("GET", "HEAD"):
            refused = _problem("only GET and HEAD are answered here")
            return _finished(method, HTTPStatus.METHOD_NOT_ALLOWED, refused, ("Allow", "GET, HEAD"))
        allowed = self._token is None or self._authorized(headers.get("authorization", ""))
        if report is None:
            return self._metrics(method, headers.get("accept", "")) if allowed else _unauthorized(method)
        if path == "/healthz" and not allowed:
            return _unauthorized(method)
        return self._health(method, report(), detail=allowed and (self._detail or self._token is not None))

    def _authorized(self, given: str) -> bool:
        scheme, _, token = given.partition(" ")
        # A header is bytes that were read as Latin-1, whatever they stand for.
        same = hmac.compare_digest(token.strip().encode("latin-1", "replace"), self._token or b"")
        return scheme.lower() == "bearer" and same

    def _metrics(self, method: str, accept: str) -> Response:
        encode, content_type = choose_encoder(accept)
        return _finished(method, HTTPStatus.OK, encode(self._registry), content_type=content_type)

    @staticmethod
    def _health(method: str, report: HealthReport, *, detail: bool) -> Response:
        body = msgspec.json.encode(report if detail else {"status": report.status})
        status = HTTPStatus.OK if report.ok else HTTPStatus.SERVICE_UNAVAILABLE
        return _finished(method, status, body, content_type=HEALTH_TYPE)


def _unauthorized(method: str) -> Response:
    body = _problem("this needs the header 'Authorization: Bearer TOKEN'")
    return _finished(method, HTTPStatus.UNAUTHORIZED, body, ("WWW-Authenticate", "Bearer"))


def _problem(text: str) -> bytes:
    return json.dumps({"error": text}).encode()


def _finished(
    method: str,
    status: HTTPStatus,
    body: bytes,
    *headers: tuple[str, str],
    content_type: str = "application/json",
) -> Response:
    """With the headers every answer has. Health and metrics are of this moment: nothing may keep them."""
    every = (
        ("Content-Type", content_type),
        ("Content-Length", str(len(body))),
        ("Cache-Control", "no-store"),
        ("X-Content-Type-Options", "nosniff"),
        *headers,
    )
    return Response(int(status), every, b"" if method == "HEAD" else body)
