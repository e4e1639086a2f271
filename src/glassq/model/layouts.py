"""How a queue is cut into shards, and which of them a key belongs to."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import msgspec

from glassq.model.names import shard_name

MAX_SHARDS = 256


class Layout(msgspec.Struct, frozen=True):
    """Into how many shards a queue is cut, and the number of the first of them: None when it is whole."""

    count: int = 1
    first: int | None = None

    def shards(self, queue: str) -> tuple[str, ...]:
        """The names a store knows the parts of the queue by: its own while it is whole."""
        if self.first is None:
            return (queue,)
        return tuple(shard_name(queue, number) for number in range(self.first, self.first + self.count))

    def anew(self, count: int) -> Layout:
        """Another cut. No number is used twice: who still goes by the former one finds its shards closed."""
        return Layout(count, 0 if self.first is None else self.first + self.count)


def shard_of(shards: Sequence[str], lane: str) -> str:
    """The shard a lane lives in: the CRC-32 (that of zlib, PNG and Ethernet) of its name in UTF-8, modulo
    their number. So programs in any language, and of any time, agree."""
    return shards[zlib.crc32(lane.encode()) % len(shards)] if len(shards) > 1 else shards[0]
