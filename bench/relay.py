"""A relay before an engine that cuts chosen answers at a chosen byte, and writes down what it let through.

    relay = Relay(engine_port)
    port = await relay.start()
    relay.orders["my-request-id"] = [Order("reset", 700)]      # the first attempt; later attempts pass

Requests are told apart by `x-request-id`, which the gateway sends on. Real vLLM writes one event in one chunk, so that
what is cut between events is cut after a chunk.
"""

from __future__ import annotations

import asyncio
import json
import re
import socket
import struct
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Literal

Kind = Literal["reset", "end", "freeze", "error", "done", "abort"]
KINDS: tuple[Kind, ...] = ("reset", "end", "freeze", "error", "done", "abort")
"""Reset, FIN in mid-chunk, silence; an engine core that dies, one that ends in order, one that drops a request."""
BETWEEN_EVENTS: frozenset[Kind] = frozenset({"error", "done", "abort"})
DIED = {"error": {"message": "EngineCore encountered an issue.", "type": "InternalServerError", "code": 500}}
GENERATES = re.compile(rb"POST (/v1/(?:chat/completions|completions|messages|responses)) ")
REQUEST_ID = re.compile(rb"(?i)\r\nx-request-id: *([^\r\n]+)")
CHUNK_END = b"\n\n\r\n"
LAST_CHUNK = b"\r\n0\r\n\r\n"


@dataclass(frozen=True)
class Order:
    """What to do to an answer, and after how many bytes of its body as they come, chunk sizes included."""

    kind: Kind
    after: int


@dataclass
class Attempt:
    """One request that came by, and what was let through of its answer."""

    path: str
    request: bytearray = field(default_factory=bytearray)
    answer: bytearray = field(default_factory=bytearray)
    order: Order | None = None
    is_cut: bool = False
    began: float = field(default_factory=time.monotonic)

    @property
    def fields(self) -> dict[str, Any]:
        """The request's body."""
        read: dict[str, Any] = json.loads(bytes(self.request).partition(b"\r\n\r\n")[2])
        return read

    @property
    def events(self) -> list[dict[str, Any]]:
        """The whole events that were let through, less `[DONE]` and what the relay itself made up."""
        whole = bytes(self.answer[: self.answer.rfind(b"\n\n") + 2])
        lines = (line[6:] for line in whole.split(b"\n") if line.startswith(b"data: {"))
        read = []
        for line in lines:
            with suppress(json.JSONDecodeError):
                read.append(json.loads(line))
        return [event for event in read if "error" not in event]


class Relay:
    """One relay. `orders` and `attempts` are by request id."""

    def __init__(self, target: int) -> None:
        self.target = target
        self.orders: dict[str, list[Order]] = {}
        self.attempts: dict[str, list[Attempt]] = {}
        self._server: asyncio.Server | None = None
        self._carrying: set[asyncio.Task[None]] = set()

    async def start(self) -> int:
        """Listens; returns the port."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, limit=1 << 20)
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def close(self) -> None:
        """Ends all that goes through it."""
        if self._server is not None:
            self._server.close()
        for task in list(self._carrying):
            task.cancel()
        await asyncio.gather(*self._carrying, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(self._carry(reader, writer))
        self._carrying.add(task)
        task.add_done_callback(self._carrying.discard)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            engine_reader, engine_writer = await asyncio.open_connection("127.0.0.1", self.target, limit=1 << 20)
        except OSError:
            writer.transport.abort()
            return
        current: list[Attempt | None] = [None]
        both = [
            asyncio.ensure_future(self._forth(reader, engine_writer, current)),
            asyncio.ensure_future(_back(engine_reader, writer, current)),
        ]
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in both:
                task.cancel()
            await asyncio.gather(*both, return_exceptions=True)
            engine_writer.transport.abort()
            writer.close()
            for each in (engine_writer, writer):
                with suppress(OSError):
                    await each.wait_closed()

    async def _forth(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, current: list[Attempt | None]
    ) -> None:
        with suppress(OSError):
            while data := await reader.read(1 << 18):
                if data.startswith((b"POST ", b"GET ")):
                    current[0] = self._begun(data)
                if current[0] is not None:
                    current[0].request += data
                writer.write(data)
                await writer.drain()

    def _begun(self, data: bytes) -> Attempt | None:
        path, name = GENERATES.match(data), REQUEST_ID.search(data)
        if path is None or name is None:
            return None
        attempt = Attempt(path[1].decode())
        key = name[1].decode()
        if waiting := self.orders.get(key):
            attempt.order = waiting.pop(0)
        self.attempts.setdefault(key, []).append(attempt)
        return attempt


async def _back(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, current: list[Attempt | None]) -> None:
    """Answers, one after another on the connection."""
    held = b""
    with suppress(OSError):
        while data := await reader.read(1 << 18):
            attempt = current[0]
            if attempt is None or attempt.order is None:
                if attempt is not None:
                    attempt.answer += data
                writer.write(data)
                await writer.drain()
                continue
            held += data
            if attempt.order.kind in BETWEEN_EVENTS:
                at = held.rfind(CHUNK_END)
                at = len(held) if held.endswith(LAST_CHUNK) else at + len(CHUNK_END) if at >= 0 else 0
                data, held = held[:at], held[at:]
            else:
                data, held = held, b""
            if await _cut(attempt, attempt.order, data, writer):
                return


async def _cut(attempt: Attempt, order: Order, data: bytes, writer: asyncio.StreamWriter) -> bool:
    """Lets through what may go, and ends the answer where it is to end; whether it did."""
    before = len(attempt.answer)
    whole = bytes(attempt.answer) + data
    head = whole.find(b"\r\n\r\n") + 4
    stop = head + order.after
    if head < 4 or len(whole) < stop:
        attempt.answer += data
        writer.write(data)
        await writer.drain()
        return False
    if order.kind in BETWEEN_EVENTS:
        at = whole.rfind(CHUNK_END, head, stop)
        stop = at + 4 if at >= 0 else head
        stop = max(stop, before)
    attempt.answer[:] = whole[:stop]
    attempt.is_cut = True
    writer.write(whole[before:stop])
    writer.write(_last_words(attempt, order.kind))
    await writer.drain()
    match order.kind:
        case "reset":
            await asyncio.sleep(0.005)  # what went before arrives
            sock: socket.socket = writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
        case "freeze":
            await asyncio.Event().wait()
        case _:
            writer.close()
    return True


def _last_words(attempt: Attempt, kind: Kind) -> bytes:
    match kind:
        case "error":
            return _chunk(_event(DIED)) + _chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n"
        case "done" if not _is_finished(attempt):  # no engine leaves out the usage of what it has finished
            return _chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n"
        case "abort":
            events = attempt.events
            if not events or not events[-1].get("choices"):
                return b"0\r\n\r\n"
            last = events[-1]
            (choice,) = last["choices"]
            empty: dict[str, Any] = {"text": ""} if "text" in choice else {"delta": {"content": ""}}
            last["choices"] = [{"index": 0, **empty, "logprobs": None, "finish_reason": "abort"}]
            said = json.dumps(last, separators=(",", ":")).encode()
            return _chunk(b"data: " + said + b"\n\n") + _chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n"
        case _:
            return b""


def _is_finished(attempt: Attempt) -> bool:
    return any(choice.get("finish_reason") for event in attempt.events for choice in event.get("choices") or ())


def _event(fields: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(fields).encode() + b"\n\n"


def _chunk(payload: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(payload), payload)
