"""Which store a command works on: that of `MODULE:APP`, or `--url`, else `$GLASSQ_URL`, else the default."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from typing import TypeVar

import click
import msgspec

from glassq.app import DEFAULT_URL, URL_VARIABLE
from glassq.cli.targets import load_application, looks_like_target
from glassq.client.queues import Queue
from glassq.errors import BadOption, ConfigurationError
from glassq.model.names import check_name, nearest, queue_of, whole
from glassq.storage import ShardedStorage
from glassq.stores.open import locate, open_storage
from glassq.stores.sharded import ShardedQueues
from glassq.stores.sqlite.location import Location

T = TypeVar("T")

_NAMES_SHOWN = 8

_FIRST_LOOK = 1000
"""Records a search reads at first; most lists of things that went wrong are shorter."""


class NoSuchQueue(click.ClickException):
    """When nothing was ever put into a queue of that name, which is nearly always a slip of the pen."""

    def __init__(self, name: str, store: str, known: Sequence[str]) -> None:
        near = nearest(name, known)
        hint = f"; did you mean {near!r}?" if near else f"; its queues: {_some(known)}"
        super().__init__(f"there is no queue {name!r} in {store}{hint}")


def _some(names: Sequence[str]) -> str:
    """The first few names: a store may have thousands of queues."""
    shown = ", ".join(names[:_NAMES_SHOWN]) or "none"
    return shown if len(names) <= _NAMES_SHOWN else f"{shown} and {len(names) - _NAMES_SHOWN:,} more"


class OpenStore:
    """An open store and the queues that are declared on it, as far as anybody said so."""

    def __init__(self, storage: ShardedStorage, declared: Sequence[str] = ()) -> None:
        self.storage = storage
        self._declared = declared

    def queues(self) -> list[str]:
        """The names of all queues that were used or are declared, sorted. One round trip."""
        return sorted({*self.storage.queues(), *self._declared})

    def handle(self, name: str) -> Queue:
        """A handle on a queue that may not be known yet; `BadOption` for what cannot be a name."""
        return Queue(check_name("queue", name), lambda: self.storage)

    def queue(self, name: str) -> Queue:
        """A handle on a known queue; `NoSuchQueue` otherwise. One round trip."""
        handle = self.handle(name)
        known = self.queues()
        if name not in known:
            raise NoSuchQueue(name, self.storage.address, known)
        return handle


class StoreChoice(msgspec.Struct, frozen=True):
    """A store as the command line names it, not opened yet."""

    target: str | None
    url: str

    @contextmanager
    def opened(self) -> Iterator[OpenStore]:
        """The store, closed at the end. A URL of a file that is not there is refused."""
        if self.target is not None:
            with load_application(self.target) as app:
                yield OpenStore(app.storage, app.registry.queues())
        else:
            with closing(open_storage(existing(self.url))) as storage:
                yield OpenStore(ShardedQueues(storage))


def choose_store(
    words: Sequence[str], url: str | None, *names: str, more: str | None = None
) -> tuple[StoreChoice, list[str]]:
    """The store that is meant, and the words that are left: one for each of `names`, and any number of
    them when there are `more`. `UsageError` otherwise, in click's words.

    A first word of the form MODULE:APP names the application. With `--url` no word does, so a queue
    whose name looks like that can still be reached.
    """
    rest = list(words)
    target = rest.pop(0) if not url and rest and looks_like_target(rest[0]) else None
    context = click.get_current_context(silent=True)
    if len(rest) < len(names):
        raise click.UsageError(f"Missing argument '{names[len(rest)]}'.", context)
    if len(rest) > len(names) and more is None:
        raise click.UsageError(f"Got unexpected extra argument ({rest[len(names)]})", context)
    return StoreChoice(target, url or os.environ.get(URL_VARIABLE) or DEFAULT_URL), rest


def existing(url: str) -> str:
    """The URL itself; `ConfigurationError` for a file that is not there, because looking must not make it."""
    if locate(url).kind == "sqlite":
        path = Location.parse(url).path
        if path is None:
            raise ConfigurationError("sqlite:// lives in one process's memory and cannot be seen from here")
        if not path.exists():
            raise ConfigurationError(f"there is no file {path}; name the store with --url or MODULE:APP")
    return url


def queue_in(job_id: str) -> str:
    """The queue a job's id names; `BadOption` for a word that cannot be one."""
    if "/" not in job_id:
        raise BadOption("ID", f"{job_id!r} is not a job's id; they look like payments/9f2c41d07a6e:17")
    return whole(queue_of(job_id))


def search(read: Callable[[int], Sequence[T]], matches: Callable[[T], bool]) -> T | None:
    """The first record that matches, from a store that reads them in order up to a limit.

    Reads a thousand at first, then ten times as many each time, until it is found or there are no more.
    """
    limit = _FIRST_LOOK
    while True:
        records = read(limit)
        found = next(filter(matches, records), None)
        if found is not None or len(records) < limit:
            return found
        limit *= 10
