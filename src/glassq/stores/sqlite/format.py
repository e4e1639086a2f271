"""The format of the file: made in an empty one, refused where it is another, or another program's."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from glassq.errors import ConfigurationError, FormatMismatch

FORMAT = 5
APPLICATION_ID = 0x676C7371  # "glsq": tells our files from other people's databases
_OLDEST = (3, 35, 0)
_SCHEMA = Path(__file__).with_name("schema.sql")


def migrate(connection: sqlite3.Connection, name: str) -> None:
    """Bring an empty file to the current format; refuse files of another one, or not ours."""
    if sqlite3.sqlite_version_info < _OLDEST:
        here, oldest = sqlite3.sqlite_version, ".".join(map(str, _OLDEST))
        raise ConfigurationError(f"SQLite {here} is too old, glassq needs {oldest}; use a newer Python build")
    found = _format(connection)
    if found == FORMAT:
        _add_what_is_missing(connection)
        return
    if found:
        raise FormatMismatch(name, found, FORMAT, older=found < FORMAT)
    connection.execute("BEGIN IMMEDIATE")
    try:
        if _format(connection) == 0:  # another process may have made the tables while we waited
            if _value(connection, "SELECT count(*) FROM sqlite_master"):
                raise ConfigurationError(f"{name} is another program's database; name a file of glassq's own")
            for statement in _statements(_SCHEMA.read_text()):
                connection.execute(statement)
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {FORMAT}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _add_what_is_missing(connection: sqlite3.Connection) -> None:
    """Tables that came into this format, or changed, while nobody but its makers had files of it."""
    if not _value(connection, "SELECT count(*) FROM sqlite_master WHERE name = 'inflows'"):
        connection.execute("DROP TABLE IF EXISTS legs")
        for statement in _statements(_SCHEMA.read_text()):
            if "IF NOT EXISTS" in statement:
                connection.execute(statement)


def _statements(script: str) -> Iterator[str]:
    """One by one: `executescript` would commit what was begun."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):  # a trigger has several in it
            yield statement
            statement = ""


def _format(connection: sqlite3.Connection) -> int:
    """The file's format version; 0 for an empty file. A version set by another program counts as foreign."""
    version = int(_value(connection, "PRAGMA user_version"))
    if version and _value(connection, "PRAGMA application_id") != APPLICATION_ID:
        return 0
    return version


def _value(connection: sqlite3.Connection, sql: str) -> Any:
    return connection.execute(sql).fetchone()[0]
