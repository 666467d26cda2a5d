"""A small engine for tests of clients: chat, completions, streams and embeddings over real sockets, with faults.

    async with FakeEngine(models=["chat"]) as engine:
        engine.fault = Fault.RESET
        ... engine.origin ...

It is quick and does as it is told; for an engine that behaves like vLLM use `penstock engine`.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any, Self

from aiohttp import web


class Fault(Enum):
    """What the engine does wrong, on every generation request."""

    NONE = auto()
    RESET = auto()  # closes the connection before an answer
    RESET_STREAM = auto()  # resets the connection in mid-stream
    CUT_STREAM = auto()  # closes in mid-stream without the last chunk
    NO_DONE = auto()  # ends the stream properly but without [DONE]
    ERROR_EVENT = auto()  # an SSE error event in mid-stream
    HANG = auto()  # never answers
    STATUS_500 = auto()
    STATUS_429 = auto()
    NOT_JSON = auto()
    NO_CHOICES = auto()
    EMPTY_TEXT = auto()
    NOT_A_STREAM = auto()  # JSON where a stream was asked for


@dataclass
class FakeEngine:
    """Serves until the `async with` block ends. `embedding_models` have embeddings only, as in vLLM."""

    models: list[str] = field(default_factory=lambda: ["chat"])
    embedding_models: list[str] = field(default_factory=list)
    key: str = ""
    listing: str = ""  # what /v1/models answers, instead of the models
    fault: Fault = Fault.NONE
    tokens_per_word: int | None = None  # what /tokenize counts; None: there is no such route
    has_chat: bool = True  # False: a base model, with completions only
    has_embeddings: bool = True  # False: `embedding_models` are rerankers
    tokens: int | None = None  # how many to answer; None: as many as asked
    step: asyncio.Event | None = None  # when set, each stream waits for it after its first token
    requests: list[dict[str, Any]] = field(default_factory=list)
    in_flight: int = 0
    in_flight_max: int = 0
    origin: str = ""
    _reached: dict[int, asyncio.Event] = field(default_factory=dict)

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=64 * 2**20)
        app.router.add_get("/v1/models", self._list)
        app.router.add_post("/v1/chat/completions", self._generate)
        app.router.add_post("/v1/completions", self._generate)
        app.router.add_post("/v1/embeddings", self._embed)
        app.router.add_post("/tokenize", self._tokenize)
        app.router.add_get("/health", self._health)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        self.origin = f"http://{host}:{port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    async def reached(self, in_flight: int) -> None:
        """Returns when this many requests have been in flight at once."""
        if self.in_flight_max < in_flight:
            await self._reached.setdefault(in_flight, asyncio.Event()).wait()

    async def _health(self, _request: web.Request) -> web.Response:
        return web.Response()

    async def _list(self, request: web.Request) -> web.Response:
        if denied := self._denied(request):
            return denied
        if self.listing:
            return web.Response(text=self.listing, content_type="text/html")
        names = [*self.models, *self.embedding_models]
        return web.json_response({"object": "list", "data": [{"id": name, "object": "model"} for name in names]})

    async def _tokenize(self, request: web.Request) -> web.Response:
        if self.tokens_per_word is None:
            return web.json_response({"detail": "Not Found"}, status=404)
        return web.json_response({"count": self.tokens_per_word * len((await request.json())["prompt"].split())})

    async def _embed(self, request: web.Request) -> web.Response:
        if denied := self._denied(request):
            return denied
        body = await request.json()
        if not self.has_embeddings or body["model"] not in self.embedding_models:
            return web.json_response({"detail": "Not Found"}, status=404)
        data = [{"index": 0, "object": "embedding", "embedding": [0.25, -0.5, 0.125]}]
        return web.json_response({"object": "list", "data": data, "usage": {"prompt_tokens": 4, "total_tokens": 4}})

    async def _generate(self, request: web.Request) -> web.StreamResponse:
        if denied := self._denied(request):
            return denied
        body = await request.json()
        self.requests.append(body)
        self.in_flight += 1
        self.in_flight_max = max(self.in_flight_max, self.in_flight)
        if waiting := self._reached.get(self.in_flight):
            waiting.set()
        try:
            return await self._answer(request, body)
        finally:
            self.in_flight -= 1

    async def _answer(self, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        is_chat = request.path.endswith("chat/completions")
        if body["model"] in self.embedding_models:
            return _error(400, "The model does not support Chat Completions API")
        if body["model"] not in self.models:
            return _error(404, f"The model `{body['model']}` does not exist.", code="model_not_found")
        if is_chat and not self.has_chat:
            return _error(400, "This model has no chat template.")
        match self.fault:
            case Fault.RESET:
                _abort(request)
            case Fault.HANG:
                await asyncio.Event().wait()
            case Fault.STATUS_500:
                return _error(500, "the engine broke")
            case Fault.STATUS_429:
                return _error(429, "too many requests")
            case Fault.NOT_JSON:
                return web.Response(text="<html>welcome</html>", content_type="text/html")
            case Fault.NO_CHOICES:
                return web.json_response({"object": "chat.completion"})
        if body.get("stream") and self.fault is not Fault.NOT_A_STREAM:
            return await self._stream(request, body, is_chat=is_chat)
        return web.json_response(self._whole(body, is_chat=is_chat))

    def _count(self, body: dict[str, Any]) -> int:
        return body.get("max_tokens", 16) if self.tokens is None else self.tokens

    def _whole(self, body: dict[str, Any], *, is_chat: bool) -> dict[str, Any]:
        text = "" if self.fault is Fault.EMPTY_TEXT else " word" * self._count(body)
        choice: dict[str, Any] = {"index": 0, "finish_reason": "length"}
        choice |= {"message": {"role": "assistant", "content": text}} if is_chat else {"text": text}
        return {"id": "x", "model": body["model"], "choices": [choice], "usage": self._usage(body)}

    def _usage(self, body: dict[str, Any]) -> dict[str, int]:
        text = body.get("prompt") or body["messages"][0]["content"]
        prompt, output = len(text.split() if isinstance(text, str) else text), self._count(body)
        return {"prompt_tokens": prompt, "completion_tokens": output, "total_tokens": prompt + output}

    async def _stream(self, request: web.Request, body: dict[str, Any], *, is_chat: bool) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "text/event-stream; charset=utf-8"})
        await response.prepare(request)
        if is_chat:
            await response.write(_event({"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]}))
        for n in range(self._count(body)):
            if n == 2 and self.fault in {Fault.RESET_STREAM, Fault.CUT_STREAM}:
                _abort(request) if self.fault is Fault.RESET_STREAM else _close(request)
                return response
            if n == 2 and self.fault is Fault.ERROR_EVENT:
                await response.write(_event({"error": {"message": "engine died", "code": 500}}))
                break
            piece = "" if self.fault is Fault.EMPTY_TEXT else " word"
            part = {"delta": {"content": piece}} if is_chat else {"text": piece}
            await response.write(_event({"choices": [{"index": 0, **part, "finish_reason": None}]}))
            if n == 0 and self.step is not None:
                await self.step.wait()
        last = {"delta": {}} if is_chat else {"text": ""}
        await response.write(_event({"choices": [{"index": 0, **last, "finish_reason": "length"}]}))
        if (body.get("stream_options") or {}).get("include_usage"):
            await response.write(_event({"choices": [], "usage": self._usage(body)}))
        if self.fault is not Fault.NO_DONE:
            await response.write(b"data: [DONE]\n\n")
        await response.write_eof()
        return response

    def _denied(self, request: web.Request) -> web.Response | None:
        if self.key and request.headers.get("authorization") != f"Bearer {self.key}":
            return _error(401, "Incorrect API key provided.", code="invalid_api_key")
        return None


@contextmanager
def serving(engine: FakeEngine) -> Iterator[FakeEngine]:
    """The engine in a thread of its own, for tests of what runs its own event loop."""
    loop = asyncio.new_event_loop()
    over = asyncio.Event()
    is_up = threading.Event()

    async def serve() -> None:
        async with engine:
            is_up.set()
            await over.wait()

    def run() -> None:
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            runner.run(serve())

    thread = threading.Thread(target=run)
    thread.start()
    assert is_up.wait(10)
    try:
        yield engine
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join(10)


def _event(chunk: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(chunk).encode() + b"\n\n"


def _error(status: int, message: str, *, code: object = None) -> web.Response:
    error = {"message": message, "type": "Error", "param": None, "code": code or status}
    return web.json_response({"error": error}, status=status)


def _abort(request: web.Request) -> None:
    assert request.transport is not None
    request.transport.abort()  # type: ignore[attr-defined]


def _close(request: web.Request) -> None:
    assert request.transport is not None
    request.transport.close()
