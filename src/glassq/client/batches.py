"""Many calls at once: how far they are read, in which chunks they are sent, what is known when one fails."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final, Protocol, TypeVar

from glassq.errors import EnqueueError, EnqueueUncertain
from glassq.model.jobs import Receipt
from glassq.storage import MAX_APPEND_BYTES, MAX_APPEND_JOBS

ENVELOPE_BYTES: Final = 2048
"""What a job's envelope may add to its payload: name, trace headers (tracestate is at most 512)."""

_WINDOW_CALLS, _WINDOW_BYTES = 1000, 8 * MAX_APPEND_BYTES
"""So much of an iterator is checked before any of it is stored: enough for full chunks where calls of several
queues take turns, and never so much that memory would grow with its length."""


class Packed(Protocol):
    """A call that is checked, and whose arguments are bytes."""

    @property
    def payload(self) -> bytes:
        """Its arguments."""
        ...


C = TypeVar("C")
P = TypeVar("P", bound=Packed)


def windows(calls: Iterable[C], pack: Callable[[C], P]) -> Iterator[list[P]]:
    """Calls that are checked together, before the first of them is stored: all of a list, as they are in
    memory anyhow, and so many of an iterator, which may have no end."""
    if isinstance(calls, Sequence):
        yield [pack(call) for call in calls]
        return
    window: list[P] = []
    size = 0
    for call in calls:
        packed = pack(call)
        window.append(packed)
        size += len(packed.payload)
        if len(window) == _WINDOW_CALLS or size >= _WINDOW_BYTES:
            yield window
            window, size = [], 0
    if window:
        yield window


def chunks(window: Sequence[P], queue_of: Callable[[P], str]) -> list[list[int]]:
    """The places of calls that one append takes: of one queue, or shard of one, as many as fit, in the order
    of the calls. Chunks are in the order of their first calls, so those of one queue are in order, too."""
    found: list[list[int]] = []
    filling: dict[str, list[int]] = {}
    sizes: dict[str, int] = {}
    for at, packed in enumerate(window):
        queue, needs = queue_of(packed), len(packed.payload) + ENVELOPE_BYTES
        chunk = filling.get(queue)
        if chunk is None or len(chunk) == MAX_APPEND_JOBS or sizes[queue] + needs > MAX_APPEND_BYTES:
            chunk = filling[queue] = []
            sizes[queue] = 0
            found.append(chunk)
        chunk.append(at)  # order: calls of one queue reach it as they were made
        sizes[queue] += needs
    return found


@contextmanager
def telling(accepted: Mapping[int, Receipt], asked: Sequence[int] = ()) -> Iterator[None]:
    """Whatever ends a batch in this block tells which calls are in by then, by their places in the batch; and
    where the answer was lost, that those which were `asked` for may be. What is not an `EnqueueError` becomes
    the cause of one, unless nothing is in."""
    try:
        yield
    except EnqueueError as error:
        error.accepted = {**accepted, **error.accepted}
        if isinstance(error, EnqueueUncertain) and not error.uncertain:
            error.uncertain = frozenset(asked)
        if asked:
            error.add_note(f"a batch ended with this, at the chunk that begins with its call {asked[0]}")
        raise
    except Exception as error:  # licensed: what is in must be told, whatever came after it
        if not accepted:
            raise
        failure = EnqueueError(f"{len(accepted)} calls were enqueued, then {type(error).__name__}: {error}")
        failure.accepted = dict(accepted)
        raise failure from error
