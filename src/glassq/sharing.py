"""Values that the jobs of a workflow share by name (XCom), each for a time: kept in the workflow's home."""

from __future__ import annotations

from typing import Any

from glassq.codec import Serializer
from glassq.errors import PayloadTooLarge, SerializationFailed
from glassq.keeping import Keeping
from glassq.model.names import check_name, queue_of
from glassq.model.quantities import check_seconds

MAX_SHARED = 262_144
"""Bytes of one serialized value."""
TTL = 3600.0
"""Seconds for which a value is kept, if nothing else is said."""


class SharedValues:
    """The values of one workflow. Each call is one round trip."""

    def __init__(self, keeping: Keeping, flow: str, serializer: Serializer) -> None:
        self._keeping = keeping
        self._home = queue_of(flow)
        self._prefix = f"xcom:{flow.rpartition('/')[2]}:"
        self._serializer = serializer

    def push(self, name: str, value: Any, ttl: float = TTL) -> None:
        """Share a value for so many seconds; replaces what had this name. Raises `BadOption`,
        `SerializationFailed`, `PayloadTooLarge`, `StorageError`."""
        known = check_name("name", name)
        seconds = check_seconds("ttl", ttl, above_zero=True)
        try:
            body = self._serializer.dumps(value)
        except Exception as error:  # licensed: around user code (a custom serializer, odd values)
            problem = f"{type(value).__qualname__}: {type(error).__qualname__}: {error}"
            raise SerializationFailed(f"the value {name!r} cannot be shared: {problem}") from error
        if len(body) > MAX_SHARED:
            raise PayloadTooLarge(f"the shared value {name!r}", len(body), MAX_SHARED)
        self._keeping.put(self._home, self._prefix + known, body, seconds)

    def pull(self, name: str, default: Any = None) -> Any:
        """A value that was shared, or the default where there is none, or its time is over."""
        found = self._keeping.value(self._home, self._prefix + check_name("name", name))
        return default if found is None else self._serializer.loads(found.body)
