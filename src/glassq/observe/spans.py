"""Where our spans come from, and what they have in common."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable
from functools import cache, partial
from operator import contains
from urllib.parse import urlsplit

from opentelemetry import trace
from opentelemetry.attributes import BoundedAttributes
from opentelemetry.context import get_current
from opentelemetry.environment_variables import OTEL_PYTHON_TRACER_PROVIDER
from opentelemetry.trace import (
    NoOpTracer,
    NoOpTracerProvider,
    ProxyTracerProvider,
    Span,
    Tracer,
    TracerProvider,
)

from glassq.forking import begin_in_children
from glassq.observe.starting import Attributes, Describable, OwnWay, Starter
from glassq.version import __version__

SCHEMA_URL = "https://opentelemetry.io/schemas/1.44.0"
FLUSH_SECONDS = 2.0
"""How long the end of a worker may wait for a collector that does not answer."""

MAX_QUEUES_REMEMBERED = 1024

_NO_PROVIDERS = (ProxyTracerProvider, NoOpTracerProvider)


def this_process() -> str:
    """What names this process in its spans."""
    return f"{socket.gethostname()}-{os.getpid()}"


class SpanSource:
    """The tracer of one application on one store. `address` and `client_id` become attributes; a forked child
    is a client of its own."""

    def __init__(self, *, address: str, client_id: Callable[[], str] = this_process) -> None:
        self._server = _server(address)
        self._client_id = client_id
        self._tracer: tuple[TracerProvider | None, Starter] = (None, OwnWay(NoOpTracer()))
        begin_in_children(self)

    def begin(self) -> None:
        """What is the same in all spans of this process."""
        self._constant: Attributes = {
            "messaging.system": "glassq",
            "messaging.client.id": self._client_id(),
            **self._server,
        }
        self._common: dict[tuple[str, str, str], Attributes] = {}

    def tracer(self) -> Starter:
        """The tracer of the provider of this moment: one may be installed after the application was made.
        Kept per provider, because making a tracer costs more than making a span."""
        provider = _installed.get("_TRACER_PROVIDER") or trace.get_tracer_provider()
        known, tracer = self._tracer
        if known is not provider:
            tracer = _quickest(provider.get_tracer("glassq", __version__, schema_url=SCHEMA_URL))
            self._tracer = (provider, tracer)
        return tracer

    def describe(self, span: Span, operation: str, kind: str, queue: str, extra: Attributes) -> None:
        """Say of a span what all of them have in common, with what this one adds."""
        say(span, self.common(operation, kind, queue) | extra)

    def common(self, operation: str, kind: str, queue: str) -> Attributes:
        """What all spans of this kind say."""
        found = self._common.get((operation, kind, queue))
        if found is not None:
            return found
        if len(self._common) >= MAX_QUEUES_REMEMBERED:
            self._common.clear()
        common = self._common[operation, kind, queue] = {
            **self._constant,
            "messaging.operation.name": operation,
            "messaging.operation.type": kind,
            "messaging.destination.name": queue,
        }
        return common


def say(span: Span, attributes: Attributes) -> None:
    """Say all that there is to say of a span."""
    if isinstance(span, Describable):
        span.describe(attributes)
    else:
        span.set_attributes(attributes)


def _quickest(tracer: Tracer) -> Starter:
    """Who starts a tracer's spans in the least time: without the SDK there is nothing to be had."""
    if type(tracer).__module__ != "opentelemetry.sdk.trace":
        return OwnWay(tracer)
    from glassq.observe.quickspans import quick

    return quick(tracer)


# What our links say: made once, as it never changes.
CREATION, UPSTREAM, PREVIOUS_ATTEMPT, PREDECESSOR = (
    BoundedAttributes(attributes={"glassq.link": kind})
    for kind in ("creation", "upstream", "previous_attempt", "predecessor")
)
NOTHING_SAID = BoundedAttributes()


def nobody_traces() -> bool:
    """Whether there is neither a provider nor a trace to continue: every span would be nothing."""
    # A context with nothing in it has no span, which is known in fewer steps.
    return not is_provided() and (
        not get_current() or not trace.get_current_span().get_span_context().is_valid
    )


_installed = vars(trace)


def is_provided() -> bool:
    """Whether somebody has installed a provider, or names one in the environment."""
    # Asked for with every job. Where there is none the library looks into the environment each time, which
    # costs more than all the rest of an attempt that nobody traces.
    if _installed.get("_TRACER_PROVIDER", trace) is None and not _is_named():
        return False
    return not isinstance(trace.get_tracer_provider(), _NO_PROVIDERS)


def nobody_provides() -> bool:
    """Whether nobody has: an attempt of a job that brings no trace along has no span then."""
    return not is_provided()


def asks_for_provider() -> Callable[[], bool]:
    """Asks whether nobody provides, which is done before each job: where that can be, without a step of the
    interpreter. A provider that does nothing counts as one then: it is asked, which costs more."""
    if "_TRACER_PROVIDER" not in _installed or _is_named():
        return nobody_provides
    return partial(contains, _installed.items(), ("_TRACER_PROVIDER", None))


@cache
def _is_named() -> bool:
    return OTEL_PYTHON_TRACER_PROVIDER in os.environ


def flush_spans() -> None:
    """Let the provider hand on what it holds, for a moment at most. An API without an SDK holds nothing."""
    force = getattr(trace.get_tracer_provider(), "force_flush", None)
    if force is None:
        return
    # On a thread, because exporters wait for their own, longer timeouts.
    flushing = threading.Thread(target=force, name="glassq-flush", daemon=True)
    try:
        flushing.start()
    except RuntimeError:  # the interpreter is ending, and the SDK flushes by itself
        return
    flushing.join(FLUSH_SECONDS)


def _server(address: str) -> Attributes:
    """`server.address` and `server.port` of a store that has a server; nothing for a file."""
    parts = urlsplit(address)
    found: Attributes = {}
    if parts.hostname:
        found["server.address"] = parts.hostname
        # A list of cluster nodes has several ports: none of them is "the" port.
        port = parts.netloc.rpartition(":")[2]
        if "," not in parts.netloc and port.isdecimal():
            found["server.port"] = int(port)
    elif parts.scheme == "unix":
        found["server.address"] = parts.path
    return found
