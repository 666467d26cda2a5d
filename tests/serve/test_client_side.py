"""What a client gets of the gateway itself: signs of life, refusals, the end; and that nothing is held after it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from penstock.serve.client_side import KEEP_ALIVE_S
from penstock.serve.flow import Ask, Reservation, Usage, Verdict
from penstock.serve.wire.errors import Failure
from serve.exchanges import Call, answer, core, request
from serve.gateways import KEY, config

LIMITED = f"""\
    tenants:
      - name: acme
        limits: {{requestsPerMinute: 5}}
        keys: [{{value: {KEY}}}]
"""
NO_PLACE = """\
    - name: chat
      endpoints: ["http://127.0.0.1:1"]
      concurrency: 1
"""


class Silent:
    """A limiter whose verdict waits for `say`."""

    def reserve(self, ask: Ask, now: float, then: Callable[[Verdict, float], None]) -> Verdict | None:
        self.say = lambda: then(Verdict(Reservation(ask, now)), now)

    def settle(self, reservation: Reservation, usage: Usage, now: float) -> None:
        self.settled = usage


def queued(**body: Any) -> Call:
    """A request that waits, as the one before it has the only place."""
    gateway = core(1, settings=config(LIMITED, NO_PLACE))
    Call(gateway).send()
    call = Call(gateway, **body).send()
    assert call.exchange.phase == "queued"
    return call


class TestAdmitted:
    def test_a_request_is_admitted_once_the_limits_have_said_so(self) -> None:
        gateway = core(1, settings=config(LIMITED))
        gateway.limiter = limiter = Silent()
        call = Call(gateway)
        assert not call.exchange.is_admitted
        call.send()
        assert not call.exchange.is_admitted
        limiter.say()
        assert call.exchange.is_admitted

    def test_one_that_waits_for_an_endpoint_is_admitted(self) -> None:
        assert queued().exchange.is_admitted

    def test_one_that_is_refused_never_was(self) -> None:
        call = Call(core(), model="nobody").send()
        assert not call.exchange.is_admitted


class TestSignsOfLife:
    def test_they_come_every_ten_seconds_to_a_stream_that_waits(self) -> None:
        call = queued(stream=True)
        assert call.exchange.keep_alive(call.now + KEEP_ALIVE_S - 0.1) == b""
        call.take(call.exchange.keep_alive(call.now + KEEP_ALIVE_S))
        assert (call.client.status, call.client.headers["content-type"]) == (200, "text/event-stream")
        assert call.client.body.startswith(b":")  # a comment, which no client shows
        assert call.exchange.keep_alive(call.now + KEEP_ALIVE_S + 1) == b""
        assert call.exchange.keep_alive(call.now + 2 * KEEP_ALIVE_S) != b""

    def test_never_to_one_at_an_endpoint_which_answers_for_itself(self) -> None:
        call = Call(core(), stream=True).send()
        assert call.exchange.keep_alive(call.now + 100) == b""

    def test_never_where_they_would_be_the_answer(self) -> None:
        assert queued().exchange.keep_alive(200.0) == b""

    def test_never_to_http_1_0_which_has_no_chunks(self) -> None:
        gateway = core(1, settings=config(LIMITED, NO_PLACE))
        Call(gateway).send()
        call = Call(gateway, request(is_http_1_0=True), stream=True).send()
        assert call.exchange.keep_alive(200.0) == b""


class TestRefusals:
    @pytest.mark.parametrize(
        ("failure", "header"),
        [
            (Failure(status=429, code="x", message="x", retry_after_s=7), ("retry-after", "7")),
            (Failure(status=405, code="x", message="x", allow="GET, HEAD"), ("allow", "GET, HEAD")),
            (Failure(status=401, code="x", message="x"), ("www-authenticate", "Bearer")),
        ],
    )
    def test_each_carries_its_header(self, failure: Failure, header: tuple[str, str]) -> None:
        call = Call(core())
        call.take(call.exchange.refuse(failure, call.tick()))
        assert call.client.headers[header[0]] == header[1]
        assert call.client.is_whole
        call.settled()

    @pytest.mark.parametrize(("path", "kind"), [("/v1/chat/completions", "code"), ("/v1/messages", "type")])
    def test_after_signs_of_life_it_is_an_event_in_the_words_of_the_api(self, path: str, kind: str) -> None:
        gateway = core(1, settings=config(LIMITED, NO_PLACE))
        Call(gateway).send()
        call = Call(gateway, request(path), stream=True, max_tokens=5).send()
        call.take(call.exchange.keep_alive(call.tick(KEEP_ALIVE_S + 1)))
        call.pump(100.0)
        last = call.client.events[-1]
        assert kind in json.loads(last.split(b"data: ")[1])["error"]
        assert last.startswith(b"event: error\n") == (path == "/v1/messages")
        assert (call.client.is_whole, call.record.status, call.record.outcome) == (True, 200, "shed")

    def test_a_head_has_no_body(self) -> None:
        call = Call(core(), request("/v1/models", method="HEAD")).send()
        assert (call.client.status, call.client.body) == (200, b"")
        assert int(call.client.headers["content-length"]) > 0


def test_when_it_is_over_nothing_is_held_and_its_times_are_known() -> None:
    call = Call(core()).send().engine(answer()).settled()
    assert call.record.total_ms == pytest.approx((call.now - 100.0) * 1e3)
    assert not call.exchange.is_admitted


def test_the_last_answer_of_a_connection_says_so_unless_its_head_has_left() -> None:
    before = queued(stream=True)
    before.exchange.leave_connection()
    assert not before.exchange.is_client_kept
    told = queued(stream=True)
    told.take(told.exchange.keep_alive(told.now + KEEP_ALIVE_S))
    told.exchange.leave_connection()
    assert told.exchange.is_client_kept
