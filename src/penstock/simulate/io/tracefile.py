"""Opens trace files, plain or gzip, and hands their lines to the readers.

Guarantees: whatever is wrong with the file (absent, a folder, not text, cut short) is a `UsageError` that names it.
"""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path
from typing import TextIO

from penstock.errors import UsageError
from penstock.simulate.workload.request import TraceRequest
from penstock.simulate.workload.traces import RateTable, read_trace

__all__ = ["load_trace"]

_GZIP_MAGIC = b"\x1f\x8b"


def load_trace(path: Path) -> list[TraceRequest] | RateTable:
    """The trace in this file."""
    try:
        with _open_text(path) as lines:
            return read_trace(lines, file=str(path))
    except UnicodeDecodeError as e:
        raise UsageError(f"{path}: not a text file (byte {e.start} is not UTF-8)", hint="traces are CSV or JSON") from e
    except (EOFError, gzip.BadGzipFile, zlib.error) as e:
        raise UsageError(f"{path}: the gzip file is broken or cut short: {e}") from e
    except OSError as e:
        raise UsageError(f"{path}: cannot be read: {e.strerror or e}") from e


def _open_text(path: Path) -> TextIO:
    with path.open("rb") as file:
        is_gzip = file.read(2) == _GZIP_MAGIC
    return gzip.open(path, "rt", encoding="utf-8") if is_gzip else path.open(encoding="utf-8")
