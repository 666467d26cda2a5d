"""The fake API server on a loopback port, for real clients: `kubectl`, `kr8s`, `kopf`.

    async with ApiServer(cluster) as server: ...       in a running event loop
    with running_api_server(cluster) as server: ...    in a thread of its own, for tests of commands

Guarantees: a watch streams an event as soon as the request that caused it is answered; leaving closes every connection
and ends every task; only loopback. Leaves to others: what is answered (`Cluster`).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Self, TypeVar

import uvicorn
from starlette.requests import Request as HttpRequest
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from penstock.errors import StartError
from penstock.operate.testing.access import User
from penstock.operate.testing.cluster import Cluster
from penstock.operate.testing.faults import Faults, Logged
from penstock.operate.testing.io.kubeconfig import kubeconfig_text
from penstock.operate.testing.requests import BODY_BYTES_MAX, Answer, Request
from penstock.operate.testing.tables import table_of
from penstock.operate.testing.watches import Watch

__all__ = ["ApiServer", "running_api_server"]

T = TypeVar("T")
_HOST = "127.0.0.1"
_BOOKMARK_S = 1.0
"""Seconds of quiet after which a watch gets a bookmark; a real server sends them about once a minute."""
_WATCH_S = 1800.0
"""How long a watch runs whose client gives no `timeoutSeconds`; a real server draws 30 to 60 minutes."""
_START_S = 10.0
_RUN_S = 60.0
"""Longest that a thread waits for its turn."""


class _Protocol(HttpToolsProtocol):
    """uvicorn's own, that shows the connection to the application, so that a fault can reset it."""

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["transport"] = self.transport  # type: ignore[typeddict-unknown-key]


class ApiServer:
    """One cluster on one port. Owns its listener and what runs for its requests."""

    def __init__(
        self,
        cluster: Cluster,
        *,
        port: int = 0,
        tokens: Mapping[str, User] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`port` 0 takes any free one. `tokens` replaces the cluster's own. `clock`: Unix seconds of each request."""
        self.cluster = cluster
        self.port = port
        if tokens is not None:
            cluster.access.tokens = dict(tokens)
        self._clock = clock
        self._changed = asyncio.Event()
        self._closing = False
        self._drops = 0
        self._server: uvicorn.Server | None = None
        self._listener: socket.socket | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def url(self) -> str:
        return f"http://{_HOST}:{self.port}"

    @property
    def requests(self) -> list[Logged]:
        """Every request so far, oldest first."""
        return self.cluster.requests

    @property
    def faults(self) -> Faults:
        return self.cluster.faults

    def kubeconfig(self, path: Path | str, namespace: str = "default", *, token: str = "") -> Path:
        """Writes a kubeconfig file for this server, and returns where it is."""
        target = Path(path)
        if not token and self.cluster.access.tokens:
            token = next(iter(self.cluster.access.tokens))
        target.write_text(kubeconfig_text(self.url, namespace, token), encoding="utf-8")
        target.chmod(0o600)
        return target

    async def __aenter__(self) -> Self:
        """Binds and listens.

        Raises:
            StartError: the port is taken.
        """
        self._loop = asyncio.get_running_loop()
        try:
            self._listener = socket.create_server((_HOST, self.port), backlog=512)
        except OSError as error:
            raise StartError(
                f"the fake API server cannot listen on {_HOST}:{self.port}: {error}", hint="port 0 takes any free one"
            ) from error
        self.port = self._listener.getsockname()[1]
        config = uvicorn.Config(
            self._app,
            log_config=None,
            access_log=False,
            lifespan="off",
            ws="none",
            interface="asgi3",
            http=_Protocol,
            server_header=False,
            timeout_graceful_shutdown=1,
        )
        config.load()
        self._server = uvicorn.Server(config)
        self._server.lifespan = config.lifespan_class(config)
        await self._server.startup(sockets=[self._listener])
        self.cluster.on_change.append(self._wake)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        assert self._listener is not None
        self._closing = True
        self.cluster.on_change.remove(self._wake)
        self.faults.clear()
        self._wake_now()
        await self._server.shutdown(sockets=[self._listener])

    def run(self, work: Callable[[], T]) -> T:
        """What `work` returns, run between two requests: how another thread steps or changes the cluster.

        From the server's own event loop it is called at once.
        """
        assert self._loop is not None
        with contextlib.suppress(RuntimeError):
            if asyncio.get_running_loop() is self._loop:
                return work()
        done: Future[T] = Future()

        def call() -> None:
            try:
                done.set_result(work())
            except BaseException as error:  # handed to the thread that waits
                done.set_exception(error)

        self._loop.call_soon_threadsafe(call)
        return done.result(_RUN_S)

    def drop_watches(self) -> None:
        """Ends every watch that runs, without an error: what a restarting API server does."""
        self._drops += 1
        self._wake()

    def compact(self) -> None:
        """Forgets the history: running watches get 410 as they read on, and lists that continue are refused."""
        self.cluster.compact()

    def _wake(self) -> None:
        """From any thread."""
        assert self._loop is not None
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._wake_now)

    def _wake_now(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def _app(self, scope: Scope, receive: Receive, send: Send) -> None:
        http = HttpRequest(scope, receive)
        request = Request(
            method=http.method,
            path=http.url.path,
            query=dict(http.query_params),
            headers={name.lower(): value for name, value in http.headers.items()},
            body=await _body(http),
        )
        fault = self.faults.next_for(request.method, request.path)
        if fault is not None and fault.kind == "hold":
            await self._hold()
        if fault is not None and fault.kind == "reset":
            self.cluster.log(request, 0)
            scope["transport"].abort()
            await asyncio.sleep(0)  # lets the protocol learn that its connection is gone
            return
        if fault is not None and fault.kind == "error":
            refusal = self.faults.refusal(fault)
            self.cluster.log(request, refusal.code)
            answer = Answer(code=refusal.code, body=refusal.body(), headers=refusal.headers)
        else:
            answer = self.cluster.handle(request, self._clock())
        await self._response(request, answer)(scope, receive, send)

    async def _hold(self) -> None:
        assert self._loop is not None
        released = asyncio.Event()
        loop = self._loop

        def go_on() -> None:
            loop.call_soon_threadsafe(released.set)

        self.faults.held.append(go_on)
        await released.wait()

    def _response(self, request: Request, answer: Answer) -> Response:
        headers = dict(answer.headers)
        if answer.watch is not None:
            return StreamingResponse(
                self._stream(answer.watch, answer.timeout_s or _WATCH_S), media_type="application/json", headers=headers
            )
        if answer.text is not None:
            return Response(answer.text, answer.code, headers=headers, media_type=answer.content_type)
        content = b"" if request.method == "HEAD" else _dump(answer.body)
        return Response(content, answer.code, headers={**headers, "content-type": answer.content_type})

    async def _stream(self, watch: Watch, timeout_s: float) -> AsyncIterator[bytes]:
        assert self._loop is not None
        drops = self._drops
        ends_at = self._loop.time() + timeout_s
        while not self._closing and self._drops == drops:
            changed = self._changed
            events = watch.poll()
            if events:
                yield b"".join(_dump(self._event(watch, event)) + b"\n" for event in events)
            if watch.is_ended:
                return
            left = ends_at - self._loop.time()
            if left <= 0:
                break
            try:
                async with asyncio.timeout(min(left, _BOOKMARK_S)):
                    await changed.wait()
            except TimeoutError:
                for event in watch.bookmark():
                    yield _dump(event) + b"\n"

    def _event(self, watch: Watch, event: dict[str, Any]) -> dict[str, Any]:
        resource = watch.wanted.resource
        if event["type"] in ("ERROR", "BOOKMARK"):
            return event
        obj = self.cluster.catalog.presented(resource, event["object"])
        if watch.is_table:
            obj = table_of(resource, obj, self._clock(), "Object")
        return {"type": event["type"], "object": obj}


async def _body(http: HttpRequest) -> bytes:
    """The body, read no further than one byte past what is allowed."""
    parts = bytearray()
    async for part in http.stream():
        parts += part
        if len(parts) > BODY_BYTES_MAX:
            break
    return bytes(parts)


def _dump(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


@contextlib.contextmanager
def running_api_server(
    cluster: Cluster,
    *,
    port: int = 0,
    tokens: Mapping[str, User] | None = None,
    clock: Callable[[], float] = time.time,
) -> Iterator[ApiServer]:
    """The server in a thread of its own while the block runs; for tests of commands, which have loops of their own."""
    started = threading.Event()
    found: list[ApiServer | BaseException] = []
    stopping: list[Callable[[], None]] = []

    async def serve() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()

        def end() -> None:
            loop.call_soon_threadsafe(stop.set)

        stopping.append(end)
        async with ApiServer(cluster, port=port, tokens=tokens, clock=clock) as server:
            found.append(server)
            started.set()
            await stop.wait()

    def run() -> None:
        try:
            asyncio.run(serve())
        except BaseException as error:
            found.append(error)
            started.set()

    thread = threading.Thread(target=run, name="fake API server", daemon=True)
    thread.start()
    if not started.wait(_START_S):
        raise StartError("the fake API server did not start in time")
    first = found[0]
    if isinstance(first, BaseException):
        raise first
    try:
        yield first
    finally:
        for stop in stopping:
            stop()
        thread.join(_START_S)
