"""One exchange driven by hand: what a client and an endpoint would see, with time as an argument.

call = Call(core, stream=True)
call.send()
call.engine(SSE_HEAD)
call.engine(chunk(EVENT))
call.client.events
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from random import Random
from typing import Any

import httptools

from penstock.serve.config import GatewayConfig
from penstock.serve.core import Core
from penstock.serve.exchange import Dispatch, Exchange, Reply
from penstock.serve.record import RequestRecord
from penstock.serve.routing import Endpoint, EndpointAddress
from penstock.serve.wire.heads import RequestHead
from serve.gateways import KEY, config

MESSAGES = [{"role": "user", "content": "hi"}]
USAGE = {"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12, "prompt_tokens_details": {"cached_tokens": 4}}
ANSWER = json.dumps({"id": "x", "choices": [{"message": {"content": "hello"}}], "usage": USAGE}).encode()


def head(body: bytes = b"", *, status: str = "200 OK", kind: str = "application/json", fields: str = "") -> bytes:
    """An engine's response head, for a body of known length."""
    return f"HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\n{fields}\r\n".encode()


def answer(body: bytes = ANSWER, **fields: str) -> bytes:
    """A whole response of an engine."""
    return head(body, **fields) + body


def chunk(payload: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(payload), payload)


def event(**fields: Any) -> bytes:
    return b"data: " + json.dumps(fields, separators=(",", ":")).encode() + b"\n\n"


SSE_FIELDS = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n"
SSE_HEAD = SSE_FIELDS + b"transfer-encoding: chunked\r\n\r\n"
TOKEN = event(choices=[{"index": 0, "delta": {"content": "hel"}}])
USAGE_EVENT = event(choices=[], usage=USAGE)
DONE = b"data: [DONE]\n\n"
END = b"0\r\n\r\n"


@dataclass
class Seen:
    """What a client made of the bytes that it got; parsed by another parser than the gateway's own."""

    method: str = "POST"
    raw: bytes = b""
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    is_whole: bool = False
    interim: int = 0

    def __post_init__(self) -> None:
        self._parser = httptools.HttpResponseParser(self)

    def take(self, data: bytes) -> None:
        self.raw += data
        if data and not (self.method == "HEAD" and self.status):
            self._parser.feed_data(data)

    def on_header(self, name: bytes, value: bytes) -> None:
        assert name.decode() not in self.headers
        self.headers[name.decode()] = value.decode()

    def on_headers_complete(self) -> None:
        if self._parser.get_status_code() == 100:
            self.interim += 1
            return
        assert not self.status, "a second answer to one request"
        self.status = self._parser.get_status_code()

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        if self.status:
            assert not self.is_whole
            self.is_whole = True

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def events(self) -> list[bytes]:
        """Whole events, each with its end; asserts that nothing is left over."""
        assert self.body.endswith(b"\n\n") or not self.body
        return [part + b"\n\n" for part in self.body.split(b"\n\n")[:-1]]


def core(endpoints: int = 2, *, settings: GatewayConfig | None = None) -> Core:
    """A gateway's core whose model `chat` has that many ready endpoints."""
    made = Core(settings or config(), random=Random(5), unix_offset_s=1_767_225_600.0)
    made.endpoints.set_pool(
        "chat", [EndpointAddress(id=f"chat-{n}", host="127.0.0.1", port=n + 1) for n in range(endpoints)]
    )
    for endpoint in made.endpoints.all():
        endpoint.health = "ready"
    return made


def request(path: str = "/v1/chat/completions", *, method: str = "POST", key: str = KEY, **fields: Any) -> RequestHead:
    return RequestHead(method=method, path=path, key=key.encode(), content_type=b"application/json", **fields)


class Call:
    """One exchange and everything around it. `now` moves by itself, 10 ms an event."""

    def __init__(self, gateway: Core, request_head: RequestHead | None = None, **body: Any) -> None:
        self.core = gateway
        self.now = 100.0
        self.body = json.dumps({"model": "chat", "messages": MESSAGES, "input": "x", **body}).encode()
        self.exchange = Exchange(gateway, request_head or request(), self.now, self)
        self.client = Seen(self.exchange.head.method)
        self.dispatches: list[Dispatch] = []

    @property
    def record(self) -> RequestRecord:
        return self.exchange.record

    @property
    def is_over(self) -> bool:
        return self.exchange.phase == "over"

    @property
    def outcome(self) -> tuple[str, str]:
        assert self.is_over
        return self.record.outcome, self.record.reason

    @property
    def tried(self) -> list[str]:
        return [d.endpoint.id for d in self.dispatches]

    def tick(self, seconds: float = 0.01) -> float:
        self.now += seconds
        return self.now

    def take(self, out: bytes | Reply | Dispatch | None) -> None:
        if isinstance(out, Reply):
            assert self.is_over
            self.client.take(out.data)
        elif isinstance(out, Dispatch):
            assert self.exchange.phase in ("waiting", "resuming")
            self.dispatches.append(out)
            self.client.take(out.first)
        elif out:
            self.client.take(out)

    def go_on(self, exchange: Exchange, out: bytes | Reply | Dispatch | None) -> None:
        """An exchange that waited goes on."""
        assert exchange is self.exchange
        self.take(out)

    def pump(self, seconds: float = 0.01) -> Call:
        """Time passes, and the queue is looked at."""
        self.core.flow.endpoints_changed()
        for ticket in self.core.flow.pump(self.tick(seconds)):
            if ticket.owner is not None:
                ticket.owner.woken(ticket, self.now)
        return self

    def send(self, body: bytes | None = None) -> Call:
        """The client sends the whole request."""
        refusal = self.exchange.check_head(self.tick())
        self.take(refusal)
        if refusal is None:
            self.take(self.exchange.request(self.body if body is None else body, self.tick()))
        return self

    def engine(self, *reads: bytes) -> Call:
        """The endpoint sends these reads."""
        for data in reads:
            self.take(self.exchange.upstream_data(data, self.tick()))
        return self

    def lose(self, reason: str = "closed the connection", **how: bool) -> Call:
        """The endpoint's connection ends."""
        self.take(self.exchange.upstream_lost(reason, self.tick(), **how))
        return self

    def late(self, seconds: float) -> Call:
        """Time passes, and the deadline is looked at."""
        if reason := self.exchange.is_late(self.tick(seconds)):
            self.take(self.exchange.timed_out(reason, self.now))
        return self

    def settled(self) -> Call:
        """Asserts that nothing is held any more."""
        assert self.is_over
        assert self.core.in_flight == 0
        assert all(e.in_flight == 0 for e in self.core.endpoints.all())
        assert self.exchange.endpoint is None
        return self


def sent(dispatch: Dispatch) -> tuple[dict[str, str], Any]:
    """Headers and JSON body of what was sent to an endpoint."""
    lines = dispatch.data[0].decode().split("\r\n")
    assert lines[-2:] == ["", ""]
    headers = dict(line.split(": ", 1) for line in lines[1:-2])
    assert int(headers["content-length"]) == len(dispatch.data[1])
    return {":line": lines[0], **headers}, json.loads(dispatch.data[1])


def fail(endpoint: Endpoint, gateway: Core) -> None:
    gateway.endpoints.failed(endpoint, "refused the connection", 1e9)
