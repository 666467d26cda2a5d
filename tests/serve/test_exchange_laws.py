"""Whatever happens to requests, in whatever order: nothing is answered twice, lost, or held."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.serve.admission.admission import RETRIES_MAX, WAITS_MAX
from penstock.serve.failover import RESUMES_MAX
from penstock.serve.record import OUTCOMES
from penstock.serve.routing import EndpointAddress
from serve.exchanges import (
    DONE,
    END,
    SSE_FIELDS,
    SSE_HEAD,
    TOKEN,
    USAGE_EVENT,
    Call,
    answer,
    chunk,
    core,
    event,
    head,
    request,
)

READS = st.one_of(
    st.sampled_from(
        [
            *(answer(), SSE_HEAD, chunk(TOKEN), chunk(USAGE_EVENT), chunk(DONE), END, SSE_HEAD + chunk(TOKEN)),
            *(head(b"12345"), b"12345", b"123", b"HTTP/1.1 200 OK\r\n\r\n", SSE_FIELDS + b"\r\n", TOKEN, TOKEN[:9]),
            *(answer(b"{}", status="503 Busy"), answer(b"no", status="500 Oops"), answer(b"{}", status="429 Many")),
            *(answer(b"{}", status="400 Bad"), head(b"12345", status="400 Bad"), b"HTTP/1.1 100 Continue\r\n\r\n"),
            *(answer(b"", status="307 Go"), b"HTTP/1.1 204 None\r\n\r\n", b"zz\r\n", b"HTTP/1.1 2", b"\r\n\r\n"),
            *(SSE_HEAD[:30], SSE_HEAD[30:], chunk(TOKEN)[:5], chunk(TOKEN)[5:], answer() + answer()),
        ]
    ),
    st.binary(max_size=12),
)
EVENTS = st.one_of(
    st.tuples(st.just("read"), READS),
    st.tuples(st.just("read"), READS),
    st.tuples(st.just("lose"), st.sampled_from([{}, {"was_reused": True}, {"is_end": True}])),
    st.tuples(st.just("late"), st.sampled_from([0.1, 400.0, 700.0])),
    st.tuples(st.just("client_lost"), st.none()),
    st.tuples(st.just("shut_down"), st.none()),
    st.tuples(st.just("probe"), st.none()),
    st.tuples(st.just("pool"), st.integers(0, 3)),
)
HEADS = st.sampled_from(
    [
        *({}, {}, {"is_http_1_0": True, "is_keep_alive": False}, {"wants_explanation": True}, {"key": "wrong"}),
        *({"path": "/v1/messages"}, {"path": "/v1/embeddings"}, {"path": "/v1/models", "method": "GET"}),
        *({"path": "/nowhere"}, {"method": "GET"}, {"closes_if_refused": True, "key": ""}),
    ]
)


def apply(call: Call, kind: str, value: Any) -> None:
    match kind:
        case "read":
            call.engine(value)
        case "lose":
            call.lose(**value)
        case "late":
            call.late(value)
        case "client_lost":
            call.exchange.client_lost(call.tick())
        case "shut_down":
            if call.dispatches:
                call.take(call.exchange.shut_down(call.tick()))
        case "probe":
            call.client.take(call.exchange.probe())
        case "pool":
            addresses = [EndpointAddress(id=f"chat-{n}", host="127.0.0.1", port=n + 1) for n in range(value)]
            call.core.endpoints.set_pool("chat", addresses)


@settings(max_examples=400, deadline=None)
@given(
    steps=st.lists(st.tuples(st.integers(0, 2), EVENTS), max_size=25),
    heads=st.lists(HEADS, min_size=3, max_size=3),
    is_stream=st.booleans(),
    count=st.integers(0, 4),
)
def test_every_request_ends_once_and_everything_is_given_back(
    steps: list[tuple[int, tuple[str, Any]]], heads: list[dict[str, Any]], is_stream: bool, count: int
) -> None:
    gateway = core(count)
    endpoints = gateway.endpoints.all()
    calls = [Call(gateway, request(**h), stream=is_stream).send() for h in heads]
    for index, (kind, value) in steps:
        call = calls[index]
        if call.is_over:
            continue
        apply(call, kind, value)
        check(call)
        assert gateway.in_flight == sum(not c.is_over for c in calls)
    for call in calls:
        if not call.is_over:
            call.exchange.client_lost(call.tick())
        check(call)
    for call in calls:
        call.settled()
    assert all(e.in_flight == 0 for e in endpoints)


def check(call: Call) -> None:
    """What holds after every event. The client's parser asserts that its bytes are one answer with valid framing."""
    record = call.record
    assert record.outcome in OUTCOMES
    assert record.retries <= (RETRIES_MAX + 1) * (WAITS_MAX + 1)
    assert record.resumes <= RESUMES_MAX
    assert len({d.endpoint.id for d in call.dispatches}) <= (RETRIES_MAX + 1) * (1 + record.resumes)
    if not call.is_over:
        assert call.exchange.phase in ("waiting", "relaying", "collecting", "resuming")
        assert call.exchange.endpoint is not None
        return
    assert record.total_ms >= 0
    assert record.outcome == "ok" or record.reason
    if record.outcome == "ok":
        assert call.client.status in (200, 204)
        assert call.client.is_whole or call.exchange.head.is_http_1_0 or call.exchange.head.method == "HEAD"
    elif record.outcome != "cancelled" and call.client.status and not call.client.is_whole:
        assert not call.exchange.is_client_kept, "an answer without an end on a connection that goes on"
    if call.client.status:
        assert record.status == call.client.status
    elif record.outcome != "cancelled":
        pytest.fail("a request that was neither answered nor cancelled")


def pieces(wire: bytes, cuts: list[int]) -> Iterator[bytes]:
    places = sorted({0, len(wire), *(cut % len(wire) for cut in cuts)})
    yield from (wire[a:b] for a, b in pairwise(places))


@settings(deadline=None)
@given(
    tokens=st.lists(st.text(max_size=10), max_size=5),
    newline=st.sampled_from(["\n", "\r\n"]),
    cuts=st.lists(st.integers(0, 3000), max_size=10),
    cut_at=st.integers(0, 3000),
    group=st.integers(1, 3),
)
def test_a_stream_cut_anywhere_is_a_prefix_of_its_events_and_then_an_error(
    tokens: list[str], newline: str, cuts: list[int], cut_at: int, group: int
) -> None:
    events = [event(choices=[{"delta": {"content": t}}]).replace(b"\n", newline.encode()) for t in tokens]
    events.append(DONE.replace(b"\n", newline.encode()))
    wire = SSE_HEAD + b"".join(chunk(b"".join(events[n : n + group])) for n in range(0, len(events), group)) + END
    cut_at = len(SSE_HEAD) + cut_at % (len(wire) - len(SSE_HEAD))
    call = Call(core(1), stream=True).send().engine(*pieces(wire[:cut_at], cuts)).lose().settled()
    whole = b"".join(events)
    assert call.client.is_whole
    if call.outcome[0] == "ok":
        assert call.client.body == whole
    else:
        told, _, error = call.client.body.rpartition(b'data: {"error"')
        assert whole.startswith(told)
        assert told == b"".join(events[: told.count((newline * 2).encode())])
        assert b"stream_interrupted" in error
