"""Which calls are plain: known of a task once, and not asked of each of its jobs."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import repeat
from operator import attrgetter
from typing import Any

import msgspec

from glassq.codec import UNREADABLE, Beginning, Reader, plain_beginning
from glassq.errors import CorruptRecord
from glassq.model.jobs import StoredJob
from glassq.registry import Registry, TaskDefinition

Call = tuple[TaskDefinition, dict[str, str], tuple[Any, ...], dict[str, Any]]
"""What is to be called, the headers that came with it, and its arguments."""

_LONG = 0.1
"""Seconds from which on a job counts as long: what is told of its beginning is not to wait for its end."""
_MOST_BYTES = 65_536
"""Of bodies that are opened together: the first of these jobs waits for that, and arguments take room."""
_NEVER = {None}
_BODY, _EXPIRY = attrgetter("body"), attrgetter("expires_at")
_NOT_ALIKE = (CorruptRecord, *UNREADABLE)


class _Like(msgspec.Struct, frozen=True):
    """What is known of all calls that begin like one that was plain, as of an edition of the registry."""

    edition: int
    beginning: Beginning
    decode: Reader
    task: TaskDefinition
    may_read_ahead: bool


class PlainTasks:
    """The tasks of one worker of whose successes nothing is told but that, and which run in a lane's thread.

    What is known of a task holds until the registry has another one of its name. Any thread may ask: what one
    notes is at worst found out by another one again.
    """

    def __init__(self, registry: Registry, serializer: str) -> None:
        self._registry = registry
        self._serializer = serializer
        self._known: dict[str, tuple[TaskDefinition, bool]] = {}
        self._alike: dict[str, _Like] = {}
        self._last: _Like | None = None
        self._slow: set[str] = set()

    def open(self, body: bytes) -> Call | None:
        """The call in this body. None when it brought anything along, its task is not plain, or there is
        something wrong with it."""
        like = self._last
        while like is not None and like.edition == self._registry.edition:
            read = like.beginning.read(body)
            if read is None:  # hardly ever: a call of another task than the last one
                like = self._known_by_beginning(body, like)
                continue
            headers, payload = read
            try:
                args, kwargs = like.decode(payload)
            except _NOT_ALIKE:
                break
            return like.task, headers, args, kwargs
        return self._open_other(body)

    def open_together(self, jobs: Sequence[StoredJob]) -> Sequence[Call] | None:
        """As `open` for each of these jobs, before their turn. None if any of them is to be opened by itself,
        when that comes: it is not like the last one, something is wrong with it, it is large, or code of the
        program's own runs when its arguments are restored."""
        like, bodies = self._last, [*map(_BODY, jobs)]
        if like is None or like.edition != self._registry.edition or not like.may_read_ahead:
            return None
        if sum(map(len, bodies)) > _MOST_BYTES or {*map(_EXPIRY, jobs)} != _NEVER:
            return None
        read = like.beginning.read_all(bodies)
        if read is None:
            return None
        headers, payloads = read
        try:
            args, kwargs = zip(*map(like.decode, payloads), strict=True)
        except _NOT_ALIKE:
            return None
        return [*zip(repeat(like.task), headers, args, kwargs)]

    def took(self, queue: str, seconds: float) -> None:
        """A job of this queue ran for so long."""
        if seconds > _LONG:
            self._slow.add(queue)
        elif self._slow:
            self._slow.discard(queue)

    def are_quick(self, queue: str) -> bool:
        """Whether jobs of this queue were quick of late, as far as is known."""
        return queue not in self._slow

    def _known_by_beginning(self, body: bytes, like: _Like) -> _Like | None:
        """What is known of calls that begin as this one, if it is not this."""
        beginning = plain_beginning(body)
        known = None if beginning is None else self._alike.get(beginning.task)
        if beginning is None or known is None or known is like or known.beginning.line != beginning.line:
            return None
        self._last = known
        return known

    def _open_other(self, body: bytes) -> Call | None:
        """A call that is like none that is known, and what is to be known of those like it."""
        edition = self._registry.edition  # before the task is looked for, which may change meanwhile
        beginning = plain_beginning(body)
        task = None if beginning is None else self._registry.find(beginning.task)
        if beginning is None or task is None or beginning.serializer != self._serializer:
            return None
        if task.is_async or not self.takes(task) or (read := beginning.read(body)) is None:
            return None
        headers, payload = read
        try:
            call = task.codec.decode(payload)
        except CorruptRecord:
            return None
        known = self._alike.get(task.name)
        # What is called with this many arguments now and with that many then is read by what takes both.
        varies = known is not None and known.task is task and known.edition == edition
        decode = task.codec.decode if varies else task.codec.reader(call)
        self._last = _Like(edition, beginning, decode, task, task.codec.may_read_ahead(decode))
        self._alike[task.name] = self._last
        return task, headers, *call

    def takes(self, task: TaskDefinition) -> bool:
        """Whether of a success of this task no more is to be told than that."""
        known = self._known.get(task.name)
        if known is None or known[0] is not task:
            known = self._known[task.name] = task, says_only_success(task)
        return known[1]


_SAYS_NOTHING_MORE = frozenset(
    {
        *("name", "queue", "func", "signature", "codec", "key", "ttl", "priority", "left_out"),
        *("max_retries", "retry_wait", "on_exhausted", "on_error", "timeout", "is_async"),
    }
)
"""What a task may say without changing what is told of its successes. Any other option may, those to come
included."""


def says_only_success(task: TaskDefinition) -> bool:
    """Whether of a success of this task no more is to be told than that."""
    fields = msgspec.structs.fields(task)
    return all(
        field.name in _SAYS_NOTHING_MORE or getattr(task, field.name) == field.default for field in fields
    )
