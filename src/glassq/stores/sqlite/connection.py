"""The connections to one file: opened, migrated, shared by threads, never carried over a fork."""

from __future__ import annotations

import os
import sqlite3
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from glassq.errors import ConfigurationError, CorruptRecord, FormatMismatch, StorageUnavailable
from glassq.stores.sqlite.location import Location, prepare

FORMAT = 1
APPLICATION_ID = 0x676C7371  # "glsq": tells our files from other people's databases
BUSY_SECONDS = 5.0
_OLDEST = (3, 35, 0)
_SCHEMA = Path(__file__).with_name("schema.sql")

_REASONS = {
    "SQLITE_BUSY": "timeout",
    "SQLITE_LOCKED": "timeout",
    "SQLITE_FULL": "enospc",
    "SQLITE_READONLY": "readonly",
    "SQLITE_IOERR": "io",
    "SQLITE_CANTOPEN": "io",
    "SQLITE_NOMEM": "oom",
}
_DAMAGE = ("SQLITE_CORRUPT", "SQLITE_NOTADB")
_SENSELESS = (ArithmeticError, AssertionError, AttributeError, LookupError, TypeError, ValueError)
"""What reading a row raises that has other columns, or other values in them, than were ever written."""


class Connections:
    """One writing connection per process, behind a lock, and one for reading beside it.

    SQLite forbids carrying a connection across `fork()`: the lock is taken before every fork, so that no
    transaction is half done in the child's copy, and the child forgets the connections and opens its own.
    """

    def __init__(
        self,
        path: Path | None,
        location: Location,
        on_fork: Callable[[], None],
        on_replaced: Callable[[], None],
    ) -> None:
        self._path = path
        self._location = location
        self._on_fork = on_fork
        self._on_replaced = on_replaced
        self._opened: tuple[int, int] | None = None
        self._write_lock = threading.RLock()
        self._read_lock = threading.RLock()
        self._writer: sqlite3.Connection | None = None
        self._reader: sqlite3.Connection | None = None
        self._abandoned: list[sqlite3.Connection | None] = []
        self._closed = False
        _FORKED.add(self)
        with self._write_lock:
            self._open_writer()

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction that holds the file's write lock from its start; committed whole or rolled back."""
        with self._write_lock:
            connection = self._writer or self._open_writer()
            _refuse_reentry(connection)
            with translated(self._path):
                # Inside the `try`: an interrupt is likeliest right after the wait for the lock.
                try:
                    connection.execute("BEGIN IMMEDIATE")
                    yield connection
                    connection.execute("COMMIT")
                except BaseException:  # also KeyboardInterrupt: half a transaction must not stay open
                    if connection.in_transaction:
                        connection.execute("ROLLBACK")
                    raise

    def follow(self) -> None:
        """Open anew when another file has the name by now, or none has: writers would go on with the old one,
        unnoticed, and whatever they wrote would be gone with its last user. Costs about 1 µs."""
        if self._path is None or self._closed or _identity(self._path) == self._opened:
            return
        with self._write_lock, self._read_lock:
            if self._writer is None or self._writer.in_transaction or self._closed:
                return  # opened at its next use, or called from a signal handler in the middle of a call
            if _identity(self._path) == self._opened:
                return  # another thread has done it
            prepare(self._location)
            for connection in (self._reader, self._writer):
                if connection is not None:
                    connection.close()
            self._reader = self._writer = None
            self._on_replaced()

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A consistent snapshot that blocks no writer (in memory: the writing connection itself)."""
        if self._path is None:
            with self.writing() as connection:
                yield connection
            return
        self.follow()
        with self._read_lock:
            connection = self._reader or self._open_reader()
            _refuse_reentry(connection)
            with translated(self._path):
                try:
                    connection.execute("BEGIN")
                    yield connection
                finally:
                    if connection.in_transaction:
                        connection.execute("ROLLBACK")

    def close(self) -> None:
        """Close both connections; later use raises `StorageUnavailable`."""
        with self._write_lock, self._read_lock:
            self._closed = True
            for connection in (self._reader, self._writer):
                if connection is not None:
                    connection.close()
            self._reader = self._writer = None

    def _connect(self, accept: Callable[[sqlite3.Connection], None]) -> sqlite3.Connection:
        """A connection that `accept` has made fit; closed again when it has not."""
        if self._closed:
            raise StorageUnavailable("this store is closed; open the application again", "connection")
        connection = sqlite3.connect(
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
        def accept(connection: sqlite3.Connection) -> None:
            if self._path is not None:
                connection.execute("PRAGMA journal_mode = WAL")
            migrate(connection, str(self._path))

        with translated(self._path):
            self._writer = self._connect(accept)
        self._opened = _identity(self._path)
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
        self._write_lock.acquire()
        self._read_lock.acquire()

    def after_fork_in_parent(self) -> None:
        """Go on."""
        self._read_lock.release()
        self._write_lock.release()

    def after_fork_in_child(self) -> None:
        """Forget the parent's connections; the next use opens the child's own."""
        # Kept, not closed: closing would touch locks and shared memory that belong to the parent.
        self._abandoned += [self._writer, self._reader]
        self._writer = self._reader = None
        self._write_lock = threading.RLock()
        self._read_lock = threading.RLock()
        if self._path is None:
            self._closed = True  # a store in memory does not exist in the child
        self._on_fork()


_FORKED: weakref.WeakSet[Connections] = weakref.WeakSet()


_forking: list[Connections] = []
"""Those that wait for the end of a fork: the same ones after it as before, whatever was opened meanwhile."""


def _before_fork() -> None:
    _forking[:] = list(_FORKED)
    for connections in _forking:
        connections.before_fork()


def _each(verb: Callable[[Connections], None]) -> Callable[[], None]:
    def run() -> None:
        for connections in _forking:
            verb(connections)
        _forking.clear()

    return run


os.register_at_fork(
    before=_before_fork,
    after_in_parent=_each(Connections.after_fork_in_parent),
    after_in_child=_each(Connections.after_fork_in_child),
)


def _identity(path: Path | None) -> tuple[int, int] | None:
    """Which file has this name; None when there is none."""
    if path is None:
        return None
    try:
        found = os.stat(path)  # noqa: PTH116 - half the price of the method, and paid by every call
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _refuse_reentry(connection: sqlite3.Connection) -> None:
    """A signal handler that enqueues while its own thread is in a transaction must not end that one."""
    if connection.in_transaction:
        raise StorageUnavailable("called from a signal handler in the middle of another call; call it later")


def migrate(connection: sqlite3.Connection, name: str) -> None:
    """Bring an empty file to the current format; refuse files that are newer or not ours."""
    if sqlite3.sqlite_version_info < _OLDEST:
        here, oldest = sqlite3.sqlite_version, ".".join(map(str, _OLDEST))
        raise ConfigurationError(f"SQLite {here} is too old, glassq needs {oldest}; use a newer Python build")
    found = _format(connection)
    if found == FORMAT:
        return
    if found > FORMAT:
        raise FormatMismatch(name, found, FORMAT)
    connection.execute("BEGIN IMMEDIATE")
    try:
        if _format(connection) == 0:  # another process may have made the tables while we waited
            if _value(connection, "SELECT count(*) FROM sqlite_master"):
                raise ConfigurationError(f"{name} is another program's database; name a file of glassq's own")
            for statement in _SCHEMA.read_text().split(";\n"):
                if statement.strip():
                    connection.execute(statement)
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {FORMAT}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _format(connection: sqlite3.Connection) -> int:
    """The file's format version; 0 for an empty file. A version set by another program counts as foreign."""
    version = int(_value(connection, "PRAGMA user_version"))
    if version and _value(connection, "PRAGMA application_id") != APPLICATION_ID:
        return 0
    return version


def _value(connection: sqlite3.Connection, sql: str) -> Any:
    return connection.execute(sql).fetchone()[0]


@contextmanager
def translated(path: Path | None) -> Iterator[None]:
    """The boundary at which SQLite's errors become glassq's."""
    try:
        yield
    except sqlite3.Error as error:
        name = str(getattr(error, "sqlite_errorname", None) or "")
        if name.startswith(_DAMAGE):
            raise CorruptRecord(f"{path} is damaged ({name}); {_recovery(path)}") from error
        family = "_".join(name.split("_")[:2])
        reason = _REASONS.get(family, "other")
        if isinstance(error, sqlite3.ProgrammingError):
            reason = "connection"
        raise StorageUnavailable(
            f"{path or 'the store in memory'}: {error} ({name or 'no code'})", reason
        ) from error
    except _SENSELESS as error:
        if path is None:
            raise
        # Most damage is none to SQLite: a flipped bit in a column is another value.
        raise CorruptRecord(
            f"{path} holds what glassq cannot have written ({type(error).__name__}: {error}): it is damaged, "
            f"or this is a mistake in glassq; {_recovery(path)}"
        ) from error


def _recovery(path: Path | None) -> str:
    return (
        "stop all its users, keep a copy, and recover what is readable with: "
        f"sqlite3 {path} .recover | sqlite3 recovered.db"
    )
