"""A bucket on loopback that speaks as much of S3 as models need: list, get with ranges and If-Match, put, multipart."""

from __future__ import annotations

import hashlib
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

_PAGE = 3
"""Keys in one page of a listing: small, so that listings are followed on."""


@dataclass
class FakeS3:
    """What the bucket `models` holds, how it fails, and what it was asked."""

    objects: dict[str, bytes] = field(default_factory=dict)
    refuses: bool = False
    cuts: dict[str, list[int]] = field(default_factory=dict)
    rots: set[str] = field(default_factory=set)
    """Keys whose next upload is kept with its first byte flipped."""
    puts: Counter[str] = field(default_factory=Counter)
    sent: Counter[str] = field(default_factory=Counter)
    uploads: dict[str, dict[int, bytes]] = field(default_factory=dict)
    url: str = ""

    def keep(self, key: str, content: bytes) -> None:
        self.puts[key] += 1
        if key in self.rots:
            self.rots.discard(key)
            content = bytes([content[0] ^ 1]) + content[1:]
        self.objects[key] = content


def etag(content: bytes) -> str:
    return f'"{hashlib.md5(content, usedforsecurity=False).hexdigest()}"'


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    bucket: FakeS3

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        pass

    def _key(self) -> tuple[str, dict[str, str]]:
        parts = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
        return unquote(parts.path).removeprefix("/models").lstrip("/"), query

    def _send(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _xml(self, status: int, body: str) -> None:
        self._send(status, f'<?xml version="1.0"?>{body}'.encode(), Content_Type="application/xml")

    def do_GET(self) -> None:
        key, query = self._key()
        if self.bucket.refuses:
            self._xml(403, "<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>")
        elif "list-type" in query:
            self._list(query)
        elif key not in self.bucket.objects:
            self._xml(404, "<Error><Code>NoSuchKey</Code></Error>")
        else:
            self._object(key, self.bucket.objects[key])

    do_HEAD = do_GET  # noqa: N815

    def _list(self, query: dict[str, str]) -> None:
        after = query.get("continuation-token") or query.get("start-after") or ""
        keys = sorted(k for k in self.bucket.objects if k.startswith(query.get("prefix", "")) and k > after)
        page, more = keys[:_PAGE], len(keys) > _PAGE
        items = "".join(
            f"<Contents><Key>{escape(k)}</Key><LastModified>2025-01-01T00:00:00.000Z</LastModified>"
            f"<ETag>{escape(etag(self.bucket.objects[k]))}</ETag><Size>{len(self.bucket.objects[k])}</Size></Contents>"
            for k in page
        )
        token = f"<NextContinuationToken>{escape(page[-1])}</NextContinuationToken>" if more else ""
        flag = "true" if more else "false"
        self._xml(200, f"<ListBucketResult><IsTruncated>{flag}</IsTruncated>{token}{items}</ListBucketResult>")

    def _object(self, key: str, content: bytes) -> None:
        if self.headers.get("If-Match") not in (None, etag(content)):
            self._xml(412, "<Error><Code>PreconditionFailed</Code></Error>")
            return
        asked = self.headers.get("Range")
        first, last = 0, len(content) - 1
        if asked:
            begin, _, end = asked.removeprefix("bytes=").partition("-")
            first, last = int(begin), min(last, int(end) if end else last)
        body = content[first : last + 1]
        self.send_response(206 if asked else 200)
        if asked:
            self.send_header("Content-Range", f"bytes {first}-{last}/{len(content)}")
        self.send_header("ETag", etag(content))
        self.send_header("Last-Modified", formatdate(1735689600, usegmt=True))
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "HEAD":
            return
        if self.bucket.cuts.get(key):
            body = body[: self.bucket.cuts[key].pop(0)]
            self.close_connection = True
        self.wfile.write(body)
        self.bucket.sent[key] += len(body)

    def _body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length", "0")))

    def do_PUT(self) -> None:
        key, query = self._key()
        body = self._body()
        if "uploadId" in query:
            self.bucket.uploads[query["uploadId"]][int(query["partNumber"])] = body
        else:
            self.bucket.keep(key, body)
        self._send(200, ETag=etag(body))

    def do_POST(self) -> None:
        key, query = self._key()
        self._body()
        if "uploads" in query:
            name = f"upload-{len(self.bucket.uploads)}"
            self.bucket.uploads[name] = {}
            self._xml(
                200, f"<InitiateMultipartUploadResult><UploadId>{name}</UploadId></InitiateMultipartUploadResult>"
            )
            return
        parts = self.bucket.uploads.pop(query["uploadId"])
        self.bucket.keep(key, b"".join(parts[number] for number in sorted(parts)))
        mark = escape(etag(self.bucket.objects[key]))
        self._xml(200, f"<CompleteMultipartUploadResult><ETag>{mark}</ETag></CompleteMultipartUploadResult>")

    def do_DELETE(self) -> None:
        self._send(204)


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass


@contextmanager
def serving(bucket: FakeS3) -> Iterator[FakeS3]:
    """Runs it on a free port."""
    server = _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"bucket": bucket}))
    threading.Thread(target=server.serve_forever, name="s3", daemon=True, kwargs={"poll_interval": 0.01}).start()
    bucket.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield bucket
    finally:
        server.shutdown()
        server.server_close()
