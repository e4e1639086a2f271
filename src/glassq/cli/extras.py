"""Optional packages that a command needs, asked for before it does anything."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.util import find_spec

from glassq.errors import MissingExtra

_MODULES = {
    "otel": ("opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http"),
    "server": ("uvicorn",),
}


def require_extras(feature: str, *extras: str) -> None:
    """`MissingExtra` with the one command that installs all that is missing."""
    missing = [extra for extra in sorted(extras) if not _installed(_MODULES[extra])]
    if missing:
        raise MissingExtra(feature, ",".join(["cli", *missing]))


def _installed(modules: Iterable[str]) -> bool:
    try:
        return all(find_spec(module) is not None for module in modules)
    except ModuleNotFoundError:  # a parent package is missing
        return False
