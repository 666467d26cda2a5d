"""Reads the files of CAs that a fleet file names for its providers.

Guarantees: each file that can't be used is told with its line in the fleet file; what is returned is text that OpenSSL
has read, so that no request finds out.
"""

from __future__ import annotations

import ssl
from pathlib import Path

from penstock.errors import Problem, SpecError
from penstock.spec import Fleet
from penstock.spec.document import parse_document

__all__ = ["authorities_of", "beside"]

_BYTES_MAX = 1024 * 1024
"""The CAs of a whole operating system are a quarter of it."""
_HINT = "PEM: one or more blocks that begin with `-----BEGIN CERTIFICATE-----`"


class _Unusable(Exception):
    """Says what is wrong with a file, and what would help."""

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


def beside(fleet_file: str, named: str) -> Path:
    """Where a file lies that a fleet file names: relative to that; where it is stdin (`-`), to the folder we run in."""
    return (Path() if fleet_file == "-" else Path(fleet_file).parent) / named


def authorities_of(fleet: Fleet, fleet_file: str, text: str) -> dict[str, str]:
    """The CAs of each provider that names a file of them, PEM, by the provider's name. `text` is the fleet file's.

    Raises:
        SpecError: a file is not there, can't be read, or holds no certificate.
    """
    found: dict[str, str] = {}
    wrong: list[tuple[int, _Unusable]] = []
    for place, provider in enumerate(fleet.spec.gateway.providers):
        if provider.ca_file is None:
            continue
        try:
            found[provider.name] = _read(beside(fleet_file, provider.ca_file))
        except _Unusable as error:
            wrong.append((place, error))
    if wrong:
        raise SpecError(_problems(wrong, text, "<stdin>" if fleet_file == "-" else fleet_file))
    return found


def _problems(wrong: list[tuple[int, _Unusable]], text: str, shown: str) -> list[Problem]:
    document = parse_document(text, shown)
    at = ("spec", "gateway", "providers")
    return [document.problem((*at, place, "caFile"), str(error), error.hint) for place, error in wrong]


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            raw = file.read(_BYTES_MAX + 1)
    except FileNotFoundError as error:
        raise _Unusable(f"there is no file {path}", "a path is relative to the fleet file") from error
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise _Unusable(f"{path} can't be read: {why}") from error
    if len(raw) > _BYTES_MAX:
        raise _Unusable(f"{path} is larger than {_BYTES_MAX // 1024} KiB: that is no file of CAs", _HINT)
    pem = raw.decode("ascii", "ignore")  # around the blocks there may be words in any language
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=pem)
    except (ssl.SSLError, ValueError) as error:  # ValueError: it is empty
        raise _Unusable(f"{path} holds no certificate, or one that can't be read", _HINT) from error
    return pem
