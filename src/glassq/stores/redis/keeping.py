"""Notes of settlements, and values by name: what a queue keeps for a time beside its jobs."""

from __future__ import annotations

from glassq.errors import CorruptRecord
from glassq.keeping import MAX_VALUE_BYTES, MAX_VALUES, check_value
from glassq.model.keeping import MAX_NOTES, Note, Value
from glassq.model.names import is_queue, queue_of
from glassq.model.verdicts import Action
from glassq.stores.redis import scripts
from glassq.stores.redis.commands import Commands
from glassq.stores.redis.keys import Keys
from glassq.stores.redis.register import Register
from glassq.stores.redis.replies import MICRO, local_id, micros


class KeepingVerbs:
    """The verbs of `glassq.keeping.Keeping`. Each is one script in its queue's slot."""

    _server: Commands
    _keys: Keys
    _register: Register

    def notes(self, job_id: str, limit: int = 1) -> list[Note]:
        """See `Keeping.notes`."""
        queue = queue_of(job_id)
        if limit < 1 or not is_queue(queue):
            return []
        asked = (local_id(queue, job_id), min(limit, MAX_NOTES))
        found = self._server.run(scripts.NOTES, self._keys.counters(queue), *asked)
        return [_note(queue, each, int(found[0])) for each in found[1:]]

    def put(self, queue: str, name: str, body: bytes, seconds: float | None) -> None:
        """See `Keeping.put`."""
        check_value(name, body, seconds)
        self._register.enter(queue)  # it may come before anything is put into the queue
        wait = "" if seconds is None else micros(seconds)
        self._server.run(scripts.PUT, self._keys.counters(queue), name, body, wait)

    def value(self, queue: str, name: str) -> Value | None:
        """See `Keeping.value`."""
        found = self._server.run(scripts.VALUE, self._keys.counters(queue), name)
        return None if found is None else Value(name, found[1], _end(found[0]))

    def values(self, queue: str, prefix: str, *, after: str = "", limit: int = MAX_VALUES) -> list[Value]:
        """See `Keeping.values`."""
        if limit < 1:
            return []
        asked = (prefix, after, min(limit, MAX_VALUES), MAX_VALUE_BYTES)
        found = self._server.run(scripts.VALUES, self._keys.counters(queue), *asked)
        parts = zip(found[::3], found[1::3], found[2::3], strict=True)
        return [Value(name.decode(), body, _end(until)) for name, until, body in parts]

    def drop(self, queue: str, name: str) -> bool:
        """See `Keeping.drop`. Not repeated after a lost answer, which would say that there was none."""
        return bool(self._server.run(scripts.DROP, self._keys.counters(queue), name, repeatable=False))


def _end(told: bytes) -> float | None:
    return int(told) / MICRO if told else None


def _note(queue: str, told: bytes, until: int) -> Note:
    """A note, from the form that `lua/notes.lua` tells."""
    header, mark, rest = told.partition(b"|")
    try:
        action, at, reason, said, kind = header.decode().split(":")
        if not mark:
            raise ValueError("no bar")
        in_words, beside = int(reason), int(reason) + int(said)
        data = rest[beside:]
        return Note(
            action=Action(action),
            at=int(at) / MICRO,
            until=until / MICRO,
            reason=rest[:in_words].decode(),
            said=rest[in_words:beside],
            result=data if kind == "r" else None,
            error=data if kind == "e" else b"",
        )
    except ValueError as error:
        raise CorruptRecord(f"a note of queue {queue} begins with {header[:60]!r}: {error}") from error
