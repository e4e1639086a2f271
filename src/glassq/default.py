"""The default application of a program that names none: `fifo`, `configure`, `ThreadedWorker`."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Self, TypeVar

from glassq.app import Glassq
from glassq.client.declaring import Declaring
from glassq.worker.engine import Worker

if TYPE_CHECKING:
    from redis import Redis  # see app.py

P = ParamSpec("P")
R = TypeVar("R")

_AT_LEAST = 16

_lock = threading.Lock()
_app: Glassq | None = None


def default_app() -> Glassq:
    """The application behind `glassq.fifo`; made at its first use. It opens its store later still, so
    `configure` may follow the decorators."""
    global _app  # noqa: PLW0603 - one per process is what "default" means
    with _lock:
        if _app is None:
            _app = Glassq()
        return _app


def configure(url: str | Redis) -> Glassq:
    """Say where the default application keeps its jobs, before its first call or worker.

    Raises `ConfigurationError`, naming both, when it already uses another store.
    """
    app = default_app()
    app.use(url)
    return app


def _taking(_: Callable[Concatenate[Glassq, P], R]) -> Callable[[Callable[..., R]], Callable[P, R]]:
    """The arguments of a method, as type checkers see them, for a function that hands them on to it."""
    return lambda func: func


@_taking(Glassq.fifo)  # type: ignore[arg-type]  # mypy sees that `self` might be given by name
def fifo(*args: Any, **options: Any) -> Declaring:
    """`Glassq.fifo` on the default application."""
    return default_app().fifo(*args, **options)


class ThreadedWorker:
    """A worker of the default application, in threads of the program (pyfiq's name and calls).

    `redis_url` becomes the default application's store, as by `configure`; without one it keeps its own.
    `concurrency`: lanes run at the same time; if not given, as many as there are queues at its start, and at
    least 16, so that no queue without keys waits for another one. Threads begin when there is work for them.
    Raises `ConfigurationError`, naming both, when that application already uses another store.
    """

    def __init__(self, redis_url: str | Redis | None = None, *, concurrency: int | None = None) -> None:
        self._app = default_app() if redis_url is None else configure(redis_url)
        self._concurrency = concurrency
        self._worker: Worker | None = None

    def start(self) -> Self:
        """Begin to work on all queues of the default application, those declared later too. Once it runs,
        nothing more; after a stop, again."""
        if self._worker is None or not self._worker.running:
            several = max(_AT_LEAST, len(self._app.registry.queues()))
            self._worker = self._app.worker(concurrency=self._concurrency or several).start()
        return self

    def stop(self, drain: float = 10.0) -> bool:
        """Let running jobs end and give all lanes back; True when that is done. May come before `start`."""
        return self._worker is None or self._worker.stop(drain)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()
