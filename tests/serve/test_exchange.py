"""One request's life: what the client gets, where the request goes, and what is written down of it."""

from __future__ import annotations

import json

import pytest

from serve.exchanges import (
    ANSWER,
    DONE,
    END,
    SSE_FIELDS,
    SSE_HEAD,
    TOKEN,
    USAGE,
    USAGE_EVENT,
    Call,
    answer,
    chunk,
    core,
    event,
    fail,
    head,
    request,
    sent,
)
from serve.gateways import KEY, OTHER_KEY, TENANTS, config

LIMITS = "    limits: {body_bytes_max: 2048, in_flight_max: 2}\n".replace("body_bytes_max", "bodyBytesMax").replace(
    "in_flight_max", "inFlightMax"
)


class TestWholeAnswers:
    @pytest.mark.parametrize("size", [1, 7, 64, 100_000])
    def test_an_answer_reaches_the_client_as_it_is_however_it_is_cut_into_reads(self, size: int) -> None:
        call = Call(core()).send()
        wire = answer()
        call.engine(*[wire[at : at + size] for at in range(0, len(wire), size)]).settled()
        assert (call.client.status, call.client.body, call.client.is_whole) == (200, ANSWER, True)
        assert call.outcome == ("ok", "")
        assert (call.record.prompt_tokens, call.record.output_tokens, call.record.cached_tokens) == (5, 7, 4)
        assert call.record.bytes_out == len(ANSWER)
        assert call.record.ttft_ms > 0
        assert call.exchange.is_upstream_kept
        assert call.exchange.is_client_kept

    def test_usage_far_from_the_end_and_cut_by_reads_is_found(self) -> None:
        body = json.dumps({"usage": USAGE, "results": ["x" * 50_000]}).encode()
        for at in range(1, 150, 7):
            call = Call(core()).send().engine(head(body), body[:at], body[at : at + 30], body[at + 30 :])
            assert (call.record.prompt_tokens, call.record.output_tokens) == (5, 7)

    def test_a_chunked_answer_stays_chunked(self) -> None:
        call = Call(core()).send()
        call.engine(b"HTTP/1.1 200 OK\r\ncontent-type: audio/wav\r\ntransfer-encoding: chunked\r\n\r\n")
        call.engine(chunk(b"RIFF"), b"4\r\nda", b"ta\r\n" + END).settled()
        assert (call.client.body, call.client.is_whole) == (b"RIFFdata", True)
        assert call.client.headers["transfer-encoding"] == "chunked"

    def test_an_answer_until_the_end_is_whole_when_the_endpoint_closes_in_order(self) -> None:
        call = Call(core()).send().engine(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n", ANSWER)
        call.lose(is_end=True).settled()
        assert (call.client.body, call.client.is_whole, call.outcome) == (ANSWER, True, ("ok", ""))
        assert not call.exchange.is_upstream_kept

    def test_an_answer_until_the_end_is_cut_when_the_endpoint_resets(self) -> None:
        call = Call(core()).send().engine(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n", ANSWER)
        call.lose("reset the connection").settled()
        assert not call.client.is_whole
        assert not call.exchange.is_client_kept
        assert call.outcome == ("upstream_error", "answer_cut")

    def test_an_empty_answer_is_whole(self) -> None:
        assert Call(core()).send().engine(answer(b"")).settled().client.is_whole
        call = Call(core()).send().engine(b"HTTP/1.1 204 No Content\r\n\r\n").settled()
        assert (call.client.status, call.client.is_whole) == (204, True)
        assert "content-length" not in call.client.headers

    def test_the_engine_is_told_the_model_by_its_own_name_and_who_asked_stays_here(self) -> None:
        call = Call(core(), request(request_id=b"req-1", forwarded=b"traceparent: 00-1\r\n"), model="gpt-4o").send()
        headers, body = sent(call.dispatches[0])
        assert headers[":line"] == "POST /v1/chat/completions HTTP/1.1"
        assert (body["model"], headers["x-request-id"], headers["traceparent"]) == ("chat", "req-1", "00-1")
        assert headers["host"] == call.dispatches[0].endpoint.authority
        assert KEY not in call.dispatches[0].data[0].decode()
        assert (call.record.model, call.record.requested_model, call.record.request_id) == ("chat", "gpt-4o", "req-1")
        assert (call.record.tenant, call.record.key) == ("acme", "acme-laptop")

    def test_a_request_id_that_is_not_plain_is_replaced(self) -> None:
        call = Call(core(), request(request_id=b'x" y')).send().engine(answer())
        assert call.client.headers["x-request-id"] == call.record.request_id
        assert len(call.record.request_id) == 16

    def test_a_request_goes_to_the_engines_own_path(self) -> None:
        call = Call(core(), request("/v2/rerank"), query="q", documents=["d"]).send()
        assert sent(call.dispatches[0])[0][":line"] == "POST /rerank HTTP/1.1"
        assert call.record.route == "/v2/rerank"

    def test_bytes_after_the_answer_are_dropped_and_the_connection_with_them(self) -> None:
        stream = SSE_HEAD + chunk(TOKEN + DONE) + END
        for wire in (answer() + answer(), answer() + b"x", stream + b"HTTP/1.1 200 OK\r\n\r\n"):
            call = Call(core()).send().engine(wire).settled()
            assert call.client.is_whole
            assert call.outcome == ("ok", "")
            assert not call.exchange.is_upstream_kept
            assert call.exchange.is_client_kept

    def test_interim_answers_are_skipped(self) -> None:
        call = Call(core()).send().engine(b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Early\r\n\r\n" + answer())
        assert (call.client.status, call.client.interim) == (200, 0)

    def test_why_is_told_to_who_asks_alone(self) -> None:
        call = Call(core(), request(wants_explanation=True)).send().engine(answer())
        told = {k: v for k, v in call.client.headers.items() if k.startswith("x-penstock-")}
        assert told == {
            "x-penstock-model": "chat",
            "x-penstock-endpoint": call.tried[0],
            "x-penstock-policy": "cost",
            "x-penstock-basis": "unknown",
            "x-penstock-candidates": told["x-penstock-candidates"],
            "x-penstock-tenant": "acme",
            "x-penstock-class": "interactive",
            "x-penstock-queue-ms": "0.0",
            "x-penstock-prompt-tokens": told["x-penstock-prompt-tokens"],
            "x-penstock-retries": "0",
        }
        assert all(name in told["x-penstock-candidates"] for name in ("chat-0;s=", "chat-1;s="))
        plain = Call(core()).send().engine(answer())
        assert not [k for k in plain.client.headers if k.startswith("x-penstock-")]


class TestStreams:
    def test_a_stream_is_passed_on_without_the_usage_that_nobody_asked_for(self) -> None:
        call = Call(core(), stream=True).send()
        assert sent(call.dispatches[0])[1]["stream_options"] == {"include_usage": True}
        call.engine(SSE_HEAD, chunk(TOKEN), chunk(TOKEN), chunk(USAGE_EVENT), chunk(DONE), END).settled()
        assert call.client.events == [TOKEN, TOKEN, DONE]
        assert call.client.is_whole
        assert call.client.headers["cache-control"] == "no-cache"
        assert (call.outcome, call.record.is_stream) == (("ok", ""), True)
        assert (call.record.prompt_tokens, call.record.output_tokens, call.record.cached_tokens) == (5, 7, 4)
        assert call.exchange.is_upstream_kept

    def test_a_client_that_asked_for_usage_gets_it(self) -> None:
        call = Call(core(), stream=True, stream_options={"include_usage": True}).send()
        call.engine(SSE_HEAD + chunk(TOKEN + USAGE_EVENT + DONE) + END)
        assert call.client.events == [TOKEN, USAGE_EVENT, DONE]

    @pytest.mark.parametrize("size", [1, 3, 50, 1000])
    def test_any_cut_into_reads_gives_the_same_stream(self, size: int) -> None:
        wire = SSE_HEAD + chunk(TOKEN) + chunk(TOKEN + TOKEN) + chunk(USAGE_EVENT) + chunk(DONE) + END
        call = Call(core(), stream=True).send()
        call.engine(*[wire[at : at + size] for at in range(0, len(wire), size)]).settled()
        assert call.client.events == [TOKEN, TOKEN, TOKEN, DONE]
        assert call.client.is_whole
        assert call.record.output_tokens == 7

    def test_time_to_the_first_token_is_not_that_of_a_comment(self) -> None:
        call = Call(core(), stream=True).send().engine(SSE_HEAD, chunk(b": waiting\n\n"))
        assert call.record.ttft_ms < 0
        call.engine(chunk(TOKEN))
        assert call.record.ttft_ms == pytest.approx((call.now - 100.0) * 1e3)

    @pytest.mark.parametrize("framing", [b"", b"content-length: %d\r\n" % len(TOKEN + DONE)])
    def test_a_stream_without_chunks_is_chunked_for_the_client(self, framing: bytes) -> None:
        call = Call(core(), stream=True).send().engine(SSE_FIELDS + framing + b"\r\n", TOKEN, DONE)
        call.lose(is_end=True).settled()
        assert call.client.events == [TOKEN, DONE]
        assert (call.client.is_whole, call.outcome) == (True, ("ok", ""))

    def test_an_error_event_of_the_engine_goes_on_and_is_written_down(self) -> None:
        died = event(error={"message": "engine died", "code": 500})
        call = Call(core(1), stream=True).send().engine(SSE_HEAD, chunk(TOKEN), chunk(died), chunk(DONE), END).settled()
        told = {"message": "engine died", "type": "server_error", "param": None, "code": "engine_error"}
        assert call.client.events == [TOKEN, event(error=told), DONE]
        assert call.outcome == ("upstream_error", "error_event")

    def test_a_stream_that_ends_in_order_but_without_its_last_event_is_told_to_be_incomplete(self) -> None:
        call = Call(core(1), stream=True).send().engine(SSE_HEAD, chunk(TOKEN), END).settled()
        assert call.client.events[0] == TOKEN
        assert json.loads(call.client.events[1].removeprefix(b"data: "))["error"]["code"] == "stream_incomplete"
        assert (call.client.is_whole, call.outcome) == (True, ("upstream_error", "stream_incomplete"))

    def test_a_stream_whose_last_event_is_not_known_may_end_as_it_likes(self) -> None:
        call = Call(core(), request("/v1/audio/speech"), stream=True).send().engine(SSE_HEAD, chunk(TOKEN), END)
        assert (call.client.events, call.client.is_whole) == ([TOKEN], True)

    def test_anthropics_usage_comes_from_its_start_and_its_end(self) -> None:
        start = b'event: message_start\ndata: {"message":{"usage":{"input_tokens":9,"output_tokens":0}}}\n\n'
        end = b'event: message_delta\ndata: {"usage":{"output_tokens":3}}\n\n'
        stop = b'event: message_stop\ndata: {"type":"message_stop"}\n\n'
        call = Call(core(), request("/v1/messages"), stream=True).send()
        call.engine(SSE_HEAD, chunk(start), chunk(end), chunk(stop) + END).settled()
        assert call.client.events == [start, end, stop]
        assert (call.record.prompt_tokens, call.record.output_tokens) == (9, 3)
        assert call.outcome == ("ok", "")


class TestHttp10:
    def test_a_stream_goes_to_an_old_client_without_chunks_and_ends_with_the_connection(self) -> None:
        call = Call(core(), request(is_http_1_0=True, is_keep_alive=False), stream=True).send()
        call.engine(SSE_HEAD, chunk(TOKEN), chunk(DONE) + END).settled()
        assert call.client.raw.partition(b"\r\n\r\n")[2] == TOKEN + DONE
        assert "transfer-encoding" not in call.client.headers
        assert call.client.headers["connection"] == "close"
        assert not call.exchange.is_client_kept

    def test_a_whole_answer_keeps_its_length(self) -> None:
        call = Call(core(), request(is_http_1_0=True, is_keep_alive=False)).send().engine(answer())
        assert (call.client.body, call.client.headers["content-length"]) == (ANSWER, str(len(ANSWER)))

    def test_a_broken_stream_ends_with_an_error_event_too(self) -> None:
        call = Call(core(1), request(is_http_1_0=True, is_keep_alive=False), stream=True).send()
        call.engine(SSE_HEAD, chunk(TOKEN)).lose().settled()
        assert b'"stream_interrupted"' in call.client.raw.rpartition(b"data: ")[2]
        assert not call.client.raw.endswith(END)


class TestRefusals:
    @pytest.mark.parametrize(
        ("key", "code"), [("", "missing_api_key"), ("wrong", "invalid_api_key"), (KEY[:-1], "invalid_api_key")]
    )
    @pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/models", "/v1/models/chat", "/nowhere", "/version"])
    def test_without_a_key_nothing_is_told(self, key: str, code: str, path: str) -> None:
        call = Call(core(), request(path, key=key)).send().settled()
        assert (call.client.status, call.client.json["error"]["code"]) == (401, code)
        assert call.client.headers["www-authenticate"] == "Bearer"
        assert (call.outcome, call.record.tenant) == (("client_error", code), "")

    def test_health_needs_no_key(self) -> None:
        for path in ("/health", "/ping"):
            call = Call(core(), request(path, method="GET", key="")).send(b"").settled()
            assert (call.client.status, call.client.body, call.outcome) == (200, b"", ("ok", ""))

    def test_anthropics_paths_are_refused_in_anthropics_shape(self) -> None:
        call = Call(core(), request("/v1/messages", key="")).send().settled()
        assert call.client.json["type"] == "error"
        assert call.client.json["error"]["type"] == "authentication_error"

    @pytest.mark.parametrize("model", ["nope", "embed2", "CHAT", "x" * 10_000])
    def test_an_unknown_model_is_404(self, model: str) -> None:
        call = Call(core(), model=model).send().settled()
        assert (call.client.status, call.client.json["error"]["code"]) == (404, "model_not_found")
        assert len(call.record.requested_model) <= 200
        assert call.record.model == ""

    def test_a_model_that_the_tenant_may_not_use_is_unknown_to_it(self) -> None:
        denied = Call(core(), request(key=OTHER_KEY)).send().settled()
        unknown = Call(core(), request(key=OTHER_KEY), model="nope").send().settled()
        assert (denied.client.status, denied.outcome) == (404, ("client_error", "model_not_found"))
        assert denied.client.body.replace(b"chat", b"nope") == unknown.client.body

    @pytest.mark.parametrize("path", ["/v1", "/v1/chat", "//v1/models", "/v1/files", "/metrics", "/v1%2Fmodels"])
    def test_an_unknown_path_is_404_in_openais_shape(self, path: str) -> None:
        call = Call(core(), request(path, method="GET")).send().settled()
        assert (call.client.status, call.client.json["error"]["code"]) == (404, "unknown_url")
        assert call.record.route == "other"

    @pytest.mark.parametrize(
        ("method", "path", "allow"),
        [
            ("GET", "/v1/chat/completions", "POST"),
            ("HEAD", "/v1/chat/completions", "POST"),
            ("OPTIONS", "/v1/embeddings", "POST"),
            ("POST", "/v1/models", "GET, HEAD"),
            ("DELETE", "/v1/models/chat", "GET, HEAD"),
            ("POST", "/health", "GET, HEAD"),
        ],
    )
    def test_a_wrong_method_is_405_and_told_the_right_one(self, method: str, path: str, allow: str) -> None:
        call = Call(core(), request(path, method=method)).send().settled()
        assert (call.client.status, call.client.headers["allow"]) == (405, allow)
        assert call.client.body == b"" or method != "HEAD"

    def test_head_is_answered_as_get_without_a_body(self) -> None:
        call = Call(core(), request("/v1/models", method="HEAD")).send(b"").settled()
        assert call.client.status == 200
        assert int(call.client.headers["content-length"]) > 0
        assert call.client.raw.endswith(b"\r\n\r\n")

    def test_a_declared_body_over_the_limit_is_413(self) -> None:
        call = Call(core(settings=config(LIMITS + TENANTS)), request(content_length=2049)).send().settled()
        assert (call.client.status, call.outcome) == (413, ("client_error", "request_too_large"))

    def test_malformed_json_is_400_with_its_place(self) -> None:
        call = Call(core()).send(b'{"model": "chat",}').settled()
        assert (call.client.status, call.client.json["error"]["code"]) == (400, "invalid_json")
        assert "column 17" in call.client.json["error"]["message"]

    def test_over_the_limit_of_requests_in_flight_is_503_with_retry_after(self) -> None:
        gateway = core(settings=config(LIMITS + TENANTS))
        first, second = Call(gateway).send(), Call(gateway).send()
        third = Call(gateway).send()
        assert (third.client.status, third.client.headers["retry-after"], third.outcome[0]) == (503, "1", "shed")
        health = Call(gateway, request("/health", method="GET")).send(b"")
        assert health.client.status == 200
        for call in (first, second):
            call.engine(answer())
        assert Call(gateway).send().engine(answer()).settled().client.status == 200

    def test_a_gateway_that_is_shutting_down_refuses_and_closes(self) -> None:
        gateway = core()
        gateway.is_leaving = gateway.is_draining = True
        call = Call(gateway).send().settled()
        assert (call.client.status, call.client.headers["connection"]) == (503, "close")
        assert call.outcome == ("shed", "shutting_down")

    def test_a_refusal_before_a_long_body_closes_the_connection(self) -> None:
        call = Call(core(), request("/nowhere", closes_if_refused=True)).send().settled()
        assert call.client.headers["connection"] == "close"
        assert not call.exchange.is_client_kept

    def test_a_tenants_model_without_endpoints_is_503_with_retry_after(self) -> None:
        call = Call(core(0)).send().settled()
        assert (call.client.status, call.client.headers["retry-after"]) == (503, "60")
        assert call.outcome == ("upstream_error", "no_endpoint")

    def test_a_request_waits_for_an_endpoint_that_may_come_back(self) -> None:
        gateway = core(1)
        endpoint = gateway.endpoints.all()[0]
        fail(endpoint, gateway)
        call = Call(gateway).send()
        assert (call.exchange.phase, call.tried, gateway.in_flight) == ("queued", [], 1)
        gateway.endpoints.heard(endpoint, "lives", 1e9)
        call.pump().engine(answer()).settled()
        assert (call.client.status, call.tried) == (200, ["chat-0"])

    def test_a_reload_does_not_change_a_request_under_way(self) -> None:
        gateway = core()
        call = Call(gateway)
        gateway.config = config(
            "    auth: {anonymous: false}\n", models="    - {name: other, endpoints: ['http://h:1']}\n"
        )
        gateway.endpoints.remove_pool("chat")
        gateway.endpoints.set_pool("chat", [])
        call.send()
        assert call.outcome == ("upstream_error", "no_endpoint")  # known and allowed still, though nobody serves it
        assert Call(gateway).send().outcome == ("client_error", "invalid_api_key")
