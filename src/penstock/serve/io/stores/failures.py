"""What a database's failure means to a person: each of its errors as words, and what to do."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

import asyncpg  # type: ignore[import-untyped]
from sqlalchemy.exc import SQLAlchemyError

from penstock.errors import PenstockError
from penstock.serve.io.stores.address import ANSWER_S, StoreAddress

__all__ = ["told"]

_SQLITE = {
    sqlite3.SQLITE_READONLY: ("can't be written: it, its folder or its disk is read-only", "make it writable, or name "
        "a file that is with spec.gateway.store.url"),
    sqlite3.SQLITE_FULL: ("can't be written: its disk is full", "free some space; what was there before is unharmed"),
    sqlite3.SQLITE_BUSY: (f"is held by another writer for more than {ANSWER_S:g} s", "try again; `fuser` tells who"),
    sqlite3.SQLITE_CANTOPEN: ("can't be opened: it is not there, or may not be read", "check the path and its owner"),
    sqlite3.SQLITE_NOTADB: ("is no SQLite file", "move it away, or name another file with spec.gateway.store.url"),
    sqlite3.SQLITE_CORRUPT: ("is damaged", "put back a backup of it"),
    sqlite3.SQLITE_IOERR: ("can't be read or written: its disk fails", "look at the disk (`dmesg`)"),
    sqlite3.SQLITE_PERM: ("may not be opened", "check its owner"),
}  # fmt: skip
_POSTGRESQL = {
    "28P01": ("refuses the password", "check what spec.gateway.store.passwordFrom names"),
    "28000": ("refuses the user", "check the user of spec.gateway.store.url, and pg_hba.conf"),
    "3D000": ("has no such database", "make it: `CREATE DATABASE penstock OWNER penstock`"),
    "42501": ("does not let the user do that", "let the user own the tables, or grant it what it needs"),
    "25006": ("is read-only", "name the primary: `?target_session_attrs=read-write` finds it among several"),
    "53100": ("has a full disk", "free some space; what was there before is unharmed"),
    "53300": ("has no connection left", "raise max_connections, or close some"),
    "57P03": ("is starting or stopping", "wait for it"),
    "57P01": ("was shut down", "start it again"),
}
"""By SQLSTATE: https://www.postgresql.org/docs/current/errcodes-appendix.html"""


@contextmanager
def told(address: StoreAddress) -> Iterator[None]:
    """Turns whatever a database raises inside into a `PenstockError` that names the store."""
    try:
        yield
    except (SQLAlchemyError, sqlite3.Error, asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
        what, hint = _words(error, is_file=address.path is not None)
        raise PenstockError(f"The store {address.shown} {what}.", hint=hint) from error


def _words(error: BaseException, *, is_file: bool) -> tuple[str, str | None]:
    for cause in _causes(error):
        code = getattr(cause, "sqlite_errorcode", None)
        if isinstance(code, int) and (code & 0xFF) in _SQLITE:
            return _SQLITE[code & 0xFF]
        if (state := getattr(cause, "sqlstate", None)) in _POSTGRESQL:
            return _POSTGRESQL[state]
        if isinstance(cause, TimeoutError):
            return f"did not answer within {ANSWER_S:g} s", "check that it runs and can be reached from here"
        if isinstance(cause, OSError) and is_file:
            return f"can't be opened: {cause.strerror or cause}", "check the path, its owner and its disk"
        if isinstance(cause, OSError):
            return f"can't be reached: {cause.strerror or cause}", "check that it runs and can be reached from here"
    last = list(_causes(error))[-1]
    return f"failed: {type(last).__name__}: {str(last).splitlines()[0] if str(last) else ''}"[:300], None


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and what it was made of, the driver's own words last."""
    seen: list[BaseException] = []
    waiting: list[BaseException | None] = [error]
    while waiting and len(seen) < 16:
        cause = waiting.pop(0)
        if cause is not None and cause not in seen:
            seen.append(cause)
            waiting += [getattr(cause, "orig", None), cause.__cause__]
    yield from seen
