"""The connections to one file: opened, shared by threads, never carried over a fork or to another file."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import NoReturn, TypeVar

import msgspec

from glassq.errors import StorageUnavailable
from glassq.stores.sqlite import inflows, legs
from glassq.stores.sqlite.commits import Commits
from glassq.stores.sqlite.failures import UNTRANSLATED, raise_translated, translated
from glassq.stores.sqlite.forking import tell_of_forks
from glassq.stores.sqlite.format import migrate
from glassq.stores.sqlite.identity import Identity
from glassq.stores.sqlite.known import Known
from glassq.stores.sqlite.legnotes import LegsAreOver
from glassq.stores.sqlite.location import Location, prepare

R = TypeVar("R")

BUSY_SECONDS = 5.0
_SWITCHING = 0.002
"""Seconds between two tries to switch a new file to its log: another process does it in less."""
_PAGE_BYTES = 2048
"""A commit writes whole pages: at SQLite's 4096 it costs a fifth more, at 1024 jobs of 250 bytes overflow."""
_LOG_BYTES = 4 << 20
"""The write-ahead log goes into the file when it is this long. The disk's ballast is one such log."""


_AHEAD = "SELECT EXISTS (SELECT 1 FROM legs) OR EXISTS (SELECT 1 FROM inflows)"
"""Whether any process has jobs in the tables that have ended, or are not counted, or may have."""


class Connections:
    """One writing connection per process, which threads use in turn, and one for reading beside it.

    SQLite forbids carrying a connection across `fork()`: the turn is taken before every fork, so that no
    transaction is half done in the child's copy, and the child forgets the connections and opens its own.

    What a user remembers of the file is true inside a transaction: `on_replaced` runs when nobody else writes
    or reads.
    """

    def __init__(
        self,
        path: Path | None,
        location: Location,
        known: Known,
        on_fork: Callable[[], None],
        on_replaced: Callable[[], None],
    ) -> None:
        self._path = path
        # A relative path would name another file after the program has changed its directory.
        self._location = msgspec.structs.replace(location, path=path)
        self._known = known
        self._on_fork = on_fork
        self._on_replaced = on_replaced
        self._identity = Identity(path)
        self._commits = Commits(partial(self._transact, keeps=True))
        self._read_lock = threading.RLock()
        self._writer: sqlite3.Connection | None = None
        self._reader: sqlite3.Connection | None = None
        self._abandoned: list[sqlite3.Connection | None] = []
        self._closed = False
        with self._commits.turn():
            self._open_writer()
        tell_of_forks(self)  # one that could not be opened is nobody's, and would keep others from hearing

    def write(self, work: Callable[[sqlite3.Connection], R], *, shared: bool = False) -> R:
        """Do a work in a transaction that holds the file's write lock from its start; committed whole or
        rolled back. `shared`: works of other threads may be in it, too, and this one may be done again; and
        legs and inflows of this process may be under way."""
        self._follow()
        if shared:
            return self._commits.share(work)
        with self._commits.turn():
            return self._transact(work, keeps=False)

    def note(self, work: Callable[[sqlite3.Connection], R]) -> R | None:
        """Do a work outside of any transaction that keeps what is known true. None when it was not done: then
        it may be possible by `write`."""
        if self._identity.replaced():
            self._follow()
        return self._commits.alone(self._note, work)

    def do_now(self, statement: Callable[[sqlite3.Connection], R]) -> R | None:
        """The same with a work of one statement, a transaction by itself; not done either where other threads
        write, with whom one is shared by `write`."""
        if self._identity.replaced():
            self._follow()
        return self._commits.if_free(self._note, statement)

    @contextmanager
    def turn(self) -> Iterator[None]:
        """While this lasts no other thread writes."""
        with self._commits.turn():
            yield

    def _note(self, work: Callable[[sqlite3.Connection], R]) -> R | None:
        connection, known = self._writer, self._known
        version = known.version
        if connection is None or version is None or connection.in_transaction:
            return None
        known.version = None  # until this is known to be committed, and what is known to say so
        try:
            answer = work(connection)
        except LegsAreOver:
            return None  # and nothing is known any more
        except UNTRANSLATED as error:
            raise_translated(error, self._path)
        known.version = version
        return answer

    def _transact(self, work: Callable[[sqlite3.Connection], R], *, keeps: bool) -> R:
        """`keeps`: the work keeps what is known true."""
        connection = self._writer or self._open_writer()
        if connection.in_transaction:
            _refuse_reentry()
        known = self._known
        try:
            # Inside the `try`: an interrupt is likeliest right after the wait for the lock.
            try:
                connection.execute("BEGIN IMMEDIATE")
                (version,) = connection.execute("PRAGMA data_version").fetchone()
                if known.version != version:
                    known.forget()
                    self._end_all_ahead(connection)
                else:
                    inflows.count(connection, known)
                    if not keeps:
                        legs.end_known(connection, known)
                        inflows.end_known(connection, known)
                        known.forget()
                known.version = None  # until this is known to be committed
                answer = work(connection)
                connection.execute("COMMIT")
                if keeps:
                    known.version = version
            except BaseException:  # also KeyboardInterrupt: half a transaction must not stay open
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
        except UNTRANSLATED as error:
            raise_translated(error, self._path)
        return answer

    def _end_all_ahead(self, connection: sqlite3.Connection) -> None:
        """End legs and inflows, whosever."""
        (some,) = connection.execute(_AHEAD).fetchone()
        if some:
            legs.end_all(connection, self._known)
            inflows.end_all(connection)

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A consistent snapshot that blocks no writer (in memory: the writing connection itself). Jobs that
        are noted to have ended are in the tables, and some may not be counted."""
        if self._path is None:
            with self._commits.turn(), self._snapshot(self._writer or self._open_writer()) as connection:
                yield connection
            return
        self._follow()
        with self._read_lock, self._snapshot(self._reader or self._open_reader()) as connection:
            yield connection

    @contextmanager
    def _snapshot(self, connection: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
        if connection.in_transaction:
            _refuse_reentry()
        with translated(self._path):
            try:
                connection.execute("BEGIN")
                yield connection
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")

    def close(self) -> None:
        """Close both connections; later use raises `StorageUnavailable`."""
        with self._commits.turn(), self._read_lock:
            self._closed = True
            self._drop()

    # -- opening ---------------------------------------------------------------------------------------

    def _follow(self) -> None:
        """Have the file open that has the name now. Writers would go on with a replaced one, unnoticed, and
        whatever they wrote would be gone with its last user."""
        if self._current():
            return
        with self._commits.turn(), self._read_lock:
            busy = any(each and each.in_transaction for each in (self._writer, self._reader))
            if busy or self._current():
                return  # a signal handler in the middle of a call, or another thread has done it
            if self._identity.replaced():
                self._identity.refuse_remains()
                self._drop()
                self._identity.forget()
                self._on_replaced()
            if self._path is not None:
                prepare(self._location)
            self._open_writer()

    def _current(self) -> bool:
        return self._closed or (self._writer is not None and not self._identity.replaced())

    def _drop(self) -> None:
        for connection in (self._reader, self._writer):
            if connection is not None:
                connection.close()
        self._reader = self._writer = None
        self._let_notes_go()

    def _let_notes_go(self) -> None:
        if self._known.notes is not None:
            self._known.notes.close()

    def _connect(self, accept: Callable[[sqlite3.Connection], None]) -> sqlite3.Connection:
        """A connection that `accept` has made fit; closed again when it has not."""
        if self._closed:
            raise StorageUnavailable("this store is closed; open the application again", "connection")
        # Not by `sqlite3.connect`: what instruments that makes a span of each statement, also of every poll.
        connection = sqlite3.Connection(
            self._path or ":memory:",
            timeout=BUSY_SECONDS,
            isolation_level=None,  # transactions are begun by hand: the module's own begin too late
            check_same_thread=False,
            cached_statements=256,
        )
        try:
            connection.execute(f"PRAGMA synchronous = {self._location.synchronous}")
            accept(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _open_writer(self) -> sqlite3.Connection:
        before = self._identity.present()

        def accept(connection: sqlite3.Connection) -> None:
            if self._path is not None:
                connection.execute(f"PRAGMA page_size = {_PAGE_BYTES}")  # heeded by an empty file only
                _keep_a_log(connection)
                connection.execute(f"PRAGMA wal_autocheckpoint = {_LOG_BYTES // _PAGE_BYTES}")
            migrate(connection, str(self._path))
            self._identity.note(before)

        self._known.version = None  # versions are counted by each connection for itself
        with translated(self._path):
            self._writer = self._connect(accept)
        return self._writer

    def _open_reader(self) -> sqlite3.Connection:
        def accept(connection: sqlite3.Connection) -> None:
            connection.execute("PRAGMA query_only = 1")

        with translated(self._path):
            self._reader = self._connect(accept)
        return self._reader

    # -- fork ------------------------------------------------------------------------------------------

    def before_fork(self) -> None:
        """Wait until no transaction is under way in this process."""
        self._commits.take()
        self._read_lock.acquire()

    def after_fork_in_parent(self) -> None:
        """Go on."""
        self._read_lock.release()
        self._commits.give()

    def after_fork_in_child(self) -> None:
        """Forget the parent's connections; the next use opens the child's own."""
        # Kept, not closed: closing would touch locks and shared memory that belong to the parent.
        self._abandoned += [self._writer, self._reader]
        self._writer = self._reader = None
        self._let_notes_go()  # a copy of the parent's, which has its own
        self._commits.begin_anew()
        self._read_lock = threading.RLock()
        if self._path is None:
            self._closed = True  # a store in memory does not exist in the child
        self._on_fork()


def _keep_a_log(connection: sqlite3.Connection) -> None:
    """Have the file keep a write-ahead log. Of two processes that switch a new file to it at once SQLite
    refuses one without waiting, whatever its timeout is: so that is waited for here, for as long."""
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(_SWITCHING)
        else:
            return


def _refuse_reentry() -> NoReturn:
    """A signal handler that enqueues while its own thread is in a transaction must not end that one."""
    raise StorageUnavailable("called from a signal handler in the middle of another call; call it later")
