"""HTTP over raw ASGI: bodies in, answers out."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from penstock.simulate.io.engine import exchange
from simulate.io.engine.running import RunningEngine, running_engine

CHAT = {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 3, "ignore_eos": True}


@pytest.fixture(scope="module")
def engine() -> Iterator[RunningEngine]:
    with running_engine() as running:
        yield running


def test_headers_are_vllms_in_its_order(engine: RunningEngine) -> None:
    answer = engine.post("/v1/chat/completions", CHAT)

    assert [name for name, _ in answer.headers] == ["date", "server", "content-length", "content-type", "vary"]
    assert answer.header("server") == "uvicorn"
    assert answer.header("vary") == "Origin"


def test_each_event_is_one_chunk(engine: RunningEngine) -> None:
    answer = engine.post("/v1/chat/completions", CHAT | {"stream": True})

    assert [name for name, _ in answer.headers] == ["date", "server", "content-type", "vary", "transfer-encoding"]
    assert len(answer.chunks) == 1 + 3 + 1
    assert all(chunk.startswith(b"data: ") and chunk.endswith(b"\n\n") for chunk in answer.chunks)


def test_a_connection_answers_one_request_after_the_other(engine: RunningEngine) -> None:
    with engine.connect() as connection:
        for path in ("/health", "/version", "/nope"):
            connection.send("GET", path)
        statuses = [connection.read().status for _ in range(3)]

    assert statuses == [200, 200, 404]


def test_a_body_in_chunks_is_read_whole(engine: RunningEngine) -> None:
    raw = json.dumps(CHAT).encode()
    parts = [raw[:7], raw[7:]]
    chunked = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"
    head = (
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: engine\r\ncontent-type: application/json\r\n"
        b"transfer-encoding: chunked\r\n\r\n"
    )

    with engine.connect() as connection:
        connection.socket.sendall(head + chunked)
        answer = connection.read()

    assert answer.status == 200


def test_a_body_over_the_limit_is_refused(engine: RunningEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange, "BODY_MAX", 100)

    answer = engine.post("/v1/completions", {"prompt": "x" * 200})

    assert answer.status == 413
    assert "larger than 100 bytes" in answer.json["error"]["message"]


def test_a_query_parameter_is_read() -> None:
    with running_engine(has_dev_routes=True) as engine:
        assert engine.ask("POST", "/sleep?level=2&tags=a").json == {"status": "sleeping", "level": 2}
        assert engine.ask("POST", "/sleep").json == {"status": "sleeping", "level": 1}
