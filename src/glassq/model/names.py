"""Names and ids: which are allowed, and how a job id is put together."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from enum import Enum
from functools import lru_cache
from typing import Final

from glassq.errors import BadOption

_NAME = re.compile(r"[A-Za-z0-9_.:-]{1,128}\Z")
_QUEUE = re.compile(r"[A-Za-z0-9_.:-]{1,128}(#[0-9]+)?\Z")
RESERVED = "glassq:"
"""How names begin that no queue of a program has."""
_FLOW = re.compile(r"~[A-Za-z0-9_.:-]{1,128}(#[0-9]+)?/[0-9a-f]{16}\Z")
_JOB = re.compile(r"[A-Za-z0-9_.:-]{1,128}(#[0-9]+)?/[^/]+:[0-9]+\Z")
MAX_KEY_LENGTH = 512

DEFAULT_LANE = ""
"""The lane of jobs without an ordering key."""


class Unordered(Enum):
    """The type of `UNORDERED`."""

    UNORDERED = "unordered"

    def __repr__(self) -> str:
        return "glassq.UNORDERED"


UNORDERED: Final = Unordered.UNORDERED
"""Given as a key: every job is a lane of its own, which nothing waits behind."""

Key = str | Unordered | None
"""The ordering key of a call; None: none, so that it stands in the queue's one lane of such calls."""


def check_name(kind: str, name: object) -> str:
    """The name itself when it is 1-128 of `A-Z a-z 0-9 _ . : -`; `BadOption` otherwise.

    Names become metric labels, key parts and log fields, so nothing that needs escaping gets in.
    """
    if not isinstance(name, str) or not _NAME.match(name):
        raise BadOption(kind, f"{name!r} is not a name; use 1 to 128 of A-Z a-z 0-9 _ . : -")
    return name


def is_reserved(queue: str) -> bool:
    """Whether a queue is the library's own: it keeps values under such a name, and no jobs."""
    return queue.startswith(RESERVED)


def check_key(key: object) -> str:
    """An ordering key: any non-empty text of at most 512 characters; `BadOption` otherwise."""
    if not isinstance(key, str):
        raise BadOption("key", f"an ordering key is text, got {type(key).__name__}; use str(...)")
    if not key or len(key) > MAX_KEY_LENGTH:
        raise BadOption("key", f"an ordering key has 1 to {MAX_KEY_LENGTH} characters, got {len(key)}")
    return _check_unicode("key", "an ordering key", key)


def check_id(option: str, what: str, value: object) -> str:
    """An id of some kind, whatever it says: text that a store can look for; `BadOption` otherwise."""
    if not isinstance(value, str):
        raise BadOption(option, f"{what} is text, got {type(value).__name__}")
    return _check_unicode(option, what, value)


def _check_unicode(option: str, what: str, text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise BadOption(option, f"{what} is valid Unicode; this one has lone surrogates") from None
    return text


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word that `word` was most likely meant to be, if any is close."""
    return next(iter(difflib.get_close_matches(word, list(known), n=1)), None)


def job_id(queue: str, producer: str, number: int) -> str:
    """`queue/producer:number`: the shard is known from the id, and a repeated append from its number."""
    return f"{queue}/{producer}:{number}"


def is_job_id(text: str) -> bool:
    """Whether a job may have this id."""
    return _JOB.match(text) is not None


def is_flow_id(text: str) -> bool:
    """Whether a workflow may have this id."""
    return _FLOW.match(text) is not None


def nth_id(first: str, place: int) -> str:
    """The id of a job that was appended with others, of which the `first` is known: their numbers follow one
    another."""
    producer, _, number = first.rpartition(":")
    return f"{producer}:{int(number) + place}"


def flow_id(home: str, random: str) -> str:
    """A workflow's id: `~home/random`. Its record lives in the queue or shard `home`."""
    return f"~{home}/{random}"


def is_flow(name: str) -> bool:
    """Whether this is the id of a workflow, and not of a job."""
    return name.startswith("~")


def gate_of(flow: str) -> str:
    """What the first jobs of a workflow wait for until all of it is stored: `!` and its id."""
    return f"!{flow}"


def is_gate(name: str) -> bool:
    """Whether this stands where a parent's id does, and is none."""
    return name.startswith("!")


def queue_of(job: str) -> str:
    """The queue that the id of a job, a workflow or a gate names, as its store knows it: where it is cut into
    shards, one of these."""
    return job.partition("/")[0].lstrip("!~")


def is_queue(name: str) -> bool:
    """Whether a store may know a queue, or a shard, by this name."""
    return _QUEUE.match(name) is not None


def shard_name(queue: str, number: int) -> str:
    """What a store knows a shard by. No name of a queue has a `#` in it."""
    return f"{queue}#{number}"


def is_shard(queue: str) -> bool:
    """Whether this is the name of a part of a queue."""
    return "#" in queue


@lru_cache(maxsize=4096)  # asked several times for each job
def whole(queue: str) -> str:
    """The queue that a shard is a part of; any other queue itself."""
    return queue.partition("#")[0]
