"""The Lua scripts, read once: shared beginnings and one verb make one script."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

_FOLDER = Path(__file__).with_name("lua")


class Script:
    """A script's text and the digest servers know it by. The text is constant: values travel as arguments."""

    def __init__(self, verb: str, *parts: str) -> None:
        self.verb = verb
        self.source = "".join(map(_read, ("queue", *parts, verb)))
        self.sha = hashlib.sha1(self.source.encode(), usedforsecurity=False).hexdigest()


@cache
def _read(name: str) -> str:
    return _FOLDER.joinpath(f"{name}.lua").read_text(encoding="utf-8")


APPEND = Script("append", "arriving")
CLAIM = Script("claim", "arriving")
SETTLE = Script("settle")
RENEW = Script("renew")
RELEASE = Script("release")
RESTART = Script("restart")
SKIP = Script("skip")
CANCEL = Script("cancel")
PAUSE = Script("pause")
RESUME = Script("resume")
REPLAY = Script("replay", "arriving")
PURGE = Script("purge")
LOOKUP = Script("lookup")
LANES = Script("lanes")
FIND = Script("find")
WAITING = Script("waiting")
DEAD = Script("dead")
HALTED = Script("halted")
STATS = Script("stats")
REPORT = Script("report")
LEAVE = Script("leave")
