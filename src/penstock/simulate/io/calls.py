"""One call to an OpenAI-compatible endpoint, timed, with every way it can fail turned into a value.

Guarantees: `call` never raises for what the endpoint or the network did (only for cancellation); times are taken right
after each read. Leaves to others: when to call and what to make of it (`load`, `smoke`).
"""

from __future__ import annotations

import asyncio
import os
from array import array
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import aiohttp

from penstock.errors import UsageError
from penstock.simulate.workload.answers import Answer, EventStream, Failure, error_text, read_body

__all__ = ["Call", "Target", "call", "open_session"]

_CONNECT_TIMEOUT_S = 10.0
_BODY_BYTES_MAX = 64 * 2**20  # an answer larger than this is no answer of ours


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where the API is, without `/v1`, and the key it wants."""

    origin: str
    key: str = ""

    @classmethod
    def of(cls, url: str, key: str = "") -> Target:
        """From what a person types: with or without scheme, `/v1` and slashes."""
        full = url if "://" in url else f"http://{url}"
        try:
            parts = urlsplit(full)
            is_url = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
        except ValueError:
            is_url = False
        if not is_url:
            raise UsageError(f"'{url}' is not the address of an API", hint="give it as http://127.0.0.1:8080")
        path = parts.path.rstrip("/").removesuffix("/v1").rstrip("/")
        return cls(origin=f"{parts.scheme}://{parts.netloc}{path}", key=key)

    def url(self, route: str) -> str:
        """The address of a route such as `/v1/models`."""
        return self.origin + route

    @property
    def headers(self) -> dict[str, str]:
        """What every call sends."""
        sent = {"content-type": "application/json"}
        return {**sent, "authorization": f"Bearer {self.key}"} if self.key else sent


@dataclass(slots=True, kw_only=True)
class Call:
    """What one call saw. Owner while it runs: `call`. Times are the clock's."""

    sent_at: float
    done_at: float = 0.0
    first_at: float | None = None
    last_at: float | None = None
    events: int = 0
    gaps_s: array[float] = field(default_factory=lambda: array("d"))
    status: int = 0
    body: bytes = b""
    answer: Answer | None = None
    failure: Failure | None = None


def open_session(*, connections_max: int, timeout_s: float) -> aiohttp.ClientSession:
    """A client session that keeps connections open and stores no cookies."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=connections_max, ttl_dns_cache=300),
        timeout=aiohttp.ClientTimeout(total=timeout_s, sock_connect=_CONNECT_TIMEOUT_S),
        cookie_jar=aiohttp.DummyCookieJar(),
    )


async def call(
    session: aiohttp.ClientSession,
    target: Target,
    route: str,
    body: bytes | None,
    *,
    clock: Callable[[], float],
    is_stream: bool = False,
) -> Call:
    """POST the body (GET when there is none), read the whole answer, say how it went."""
    seen = Call(sent_at=clock())
    method = "GET" if body is None else "POST"
    try:
        async with session.request(method, target.url(route), data=body, headers=target.headers) as response:
            seen.status = response.status
            if is_stream and response.status == 200 and response.content_type == "text/event-stream":
                await _read_stream(response, seen, clock)
            else:
                await _read_whole(response, seen, is_stream=is_stream)
    except (aiohttp.ClientError, OSError) as e:  # TimeoutError is an OSError
        seen.failure = _failure(e, seen, target)
    seen.done_at = clock()
    return seen


async def _read_stream(response: aiohttp.ClientResponse, seen: Call, clock: Callable[[], float]) -> None:
    stream = EventStream()
    try:
        async for read in response.content.iter_any():
            seen.failure = stream.feed(read, clock())
            if seen.failure is not None:
                return
    finally:
        seen.first_at, seen.last_at = stream.first_at, stream.last_at
        seen.events, seen.gaps_s = stream.events, stream.gaps_s
    if not stream.is_done:
        seen.failure = Failure(kind="truncated", detail=f"the stream ended after {seen.events} events without [DONE]")
        return
    seen.answer = stream.answer()


async def _read_whole(response: aiohttp.ClientResponse, seen: Call, *, is_stream: bool) -> None:
    parts: list[bytes] = []
    size = 0
    async for part in response.content.iter_any():
        parts.append(part)
        size += len(part)
        if size > _BODY_BYTES_MAX:
            seen.failure = Failure(kind="bad_answer", detail=f"the answer has more than {_BODY_BYTES_MAX} bytes")
            return
    seen.body = b"".join(parts)
    if response.status != 200:
        seen.failure = Failure(
            kind=f"http_{response.status}", detail=error_text(seen.body) or response.reason or "an empty body"
        )
    elif is_stream:
        seen.failure = Failure(kind="bad_answer", detail=f"asked for a stream, got {response.content_type}")
    elif response.url.path.endswith("completions"):
        result = read_body(seen.body)
        if isinstance(result, Failure):
            seen.failure = result
        else:
            seen.answer = result


def _failure(e: Exception, seen: Call, target: Target) -> Failure:
    after = f" after {seen.events} events" if seen.events else ""
    match e:
        case aiohttp.ConnectionTimeoutError():
            return Failure(kind="connect", detail=f"no connection to {target.origin} within {_CONNECT_TIMEOUT_S:g} s")
        case asyncio.TimeoutError():
            return Failure(kind="timeout", detail=f"no whole answer in time{after}")
        case aiohttp.ClientConnectorError():
            return Failure(kind="connect", detail=f"cannot connect to {target.origin}: {_reason(e.os_error)}")
        case aiohttp.ClientPayloadError() if not isinstance(e.__cause__, ConnectionError):
            return Failure(kind="truncated", detail=f"the answer broke off{after}: the connection was closed early")
        case aiohttp.ClientPayloadError() | aiohttp.ServerDisconnectedError() | ConnectionError():
            return Failure(kind="reset", detail=f"the connection was closed{after or ' before an answer'}")
        case _:
            return Failure(kind="protocol", detail=f"{type(e).__name__}: {e}")


def _reason(e: OSError) -> str:
    return os.strerror(e.errno) if e.errno else e.strerror or str(e) or type(e).__name__
