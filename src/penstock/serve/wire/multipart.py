"""Finding the fields of a multipart form in its bytes, as the audio API sends them.

Guarantees: any bytes give fields or none and never an error; a file's content can't pose as a field; the cost is one
search of the body for its boundary. Files are passed over, nothing is copied.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

__all__ = ["form_boundary", "form_fields"]

PARTS_MAX = 200
"""Parts of one form that are looked at; the audio API has about twenty fields."""
PART_HEAD_BYTES_MAX = 4096

_FORM = re.compile(r"multipart/form-data[ \t]*(?:;|$)", re.IGNORECASE)
_BOUNDARY = re.compile(r';[ \t]*boundary=(?:"([^"]{1,200})"|([^;\s"]{1,200}))', re.IGNORECASE)
_DISPOSITION = re.compile(rb"^content-disposition:[ \t]*form-data([^\r\n]*)", re.IGNORECASE | re.MULTILINE)
_PARAMETER = re.compile(rb';[ \t]*([^\s=;"]+)[ \t]*=[ \t]*(?:"((?:[^"\\]|\\.)*)"|([^;\s"]*))')


def form_boundary(content_type: str) -> bytes:
    """The boundary that a Content-Type tells; empty when it is no form or tells none."""
    found = _BOUNDARY.search(content_type) if _FORM.match(content_type) else None
    return (found[1] or found[2]).encode("latin-1", "replace") if found else b""


def form_fields(body: bytes, boundary: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Name, start and end of the value of each field that is not a file."""
    delimiter = b"\r\n--" + boundary
    place = len(delimiter) - 2 if body.startswith(delimiter[2:]) else _after(body, delimiter, 0)[1]
    for _ in range(PARTS_MAX):
        if place < 0 or body.startswith(b"--", place):
            return
        start = body.find(b"\r\n", place)
        end, following = _after(body, delimiter, start)
        if start < 0 or end < 0:
            return
        head_end = body.find(b"\r\n\r\n", start, min(end, start + PART_HEAD_BYTES_MAX))
        name = _field_name(body[start : head_end + 2]) if head_end >= 0 else b""
        if name:
            yield name, head_end + 4, end
        place = following


def _after(body: bytes, delimiter: bytes, start: int) -> tuple[int, int]:
    """Where the next delimiter begins and what follows it; -1 where there is none."""
    at = body.find(delimiter, start) if start >= 0 else -1
    while at >= 0:
        after = at + len(delimiter)
        if body[after : after + 2] in (b"--", b"\r\n") or body[after : after + 1] in (b" ", b"\t"):
            return at, after
        at = body.find(delimiter, after)  # a longer line that begins like the boundary
    return -1, -1


def _field_name(head: bytes) -> bytes:
    disposition = _DISPOSITION.search(head)
    if disposition is None:
        return b""
    parameters: dict[bytes, bytes] = {}
    for name, quoted, plain in _PARAMETER.findall(disposition[1]):
        parameters.setdefault(name.lower(), quoted or plain)
    return b"" if b"filename" in parameters or b"filename*" in parameters else parameters.get(b"name", b"")
