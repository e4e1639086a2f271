"""The Lua scripts, read once: an opening, shortcuts for the commonest calls, shared parts, and the verb."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

_FOLDER = Path(__file__).with_name("lua")


class Script:
    """A script's text and the digest servers know it by. The text is constant: values travel as arguments."""

    def __init__(self, verb: str, *parts: str, shortcuts: tuple[str, ...] = ()) -> None:
        self.verb = verb
        self.source = "".join(map(_read, ("opening", *shortcuts, "queue", *parts, verb)))
        self.sha = hashlib.sha1(self.source.encode(), usedforsecurity=False).hexdigest()


@cache
def _read(name: str) -> str:
    return _FOLDER.joinpath(f"{name}.lua").read_text(encoding="utf-8")


APPEND = Script("append", "arriving", shortcuts=("append_plain",))
CLAIM = Script("claim", "standing", "wishes", "arriving")
BEGIN = Script("begin")
SETTLE = Script("settle", "standing", "wishes", shortcuts=("settle_next", "settle_leave"))
RENEW = Script("renew")
RELEASE = Script("release", "standing", "wishes")
RESTART = Script("restart")
SKIP = Script("skip", "standing")
CANCEL = Script("cancel", "standing")
PAUSE = Script("pause")
RESUME = Script("resume")
REPLAY = Script("replay", "arriving")
PURGE = Script("purge", "standing")
LOOKUP = Script("lookup")
LANES = Script("lanes")
FIND = Script("find")
WAITING = Script("waiting")
DEAD = Script("dead")
HALTED = Script("halted", "standing")
STATS = Script("stats", "standing")
REPORT = Script("report")
LEAVE = Script("leave")
