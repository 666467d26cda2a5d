"""A request that waits, is tried again, or goes by another path than chat."""

from __future__ import annotations

import json
from typing import Any

import pytest

from penstock.serve.flow import Usage
from penstock.serve.routing import EndpointAddress
from serve.admission.watched import (
    ONE_AT_ONCE,
    models,
    tenants,
    watched,
)
from serve.exchanges import (
    ANSWER,
    DONE,
    END,
    SSE_HEAD,
    TOKEN,
    USAGE_EVENT,
    Call,
    answer,
    chunk,
    core,
    event,
    fail,
    request,
    sent,
)
from serve.gateways import OTHER_KEY, config


class TestWaiting:
    def busy(self, **more: Any) -> tuple[Call, Call]:
        gateway, _ = watched(config(tenants(), models(ONE_AT_ONCE)))
        first = Call(gateway).send()
        return first, Call(gateway, **more).send()

    def test_who_waits_has_its_turn_when_the_one_before_is_over(self) -> None:
        first, second = self.busy()
        assert (second.exchange.phase, second.tried) == ("queued", [])
        first.engine(answer())
        second.pump(1.0)
        assert second.tried == ["chat-0"]
        assert second.record.queue_ms == pytest.approx(1010, abs=30)
        second.engine(answer()).settled()

    def test_the_wait_that_is_written_down_is_that_for_the_first_endpoint(self) -> None:
        gateway = core(2)
        call = Call(gateway).send()
        call.tick(5.0)
        call.lose("reset the connection").engine(answer()).settled()
        assert (call.record.retries, call.record.queue_ms) == (1, 0.0)

    def test_who_waited_too_long_is_shed_with_when_to_come_again(self) -> None:
        first, second = self.busy()
        second.pump(61.0)
        assert (second.client.status, second.client.json["error"]["code"]) == (503, "queue_timeout")
        assert int(second.client.headers["retry-after"]) >= 1
        assert second.outcome == ("shed", "queue_timeout")
        first.engine(answer()).settled()

    def test_a_stream_that_waits_hears_from_us_every_ten_seconds_and_then_gets_its_answer(self) -> None:
        first, second = self.busy(stream=True)
        assert second.exchange.keep_alive(second.tick(9.0)) == b""
        second.take(second.exchange.keep_alive(second.tick(1.5)))
        second.take(second.exchange.keep_alive(second.tick(5.0)))
        second.take(second.exchange.keep_alive(second.tick(6.0)))
        assert second.client.status == 200
        assert second.client.events == [b": in the queue\n\n"] * 2
        first.now = second.now
        first.engine(answer())
        second.pump()
        second.engine(SSE_HEAD, chunk(TOKEN + DONE), END).settled()
        assert second.client.events[2:] == [TOKEN, DONE]
        assert second.client.is_whole

    def test_a_stream_that_is_shed_after_its_head_ends_with_an_error_event(self) -> None:
        _, second = self.busy(stream=True)
        second.take(second.exchange.keep_alive(second.tick(10.5)))
        second.pump(60.0)
        assert second.is_over
        shown = json.loads(second.client.events[-1].removeprefix(b"data: "))
        assert shown["error"]["code"] == "queue_timeout"
        assert (second.client.is_whole, second.record.outcome) == (True, "shed")

    def test_who_wants_no_stream_waits_in_silence(self) -> None:
        _, second = self.busy()
        assert second.exchange.keep_alive(second.tick(50.0)) == b""

    def test_a_stream_whose_endpoint_is_lost_waits_for_another_and_goes_on_with_no_word_twice(self) -> None:
        gateway, limiter = watched(config(tenants("tokensPerMinute: 100000"), models()))
        gateway.brings_endpoints = True
        call = Call(gateway, stream=True, temperature=0, seed=1).send()
        words = [event(choices=[{"index": 0, "delta": {"content": w}}]) for w in ("one", " two", " three")]
        call.engine(SSE_HEAD, chunk(words[0]), chunk(words[1]))
        fail(gateway.endpoints.pools["chat"].endpoints[0], gateway)
        call.lose("reset the connection")
        assert (call.exchange.phase, call.tried) == ("resuming", ["chat-0"])
        gateway.endpoints.set_pool("chat", [EndpointAddress(id="chat-9", host="127.0.0.1", port=19)])
        gateway.endpoints.pools["chat"].endpoints[0].health = "ready"
        call.pump()
        assert call.tried == ["chat-0", "chat-9"]
        call.engine(SSE_HEAD, *[chunk(word) for word in words], chunk(USAGE_EVENT + DONE), END).settled()
        got = [json.loads(e.removeprefix(b"data: "))["choices"][0]["delta"]["content"] for e in call.client.events[:-1]]
        assert "".join(got) == "one two three"
        assert (call.client.events[-1], call.record.resumes) == (DONE, 1)
        assert len(limiter.settled) == 1

    def test_where_nobody_brings_endpoints_a_model_without_any_is_refused_at_once(self) -> None:
        gateway, limiter = watched(config(tenants("requestsPerMinute: 5"), models()))
        gateway.endpoints.set_pool("chat", [])
        call = Call(gateway).send().settled()
        assert (call.client.status, call.client.json["error"]["code"]) == (503, "no_endpoint")
        assert limiter.settled == [Usage(has_run=False)]


class TestRetries:
    def test_another_endpoint_is_tried_twice_and_then_it_is_an_error(self) -> None:
        call = Call(core(5)).send()
        for _ in range(3):
            call.lose("refused the connection")
        call.settled()
        assert len(set(call.tried)) == 3
        assert (call.client.status, call.record.retries) == (502, 2)

    def test_an_outage_does_not_double_the_load(self) -> None:
        gateway, sent_in_all = core(3), 0
        for _ in range(200):
            call = Call(gateway).send()
            while not call.is_over:
                call.engine(answer(b"{}", status="503 Service Unavailable"))
                for endpoint in gateway.endpoints.all():
                    endpoint.health = "ready"
            sent_in_all += len(call.tried)
        assert sent_in_all < 1.5 * 200
        assert gateway.retries_refused_total > 0


class TestOtherPaths:
    @pytest.mark.parametrize("path", ["/v1/messages/count_tokens", "/tokenize"])
    def test_a_prompt_that_is_only_counted_may_be_of_any_length(self, path: str) -> None:
        chat = "      contextLength: 100\n"
        gateway, _ = watched(config(tenants(), models(chat)))
        long = [{"role": "user", "content": "word " * 2000}]
        refused = Call(gateway, messages=long).send().settled()
        assert (refused.client.status, refused.client.json["error"]["code"]) == (400, "context_length_exceeded")
        assert Call(gateway, request(path), messages=long, prompt="word " * 2000).send().tried == ["chat-0"]

    def test_an_adapter_is_called_by_its_own_name(self) -> None:
        chat = "      adapters: [{name: chat-legal, source: org/legal}]\n"
        gateway, _ = watched(config(tenants(), models(chat)))
        call = Call(gateway, model="chat-legal").send()
        assert sent(call.dispatches[0])[1]["model"] == "chat-legal"
        assert call.exchange.record.model == "chat"

    def test_another_tenants_model_is_as_unknown_as_none(self) -> None:
        call = Call(core(), request(key=OTHER_KEY)).send().settled()
        assert (call.client.status, call.client.json["error"]["code"]) == (404, "model_not_found")
        assert "chat" not in call.client.json["error"]["message"].replace("'chat' does", "")

    def test_an_answer_is_that_of_the_endpoint_to_the_byte(self) -> None:
        assert Call(core()).send().engine(answer()).client.body == ANSWER
