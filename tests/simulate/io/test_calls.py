from __future__ import annotations

import asyncio
import json
import socket
import time
from typing import Any

import pytest

from fakes.engine import FakeEngine, Fault
from penstock.errors import UsageError
from penstock.simulate.io.calls import Call, Target, call, open_session


def ask(engine: FakeEngine, *, stream: bool = True, key: str = "", timeout_s: float = 30.0, **fields: Any) -> Call:
    async def main() -> Call:
        async with engine, open_session(connections_max=4, timeout_s=timeout_s) as session:
            body: dict[str, Any] = {"model": "chat", "messages": [{"role": "user", "content": "one two"}]}
            body |= {"max_tokens": 5, "stream": stream, "stream_options": {"include_usage": True}, **fields}
            target = Target.of(engine.origin, key)
            return await call(
                session,
                target,
                "/v1/chat/completions",
                json.dumps(body).encode(),
                clock=time.monotonic,
                is_stream=stream,
            )

    return asyncio.run(main())


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("http://127.0.0.1:8080/", "http://127.0.0.1:8080"),
        ("http://127.0.0.1:8080/v1", "http://127.0.0.1:8080"),
        ("http://127.0.0.1:8080/v1/", "http://127.0.0.1:8080"),
        ("127.0.0.1:8080/v1", "http://127.0.0.1:8080"),
        ("https://llm.example.com/team/v1", "https://llm.example.com/team"),
        ("localhost", "http://localhost"),
        ("http://[::1]:8080/v1", "http://[::1]:8080"),
    ],
)
def test_an_address_may_be_given_with_or_without_scheme_and_v1(url: str, origin: str) -> None:
    assert Target.of(url).url("/v1/models") == f"{origin}/v1/models"


@pytest.mark.parametrize("url", ["", "http://", "ftp://x", "http://x:99999", "http://x:port", "http://[::1"])
def test_what_is_no_address_is_a_usage_error(url: str) -> None:
    with pytest.raises(UsageError, match="is not the address of an API"):
        Target.of(url)


def test_a_stream_is_timed_and_counted() -> None:
    seen = ask(FakeEngine())

    assert seen.failure is None
    assert seen.answer is not None
    assert (seen.answer.prompt_tokens, seen.answer.output_tokens, seen.answer.finish_reason) == (2, 5, "length")
    assert seen.events == 5
    assert len(seen.gaps_s) == 4
    assert seen.first_at is not None
    assert seen.last_at is not None
    assert seen.sent_at <= seen.first_at <= seen.last_at <= seen.done_at


def test_an_answer_that_is_not_streamed_has_no_first_token() -> None:
    seen = ask(FakeEngine(), stream=False)

    assert seen.failure is None
    assert seen.answer is not None
    assert seen.answer.output_tokens == 5
    assert seen.first_at is None


def test_the_key_is_sent() -> None:
    assert ask(FakeEngine(key="secret"), key="secret").failure is None
    denied = ask(FakeEngine(key="secret"), key="wrong")
    assert denied.failure is not None
    assert (denied.failure.kind, denied.failure.detail) == ("http_401", "Incorrect API key provided.")


@pytest.mark.parametrize(
    ("fault", "stream", "kind", "detail"),
    [
        (Fault.RESET, True, "reset", "before an answer"),
        (Fault.RESET_STREAM, True, "truncated", "after 2 events"),
        (Fault.CUT_STREAM, True, "truncated", "after 2 events"),
        (Fault.NO_DONE, True, "truncated", "without [DONE]"),
        (Fault.ERROR_EVENT, True, "stream_error", "engine died"),
        (Fault.STATUS_500, True, "http_500", "the engine broke"),
        (Fault.STATUS_429, True, "http_429", "too many requests"),
        (Fault.NOT_JSON, False, "bad_answer", "not JSON: <html>"),
        (Fault.NO_CHOICES, False, "bad_answer", "no choices"),
        (Fault.NOT_A_STREAM, True, "bad_answer", "asked for a stream, got application/json"),
    ],
)
def test_every_way_to_fail_has_a_kind_and_words(fault: Fault, stream: bool, kind: str, detail: str) -> None:
    seen = ask(FakeEngine(fault=fault), stream=stream)

    assert seen.failure is not None
    assert seen.answer is None
    assert seen.failure.kind == kind
    assert detail in seen.failure.detail


def test_an_engine_that_hangs_is_a_timeout() -> None:
    seen = ask(FakeEngine(fault=Fault.HANG), timeout_s=0.2)

    assert seen.failure is not None
    assert seen.failure.kind == "timeout"


def test_a_closed_port_is_a_connect_failure_that_names_the_address() -> None:
    async def main() -> Call:
        with socket.socket() as free:  # bound and not listening: connections are refused
            free.bind(("127.0.0.1", 0))
            target = Target.of(f"127.0.0.1:{free.getsockname()[1]}")
            async with open_session(connections_max=1, timeout_s=5) as session:
                seen = await call(session, target, "/v1/models", None, clock=time.monotonic)
            assert seen.failure is not None
            assert target.origin in seen.failure.detail
            return seen

    seen = asyncio.run(main())

    assert seen.failure is not None
    assert seen.failure.kind == "connect"
    assert "Connection refused" in seen.failure.detail
