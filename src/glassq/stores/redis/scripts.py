"""The Lua scripts, read once: an opening, shortcuts for the commonest calls, shared parts, and the verb."""

from __future__ import annotations

import hashlib
from copy import copy
from functools import cache, cached_property, lru_cache
from pathlib import Path
from typing import Final

import msgspec

from glassq.stores.redis.resp import parts

_FOLDER = Path(__file__).with_name("lua")


class Script:
    """A script's text and the digest servers know it by. The text is constant: values travel as arguments.

    One that stands `alone` reads nothing of a queue before it does what it is for.
    """

    def __init__(self, verb: str, *parts: str, shortcuts: tuple[str, ...] = (), alone: bool = False) -> None:
        self.verb = verb
        files = (verb,) if alone else ("opening", *shortcuts, "queue", *parts, verb)
        self._know_as("".join(map(_read, files)))

    @cached_property
    def guarded(self) -> Script:
        """The same for a node of a cluster, see `lua/guard.lua`."""
        guarded = copy(self)
        guarded._know_as(_read("guard") + self.source)  # noqa: SLF001 - a script like this one
        return guarded

    def _know_as(self, source: str) -> None:
        self.source = source
        self.sha = hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()

    def call(self, key: str, count: int, arguments: bytes) -> Call:
        """A call on the queue of this key, with so many arguments (packed) after the first, which the
        connection knows."""
        return Call(self, key, count, arguments)


class Call(msgspec.Struct, frozen=True, gc=False):
    """A call of a script, but for its first argument: the server's run, see `lua/opening.lua`."""

    script: Script
    key: str
    count: int
    arguments: bytes

    def guarded(self) -> Call:
        """The same for a node of a cluster."""
        return Call(self.script.guarded, self.key, self.count, self.arguments)

    def by_digest(self, first: bytes) -> bytes:
        """The request to a server that knows the script."""
        beginning = _beginning("EVALSHA", self.script.sha, self.key)
        return _REQUEST % (self.count + 5, beginning, len(first), first, self.arguments)

    def by_text(self, first: bytes) -> bytes:
        """The request to any server."""
        beginning = _beginning("EVAL", self.script.source, self.key)
        return _REQUEST % (self.count + 5, beginning, len(first), first, self.arguments)


_REQUEST: Final = b"*%d\r\n%b$%d\r\n%b\r\n%b"


@lru_cache(maxsize=1024)
def _beginning(command: str, script: str, key: str) -> bytes:
    """What is the same in all calls of a script on a queue."""
    return parts((command, script, 1, key))


@cache
def _read(name: str) -> str:
    return _FOLDER.joinpath(f"{name}.lua").read_text(encoding="utf-8")


APPEND = Script("append", "arriving", shortcuts=("append_plain",))
CLAIM = Script("claim", "standing", "keeping", "wishes", "arriving", "waits")
CLAIM_ASSIGNED = Script("claim", "standing", "keeping", "wishes", "arriving", "waits", "choosing")
BEGIN = Script("begin")
SETTLE = Script(
    "settle", "standing", "vacating", "keeping", "wishes", shortcuts=("settle_next", "settle_leave")
)
RENEW = Script("renew")
RELEASE = Script("release", "standing", "vacating", "keeping", "wishes")
RESTART = Script("restart", "waits")
SKIP = Script("skip", "standing", "vacating", "keeping", "waits")
CANCEL = Script("cancel", "standing", "vacating", "keeping", "waits")
PAUSE = Script("pause", "waits", "standstills")
RESUME = Script("resume", "waits", "standstills")
REPLAY = Script("replay", "keeping", "arriving")
PURGE = Script("purge", "standing", "vacating", "keeping", "purging")
PURGE_LANE = Script("purge_lane", "standing", "vacating", "keeping", "purging")
FORGET = Script("forget", "keeping")
REOPEN = Script("reopen", alone=True)
SWAP = Script("swap", alone=True)
LOOKUP = Script("lookup")
LANES = Script("lanes")
FIND = Script("find")
WAITING = Script("waiting")
DEAD = Script("dead")
HALTED = Script("halted", "standing")
STATS = Script("stats", "standing")
RANK = Script("rank", "close")
FIGURES = Script("figures", "close")
WORKERS = Script("workers")
REPORT = Script("report", "keeping", "waits", "standstills")
LEAVE = Script("leave")
NOTES = Script("notes")
PUT = Script("put", "keeping")
VALUE = Script("value")
VALUES = Script("values", "keeping")
DROP = Script("drop", "keeping")
