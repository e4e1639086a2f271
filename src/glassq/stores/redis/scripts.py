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


_WEAVING: Final = "weaving"
"""Stands among the parts of a script for what seldom happens in it: that a job ends others wait for."""


class Script:
    """A script's text and the digest servers know it by. The text is constant: values travel as arguments.

    One that stands `alone` reads nothing of a queue before it does what it is for. What stands `before` the
    opening takes requests in short.
    """

    def __init__(
        self,
        verb: str,
        *parts: str,
        before: tuple[str, ...] = (),
        shortcuts: tuple[str, ...] = (),
        alone: bool = False,
    ) -> None:
        self.verb = verb
        first = "".join(map(_read, (*before, "opening", *shortcuts)))
        self._know_as(_read(verb) if alone else first + _within(("queue", *parts, verb)))

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


def _within(files: tuple[str, ...]) -> str:
    """Files as one function, which is called: to make functions in it is cheaper than at a script's top.

    What these share with the opening is looked up once, for the one around them. At the top each of them
    would look for it in all that any of them shares.
    """
    body = "".join(_woven(files) if name == _WEAVING else _read(name) for name in files)
    return f"local function carry_out()\n{body}\nend\n\nreturn carry_out()\n"


def _woven(files: tuple[str, ...]) -> str:
    """A function that makes what is done about jobs which wait for others, with what a script has not got
    itself: what stands in it costs nothing in the calls that have no use for it."""
    needed = [name for name in ("settled", "arriving") if name not in files]
    body = "".join(map(_read, (*needed, "holding", "places", "failing", "edges", "workflows", "outcomes")))
    return f"local woven\nlocal function weaving()\nif woven then return woven end\n{body}end\n\n"


@cache
def _read(name: str) -> str:
    return _FOLDER.joinpath(f"{name}.lua").read_text(encoding="utf-8")


_ENDING: Final = ("keeping", "weaving", "parting")
"""What all need that may end jobs."""

APPEND_PARTS: Final = ("arriving", "weaving", "deferring")
APPEND = Script("append", *APPEND_PARTS, shortcuts=("append_plain",))
_WAITS: Final = ("stretches", "waits")
"""What all need that may end a time in which nobody holds a lane."""

CLAIM_PARTS: Final = ("standing", "settled", "arriving", *_ENDING, "wishes", "waits")
_GRANTING: Final = ("stretches", "granting", "counting", "claim_turns")
CLAIM = Script("claim", *CLAIM_PARTS, shortcuts=_GRANTING)
CLAIM_ASSIGNED = Script("claim", *CLAIM_PARTS, "choosing", shortcuts=_GRANTING)
BEGIN = Script("begin")
SETTLE_PARTS: Final = ("standing", "settled", "vacating", *_ENDING, "wishes")
SETTLE = Script(
    "settle",
    *SETTLE_PARTS,
    before=("step", "in_full"),
    shortcuts=("settle_next", "counting", "settle_turns", "settle_child"),
)
RENEW = Script("renew")
RELEASE = Script("release", "standing", "settled", "vacating", *_ENDING, "wishes")
RESTART = Script("restart", *_WAITS)
SKIP = Script("skip", "standing", "settled", "vacating", *_ENDING, *_WAITS)
CANCEL = Script("cancel", "standing", "settled", "vacating", *_ENDING, *_WAITS)
PAUSE = Script("pause", *_WAITS, "standstills")
RESUME = Script("resume", *_WAITS, "standstills")
REPLAY = Script("replay", "keeping", "arriving", "weaving")
PURGE = Script("purge", "standing", "settled", "vacating", *_ENDING, "purging")
PURGE_LANE = Script("purge_lane", "standing", "settled", "vacating", *_ENDING, "purging")
PURGE_DEFERRED = Script("purge_deferred", "weaving")
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
REPORT = Script("report", "keeping", *_WAITS, "standstills")
LEAVE = Script("leave")
FOLLOW = Script("follow", "weaving", "deferring")
CONCLUDE = Script("conclude", "weaving")
DELIVER = Script("deliver", "weaving")
OUTBOX = Script("outbox")
DELIVERED = Script("delivered")
UPSTREAM = Script("upstream")
OPEN_FLOW = Script("open_flow", "weaving")
FLOW = Script("flow")
FLOW_OUTCOMES = Script("flow_outcomes")
NOTES = Script("notes")
PUT = Script("put", "keeping")
EXCHANGE = Script("exchange", "keeping")
VALUE = Script("value")
VALUES = Script("values", "keeping")
DROP = Script("drop", "keeping")
