"""What is wrong between fields that are right each for itself, and what is only odd."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping
from typing import Any

from glassq.config.tree import CODE, Origin
from glassq.errors import BadSetting
from glassq.model.names import nearest


def contradictions(settings: Mapping[str, Any], origins: Mapping[str, Origin]) -> Iterator[BadSetting]:
    """Names that stand twice, workers of queues that are not there, more than one token."""

    def wrong(path: str, problem: str, near: str | None = None) -> BadSetting:
        return origins.get(path, CODE).wrong(path, problem, near)

    workers, listed = settings.get("workers"), settings.get("queues")
    if workers is not None and not workers:
        yield wrong("workers", "has no worker; leave it out for one that serves all queues")
    first: dict[str, str] = {}
    for place, worker in enumerate(workers or ()):
        path = f"workers[{place}].name"
        name = worker.get("name")
        if name in first:
            yield wrong(path, f"{name} is the name of {first[name]} already; each worker has its own")
        elif name is not None:
            first[name] = f"workers[{place}]"
        for number, queue in enumerate(worker.get("queues", ())):
            if listed and queue not in listed:
                near = nearest(queue, listed)
                problem = f"{queue!r} is not among queues"
                advice = "" if near else f"; list it there (`{queue}: {{}}`)"
                yield wrong(f"workers[{place}].queues[{number}]", problem + advice, near)
    http = settings.get("http", {})
    if "token" in http and "token_file" in http:
        yield wrong("http.token_file", "and http.token exclude each other; keep one of them")


def oddities(settings: Mapping[str, Any], origins: Mapping[str, Origin]) -> Iterator[BadSetting]:
    """What can be meant so and seldom is."""
    workers = settings.get("workers", [])
    if workers and all("queues" in worker for worker in workers):
        served = {queue for worker in workers for queue in worker["queues"]}
        for name in settings.get("queues", {}):
            if name not in served:
                path = f"queues.{name}"
                yield origins.get(path, CODE).wrong(path, "no worker of this configuration serves it")
    http = settings.get("http", {})
    if "host" in http and not ("token" in http or "token_file" in http) and not _is_loopback(http["host"]):
        yield origins.get("http.host", CODE).wrong(
            "http.host", "can be reached from other machines: without $GLASSQ_HTTP_TOKEN it is not served"
        )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
