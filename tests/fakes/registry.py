"""An OCI registry on loopback: manifests by tag and digest, blobs with ranges, and a token that it may ask for."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit


def digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


@dataclass
class FakeRegistry:
    """What it holds and what it sent."""

    manifests: dict[str, bytes] = field(default_factory=dict)
    """By tag and by digest."""
    blobs: dict[str, bytes] = field(default_factory=dict)
    password: str | None = None
    """Where set: what `user` logs in with."""
    cuts: dict[str, list[int]] = field(default_factory=dict)
    sent: Counter[str] = field(default_factory=Counter)
    host: str = ""

    def push(self, tag: str, files: Mapping[str, bytes], *, media: str = "application/octet-stream") -> str:
        """Stores files as an artifact; its digest."""
        layers = []
        for path, content in files.items():
            self.blobs[digest(content)] = content
            notes = {"org.opencontainers.image.title": path}
            layers.append({"mediaType": media, "digest": digest(content), "size": len(content), "annotations": notes})
        config = {"mediaType": "application/vnd.oci.empty.v1+json", "digest": digest(b"{}"), "size": 2}
        kind = "application/vnd.oci.image.manifest.v1+json"
        raw = json.dumps({"schemaVersion": 2, "mediaType": kind, "config": config, "layers": layers}).encode()
        self.manifests[tag] = self.manifests[digest(raw)] = raw
        return digest(raw)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    registry: FakeRegistry

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        pass

    def _send(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        registry = self.registry
        if path == "/token":
            wanted = f"user:{registry.password}"

            given = (self.headers.get("Authorization") or "").removeprefix("Basic ")
            is_right = base64.b64decode(given).decode() == wanted if given else False
            self._send(200 if is_right else 401, json.dumps({"token": "secret-token"} if is_right else {}).encode())
            return
        if registry.password is not None and self.headers.get("Authorization") != "Bearer secret-token":
            challenge = f'Bearer realm="http://{registry.host}/token",service="registry",scope="repository:models:pull"'
            self._send(401, b"{}", Www_Authenticate=challenge)
            return
        _, _, kind, name = path.rsplit("/", 3)
        if kind == "manifests" and name in registry.manifests:
            self._send(200, registry.manifests[name], Content_Type="application/vnd.oci.image.manifest.v1+json")
        elif kind == "blobs" and name in registry.blobs:
            self._blob(name, registry.blobs[name])
        else:
            self._send(404, b'{"errors": [{"code": "MANIFEST_UNKNOWN"}]}')

    def _blob(self, name: str, content: bytes) -> None:
        asked = self.headers.get("Range")
        first = int(asked.removeprefix("bytes=").partition("-")[0]) if asked else 0
        body = content[first:]
        self.send_response(206 if asked else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.registry.cuts.get(name):
            body = body[: self.registry.cuts[name].pop(0)]
            self.close_connection = True
        self.wfile.write(body)
        self.registry.sent[name] += len(body)


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass


@contextmanager
def serving(registry: FakeRegistry) -> Iterator[FakeRegistry]:
    """Runs it on a free port."""
    server = _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"registry": registry}))
    threading.Thread(target=server.serve_forever, name="oci", daemon=True, kwargs={"poll_interval": 0.01}).start()
    registry.host = f"127.0.0.1:{server.server_address[1]}"
    try:
        yield registry
    finally:
        server.shutdown()
        server.server_close()
