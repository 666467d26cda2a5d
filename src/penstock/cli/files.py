"""Reads the files that a person names on the command line; says in words why one cannot be read."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from penstock.errors import UsageError

if TYPE_CHECKING:
    from penstock.facts import Architecture
    from penstock.spec import Fleet

__all__ = ["architecture_of", "load_fleet_file", "read_text"]

_BYTES_MAX = 4 * 1024 * 1024
"""A larger file is no fleet file: a thousand models need a tenth of it."""


def load_fleet_file(path: str) -> Fleet:
    """Reads a fleet file; `-` is stdin.

    Raises:
        UsageError: it cannot be read.
        SpecError: it is wrong.
    """
    from penstock.spec.loader import load_fleet  # noqa: PLC0415 — start-up time

    return load_fleet(read_text(path), "<stdin>" if path == "-" else path)


def architecture_of(source: str) -> Architecture:
    """The architecture of a folder by its `config.json`, of a hub name by the facts.

    Raises:
        UsageError: the folder's `config.json` cannot be read, or is none.
    """
    from penstock.facts import architecture_from_config, find_model  # noqa: PLC0415 — start-up time

    path = Path(source).expanduser() / "config.json"
    if not path.is_file():
        return find_model(source)
    try:
        return architecture_from_config(json.loads(path.read_text(encoding="utf-8")), Path(source).name)
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} cannot be read: {error}", hint="it is the model's own config.json") from error


def read_text(path: str) -> str:
    """The text of a file; `-` is stdin.

    Raises:
        UsageError: no such file, a folder, not readable for us, not UTF-8, or far too large.
    """
    shown = "<stdin>" if path == "-" else path
    try:
        if path == "-":
            raw = sys.stdin.buffer.read(_BYTES_MAX + 1)
        else:
            with Path(path).open("rb") as file:
                raw = file.read(_BYTES_MAX + 1)
    except FileNotFoundError as error:
        raise UsageError(f"there is no file {shown}", hint=_similar_files(path)) from error
    except IsADirectoryError as error:
        inside = _yaml_files(Path(path))
        hint = f"name a file in it: {', '.join(inside)}" if inside else "name a file"
        raise UsageError(f"{shown} is a folder, not a file", hint=hint) from error
    except PermissionError as error:
        raise UsageError(f"{shown} cannot be read: permission denied", hint=f"see `ls -l {shown}`") from error
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise UsageError(f"{shown} cannot be read: {reason}") from error
    return _decoded(raw, shown)


def _decoded(raw: bytes, shown: str) -> str:
    if len(raw) > _BYTES_MAX:
        raise UsageError(f"{shown} is larger than {_BYTES_MAX // 1024**2} MiB: that is no fleet file")
    if raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise UsageError(f"{shown} is UTF-16 text", hint="save it as UTF-8")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        message = f"{shown} is not UTF-8 text: byte 0x{raw[error.start]:02X} on line {line}"
        raise UsageError(message, hint="save it as UTF-8") from error


def _similar_files(path: str) -> str | None:
    """YAML files beside the one that is missing, the most similar first."""
    from penstock.spec.nearest import nearest  # noqa: PLC0415 — start-up time

    folder = Path(path).parent
    names = _yaml_files(folder)
    close = nearest(Path(path).name, names, 1)
    if close:
        return f"did you mean {folder / close[0]}?"
    if not folder.is_dir():
        return f"there is no folder {folder} either"
    return f"YAML files there: {', '.join(names)}" if names else None


def _yaml_files(folder: Path) -> list[str]:
    """Up to ten YAML files of a folder; none where it cannot be read."""
    try:
        return sorted(entry.name for entry in folder.iterdir() if entry.suffix in (".yaml", ".yml"))[:10]
    except OSError:
        return []
