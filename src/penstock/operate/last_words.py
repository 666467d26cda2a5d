"""Which lines of a dead process to show a person. Pure.

vLLM ends with a generic error of its main process; the cause stands in a worker's traceback, further up. So: the last
lines, and before them the latest earlier lines that name an error.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

__all__ = ["LINES_KEPT", "last_words"]

LINES_KEPT = 400
"""Lines of each process kept in memory: enough to hold the tracebacks of three processes."""
_TAIL_LINES = 12
_CAUSE_LINES = 4
_CAUSE = re.compile(r"\b[A-Z]\w*(Error|Exception)\b(:|\()|\berror:|out of memory", re.IGNORECASE)
_ESCAPE = re.compile(r"\x1b?\[[0-9;]*m")


def last_words(lines: Sequence[str]) -> tuple[str, ...]:
    """At most 16 lines: what named an error before the end, then the end. Empty lines and colours are left out."""
    said = [text for line in lines if (text := _ESCAPE.sub("", line).rstrip())]
    tail = said[-_TAIL_LINES:]
    causes: list[str] = []
    for line in reversed(said[:-_TAIL_LINES]):
        if len(causes) < _CAUSE_LINES and _CAUSE.search(line) and line not in causes and line not in tail:
            causes.insert(0, line)
    return (*causes, *tail)
