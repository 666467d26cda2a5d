"""Reads what doctor is pointed at: files, folders, stdin. Every failure is a problem in words, never an exception.

Guarantees: the same order on every machine; links are followed once; no file larger than the bound is held in memory.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from penstock.errors import Problem, UsageError
from penstock.operate.doctor.evidence import Evidence, joined
from penstock.operate.doctor.reading import evidence_of_text, is_readable_name

__all__ = ["FILE_BYTES_MAX", "read_evidence", "readable_files"]

FILE_BYTES_MAX = 32 * 1024 * 1024
"""A larger file is not read: a dump of a thousand pods has a third of it."""
_FILES_MAX = 20_000
_SKIPPED = frozenset({".git", ".venv", "node_modules", "__pycache__", ".terraform", "vendor"})


def read_evidence(paths: list[str], *, tick: Callable[[str, int, int], None] | None = None) -> Evidence:
    """Reads all paths; `tick(name, done, total)` is called before each file.

    Raises:
        UsageError: a path that is named does not exist.
    """
    files = list(dict.fromkeys(file for path in paths for file in readable_files(path)))
    if not files:
        raise UsageError(
            f"there is nothing to read in {', '.join(paths)}",
            hint="it reads *.yaml, *.yml, *.json, *.sh, *.md, *.log, *.txt and Dockerfiles",
        )
    parts: list[Evidence] = []
    for place, file in enumerate(files):
        if tick is not None:
            tick(file, place, len(files))
        parts.append(_read(file))
    return joined(parts)


def readable_files(path: str) -> Iterator[str]:
    """A file itself, whatever its name; a folder's readable ones, deep, by name; `-` is stdin."""
    if path == "-" or Path(path).is_file():
        yield path
        return
    if not Path(path).is_dir():
        if Path(path).exists():  # a pipe, as from a shell's <(…)
            yield path
            return
        raise UsageError(f"there is no file or folder {path}", hint="name files, folders, or `-` for stdin")
    count = 0
    for folder, inner, names in os.walk(path):
        inner[:] = sorted(name for name in inner if name not in _SKIPPED)
        for name in sorted(names):
            if is_readable_name(name):
                count += 1
                if count > _FILES_MAX:
                    raise UsageError(f"{path} holds more than {_FILES_MAX} files to read", hint="name a folder in it")
                yield str(Path(folder, name))


def _read(path: str) -> Evidence:
    shown = "<stdin>" if path == "-" else path
    try:
        if path == "-":
            raw = sys.stdin.buffer.read(FILE_BYTES_MAX + 1)
        else:
            with Path(path).open("rb") as file:
                raw = file.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        return _unread(shown, f"cannot be read: {error.strerror or error}")
    if len(raw) > FILE_BYTES_MAX:
        return _unread(shown, f"is larger than {FILE_BYTES_MAX // 1024**2} MiB and was not read", "split it")
    if raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return _unread(shown, "is UTF-16 text and was not read", "save it as UTF-8")
    if b"\0" in raw[:8192]:
        return _unread(shown, "is no text and was not read")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        return _unread(shown, f"is not UTF-8 text: byte 0x{raw[error.start]:02X} on line {line}", "save it as UTF-8")
    return evidence_of_text(text, shown)


def _unread(file: str, message: str, hint: str | None = None) -> Evidence:
    problem = Problem(file=file, line=0, column=0, field="", message=message, hint=hint)
    return Evidence(problems=(problem,), files=1)
