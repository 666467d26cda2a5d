"""The store of the gateway: where keys are kept that no file names. The password stands elsewhere, always."""

from __future__ import annotations

import re
from typing import Annotated, Self
from urllib.parse import parse_qsl, unquote, urlsplit

from pydantic import AfterValidator, Field, model_validator

from penstock.spec.base import Finding, Refusal, SpecObject, Words
from penstock.spec.sources import ValueSource

__all__ = ["StoreSpec", "parse_store_url", "sqlite_path"]

FORMS = "as in `sqlite:keys.db` or `postgresql://penstock@db.example/penstock?sslmode=verify-full`"
_OPTIONS = frozenset({"sslmode", "sslrootcert", "sslcert", "sslkey", "sslcrl", "target_session_attrs"})
"""What may follow `?`: how the connection is secured and which server of several is taken, and nothing else."""
_HOST = re.compile(r"[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]")


def parse_store_url(url: str) -> str:
    """The URL as it was given, when it is one that a store can have.

    Raises:
        ValueError: it is not, or a password stands in it; the text never repeats the URL.
    """
    scheme, colon, rest = url.partition(":")
    if scheme == "sqlite" and colon:
        if not sqlite_path(url):
            raise ValueError("names no file: write `sqlite:keys.db`, a path from the fleet file's folder")
        if "?" in rest or "#" in rest or "\0" in rest:
            raise ValueError("names a file with `?`, `#` or a zero byte in it, which a store's can't have")
        return url
    if scheme != "postgresql" or not rest.startswith("//"):
        raise ValueError(f"must begin with `sqlite:` or `postgresql://`, {FORMS}")
    _check_postgresql(url)
    return url


def sqlite_path(url: str) -> str:
    """The file that a `sqlite:` URL names; "" for another store. `sqlite:///a` and `sqlite:/a` mean the same."""
    scheme, _, rest = url.partition(":")
    if scheme != "sqlite":
        return ""
    return rest[2:] if rest.startswith("//") else rest


def _check_postgresql(url: str) -> None:
    parts = urlsplit(url)
    user, at, where = parts.netloc.rpartition("@")
    if ":" in user or any(name.lower() == "password" for name, _ in parse_qsl(parts.query, keep_blank_values=True)):
        raise ValueError(
            "holds a password, and the file is kept in git: take it out and say `passwordFrom: {env: NAME}` beside it"
        )
    host, colon, port = where.rpartition(":") if not where.endswith("]") else (where, "", "")
    host = host if colon else where
    if not at or not user or not _HOST.fullmatch(host) or (colon and not _is_port(port)):
        raise ValueError(f"must name a user and a host, {FORMS}")
    if not unquote(parts.path).strip("/") or parts.fragment:
        raise ValueError(f"must name a database after the host, {FORMS}")
    for name, _ in parse_qsl(parts.query, keep_blank_values=True):
        if name not in _OPTIONS:
            raise ValueError(f"has the option {name!r}, and may have: {', '.join(sorted(_OPTIONS))}")


def _is_port(port: str) -> bool:
    return port.isascii() and port.isdigit() and len(port) <= 5 and 0 < int(port) <= 65535


class StoreSpec(SpecObject):
    """Where keys are kept that the file does not name: those of `penstock keys` and the admin port."""

    url: Annotated[str, Field(max_length=1024), AfterValidator(parse_store_url), Words("the URL of a store, " + FORMS)]
    """`sqlite:PATH`, from the fleet file's folder, or `postgresql://USER@HOST/DATABASE`, which several gateways can
    share. Never with a password."""
    password_from: ValueSource | None = None
    """Where the password of a PostgreSQL user is read from. Default: none is sent."""

    @model_validator(mode="after")
    def _password_has_a_use(self) -> Self:
        if self.password_from is not None and sqlite_path(self.url):
            message = "stands with a SQLite file, which has no password"
            raise Refusal([Finding(at=("passwordFrom",), message=message, hint="take it out")])
        return self
