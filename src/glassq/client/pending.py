"""A call of an async task: nothing, until it is awaited."""

from __future__ import annotations

import warnings
from collections.abc import Coroutine, Generator
from types import FrameType
from typing import Any

from glassq.client.awaited import AwaitedProducer
from glassq.client.packing import Call
from glassq.model.jobs import Receipt


class PendingReceipt(Coroutine[Any, Any, Receipt]):
    """What `charge("o-1", 500)` is for an async task: `await` it to enqueue the call and have its receipt.

    It is a coroutine as others: it may be awaited once, by `asyncio.gather` or as a task too, and one that is
    forgotten has done nothing. Whoever forgets it is warned (`RuntimeWarning`), at the line of the call.
    """

    __slots__ = ("_call", "_coroutine", "_dismissed", "_line", "_path", "_producer")

    def __init__(self, producer: AwaitedProducer, call: Call, caller: FrameType) -> None:
        self._producer = producer
        self._call = call
        self._path, self._line = caller.f_code.co_filename, caller.f_lineno
        self._coroutine: Coroutine[Any, Any, Receipt] | None = None
        self._dismissed = False

    def _begun(self) -> Coroutine[Any, Any, Receipt]:
        if self._coroutine is None:
            self._coroutine = self._producer.aenqueue(self._call)
        return self._coroutine

    def __await__(self) -> Generator[Any, None, Receipt]:
        return self._begun().__await__()

    def send(self, value: Any) -> Any:
        """See `collections.abc.Coroutine`."""
        return self._begun().send(value)

    def throw(self, *failure: Any) -> Any:
        """See `collections.abc.Coroutine`."""
        return self._begun().throw(*failure)

    def close(self) -> None:
        """Give it up: nothing is enqueued, and nobody is warned. See `collections.abc.Coroutine`."""
        self._dismissed = True
        if self._coroutine is not None:
            self._coroutine.close()

    def __del__(self) -> None:
        if self._coroutine is None and not self._dismissed:
            name = self._call.task.func.__name__
            # No log and no event: this may run at any moment, in any thread, whatever locks that one holds.
            warnings.warn_explicit(
                f"a call of {name} was never awaited, so nothing was enqueued: write `await {name}(...)`, or "
                f"`{name}.enqueue(...)` in code that is not async",
                RuntimeWarning,
                self._path,
                self._line,
                source=self,
            )

    def __repr__(self) -> str:
        return f"<call of {self._call.task.name}, {'begun' if self._coroutine else 'not awaited yet'}>"
