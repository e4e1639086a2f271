"""Which node of a cluster holds a key: the slots of keys, and the nodes of slots."""

from __future__ import annotations

import binascii
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final

SLOTS: Final = 16384

Address = tuple[str, int]
"""Host and port of a node, as the cluster names it."""


@lru_cache(maxsize=4096)
def slot_of(key: str) -> int:
    """The slot of a key: of what stands between its first `{` and the next `}`, where something does."""
    _, opened, rest = key.partition("{")
    tag, closed, _ = rest.partition("}")
    return binascii.crc_hqx((tag if opened and closed and tag else key).encode(), 0) % SLOTS


def owners(told: Sequence[Any], asked: Address) -> list[Address | None]:
    """The master of each slot, from what `CLUSTER SLOTS` answers. A node that does not know its own host
    leaves it out: it is where it was `asked`."""
    found: list[Address | None] = [None] * SLOTS
    for first, last, master, *_ in told:
        host = (master[0] or b"").decode()
        address = (host or asked[0], int(master[1]))
        found[first : last + 1] = [address] * (last + 1 - first)
    return found
