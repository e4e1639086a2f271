"""How keys are named outside the scripts. What each of a queue's keys holds is said in `lua/opening.lua`."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Final

DEFAULT_NAMESPACE: Final = "gq"


class Keys:
    """The names in one namespace. A queue's keys share a hash tag, so that every script is in one slot."""

    def __init__(self, namespace: str = DEFAULT_NAMESPACE) -> None:
        self._namespace = namespace
        self.counters: Callable[[str], str] = lru_cache(maxsize=4096)(self._counters)
        """The key every script of this queue declares."""

        self.registry = f"{namespace}:queues"
        """The set of all queues. Without a tag: written once per queue and handle, never in a job's path."""

        self.layouts = f"{namespace}:{{#}}:layouts"
        """The hash of queues that are cut into shards. Its tag is no queue's: none has such a name."""

    def _counters(self, queue: str) -> str:
        return f"{self._namespace}:{{{queue}}}:c"

    def doorbell(self, queue: str) -> str:
        """The stream a waiting worker reads."""
        return f"{self._namespace}:{{{queue}}}:b"
