"""What `@app.fifo(...)` does to a function: looks whether it can be a task, and registers it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine, Iterable, Mapping
from typing import Any, ParamSpec, TypeVar, overload

from glassq.client.awaited import AwaitedProducer
from glassq.client.options import check_ttl
from glassq.client.task import AsyncTask, Task, check_key_of
from glassq.codec import ArgumentCodec, Serializer
from glassq.errors import BadOption
from glassq.model.jobs import Priority
from glassq.model.names import check_name, nearest
from glassq.model.quantities import check_priority, check_seconds
from glassq.registry import KeyOf, Registry, TaskDefinition, check_task_option, task_name

P = ParamSpec("P")
R = TypeVar("R")


class Declaring:
    """Makes a function a task, with options that were checked."""

    def __init__(
        self,
        registry: Registry,
        producer: AwaitedProducer,
        serializer: Serializer,
        *,
        key: KeyOf,
        name: str | None,
        options: dict[str, Any],
    ) -> None:
        self._registry = registry
        self._producer = producer
        self._serializer = serializer
        self._key = key
        self._name = name
        self._options = options

    @overload
    def __call__(  # type: ignore[overload-overlap]
        self, func: Callable[P, Coroutine[Any, Any, R]]
    ) -> AsyncTask[P, R]: ...

    @overload
    def __call__(self, func: Callable[P, R]) -> Task[P, R]: ...

    def __call__(self, func: Callable[..., Any]) -> Task[..., Any] | AsyncTask[..., Any]:
        """The task. Raises `BadOption`, `DuplicateTask`."""
        _refuse_generators(func)
        signature = inspect.signature(func)
        check_key_of(self._key, signature, func)
        name = check_name("name", self._name if self._name is not None else task_name(func))
        definition = TaskDefinition(
            name=name,
            func=func,
            signature=signature,
            codec=ArgumentCodec(signature, func, self._serializer, name),
            key=self._key,
            is_async=_is_async(func),
            **self._options,
        )
        self._registry.add(definition)
        return (AsyncTask if definition.is_async else Task)(definition, self._producer)


def refuse_unknown(given: Iterable[str], known: Iterable[str]) -> None:
    """`BadOption` for the first of what is given, if anything is: no task has such an option."""
    for option in given:
        raise BadOption(option, "is not an option of a task", nearest(option, known))


def checked(
    *,
    queue: str,
    on_success: Callable[..., Any] | None,
    on_error: Callable[..., Any] | None,
    retries: Mapping[str, Any],
    timeout: float | None,
    ttl: float | None,
    result_ttl: float | None,
    priority: Priority,
) -> dict[str, Any]:
    """The options of a `TaskDefinition` that a decorator was given; None in `retries`, or as `result_ttl`, is
    left to the application's defaults. Raises `BadOption`."""
    defaulted = {**retries, "result_ttl": result_ttl}
    said = {option: value for option, value in defaulted.items() if value is not None}
    level = check_priority("priority", priority)
    lifetime = None if ttl is None else check_ttl("ttl", ttl)
    for option, value in said.items():
        check_task_option(option, value)
    if timeout is not None:
        check_seconds("timeout", timeout, above_zero=True)
    for option, callback in (("on_success", on_success), ("on_error", on_error)):
        if callback is not None and not callable(callback):
            raise BadOption(option, f"is a callable, got {type(callback).__name__}")
    return {
        "queue": queue,
        "on_success": on_success,
        "on_error": on_error,
        "ttl": lifetime,
        "priority": level,
        "timeout": timeout,
        "left_out": tuple(option for option in defaulted if option not in said),
        **said,
    }


def _is_async(func: Callable[..., Any]) -> bool:
    """Whether calling it makes a coroutine: `async def`, also of an object that is called."""
    return inspect.iscoroutinefunction(func) or inspect.iscoroutinefunction(getattr(func, "__call__", None))  # noqa: B004


def _refuse_generators(func: Callable[..., Any]) -> None:
    if inspect.isasyncgenfunction(func):
        raise BadOption(
            func.__qualname__,
            "is an async generator: a job runs to its end and hands nothing out meanwhile; make it an "
            "async def without yield",
        )
