"""When an endpoint fails: who is tried next, what the client is told, and whom the failure is counted against."""

from __future__ import annotations

import json
from typing import Any

import pytest

from penstock.serve.admission.admission import RETRIES_MAX
from penstock.serve.core import Core
from penstock.serve.exchange import ERROR_BYTES_MAX, HELD_BYTES_MAX
from penstock.serve.routing import EndpointAddress
from penstock.serve.wire.errors import Failure
from penstock.serve.wire.sse import EVENT_BYTES_MAX
from serve.exchanges import (
    ANSWER,
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
    head,
    request,
)
from serve.gateways import MODELS, config

ENGINE_ERROR = b'{"error":{"message":"too long","type":"invalid_request_error","param":"prompt","code":"too_long"}}'


def failures(gateway: Core) -> dict[str, int]:
    return {e.id: e.failures_total for e in gateway.endpoints.all()}


def last_error(call: Call) -> Any:
    return json.loads(call.client.events[-1].rpartition(b"data: ")[2])["error"]


class TestEngineErrors:
    @pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages"])
    def test_an_engine_that_wants_a_key_is_no_matter_of_the_clients(self, path: str) -> None:
        gateway = core()
        wants = answer(b'{"error":"Unauthorized"}', status="401 Unauthorized")
        call = Call(gateway, request(path), max_tokens=9).send().engine(wants).settled()
        assert call.client.status == 502
        assert "it answered 401" in call.client.json["error"]["message"]
        assert "www-authenticate" not in call.client.headers
        assert call.outcome == ("upstream_error", "upstream_error")

    @pytest.mark.parametrize("status", ["400 Bad Request", "404 Not Found", "422 Unprocessable Content"])
    def test_a_clients_mistake_is_passed_on_and_counts_against_nobody(self, status: str) -> None:
        gateway = core()
        call = Call(gateway).send().engine(answer(ENGINE_ERROR, status=status)).settled()
        assert (call.client.status, call.client.json) == (int(status[:3]), json.loads(ENGINE_ERROR))
        assert call.outcome == ("client_error", f"engine_{status[:3]}")
        assert failures(gateway) == {"chat-0": 0, "chat-1": 0}
        assert call.exchange.is_upstream_kept
        assert (len(call.dispatches), call.record.retries) == (1, 0)

    def test_an_engine_that_limits_says_so_with_its_retry_after(self) -> None:
        wire = answer(b"{}", status="429 Too Many Requests", fields="retry-after: 7\r\n")
        call = Call(core()).send().engine(wire).engine(wire).settled()
        assert (call.client.status, call.client.headers["retry-after"], call.outcome[0]) == (429, "7", "limited")
        assert len(call.tried) == 2  # the other one may have had room

    def test_a_client_that_leaves_its_fallback_cuts_it_though_the_first_engine_was_done(self) -> None:
        """The fallback still writes: kept, its connection would carry that into the answer of somebody else."""
        models = MODELS.replace("    - name: embed", "      fallbacks: [{model: spare}]\n    - name: embed")
        models += '    - {name: spare, endpoints: ["http://127.0.0.1:1"]}\n'
        gateway = core(1, settings=config(models=models))
        gateway.endpoints.set_pool("spare", [EndpointAddress(id="spare-0", host="127.0.0.1", port=9)])
        call = Call(gateway, stream=True).send().engine(answer(b"oops", status="500 Internal Server Error"))
        assert call.tried == ["chat-0", "spare-0"]
        call.engine(SSE_HEAD, chunk(TOKEN))
        call.exchange.client_lost(call.tick())
        assert call.settled().outcome == ("cancelled", "client_disconnected")
        assert not call.exchange.is_upstream_kept

    def test_an_engine_that_broke_is_not_asked_twice_for_the_same(self) -> None:
        call = Call(core()).send().engine(answer(b"oops", status="500 Internal Server Error")).settled()
        assert (call.client.status, call.client.json["error"]["message"]) == (500, "oops")
        assert (call.outcome, len(call.dispatches)) == (("upstream_error", "engine_500"), 1)

    @pytest.mark.parametrize("size", [1, 10, 1000])
    def test_an_error_body_in_pieces_is_one_error(self, size: int) -> None:
        wire = answer(ENGINE_ERROR, status="400 Bad Request")
        call = Call(core()).send().engine(*[wire[at : at + size] for at in range(0, len(wire), size)]).settled()
        assert call.client.json == json.loads(ENGINE_ERROR)

    def test_an_error_body_until_the_end_is_whole_at_the_end(self) -> None:
        call = Call(core()).send().engine(b"HTTP/1.1 400 Bad\r\n\r\n", ENGINE_ERROR).lose(is_end=True).settled()
        assert call.client.json == json.loads(ENGINE_ERROR)
        assert not call.exchange.is_upstream_kept

    def test_an_error_body_that_is_cut_is_502(self) -> None:
        gateway = core()
        call = Call(gateway).send().engine(head(ENGINE_ERROR, status="400 Bad") + b"{").lose().settled()
        assert (call.client.status, call.outcome[0]) == (502, "upstream_error")
        assert sum(failures(gateway).values()) == 1

    def test_an_endless_error_body_is_cut_to_what_is_kept(self) -> None:
        call = Call(core()).send().engine(b"HTTP/1.1 500 Oops\r\ntransfer-encoding: chunked\r\n\r\n")
        for _ in range(ERROR_BYTES_MAX // 10_000 + 2):
            if not call.is_over:
                call.engine(chunk(b"x" * 10_000))
        call.settled()
        assert call.client.status == 500
        assert not call.exchange.is_upstream_kept

    def test_an_error_in_a_stream_request_is_a_plain_error(self) -> None:
        call = Call(core(), stream=True).send().engine(answer(ENGINE_ERROR, status="400 Bad Request")).settled()
        assert call.client.headers["content-type"] == "application/json"
        assert call.client.json == json.loads(ENGINE_ERROR)

    def test_a_redirect_is_no_answer(self) -> None:
        call = Call(core(1)).send().engine(answer(b"", status="307 Temporary Redirect", fields="location: /x\r\n"))
        assert call.settled().client.status == 502
        assert "307" in call.client.json["error"]["message"]


class TestRetries:
    @pytest.mark.parametrize("reason", ["refused the connection", "reset the connection", "closed the connection"])
    def test_a_failure_before_the_first_byte_goes_to_another_endpoint(self, reason: str) -> None:
        gateway = core()
        call = Call(gateway).send().lose(reason)
        assert sorted(call.tried) == ["chat-0", "chat-1"]
        assert failures(gateway)[call.tried[0]] == 1
        assert gateway.endpoints.get(call.tried[0]).last_error == reason  # type: ignore[union-attr]
        call.engine(answer()).settled()
        assert (call.client.status, call.record.retries, call.record.endpoint) == (200, 1, call.tried[1])
        assert call.dispatches[0].data[1] == call.dispatches[1].data[1]

    @pytest.mark.parametrize(
        ("status", "count"),
        [
            ("429 Too Many Requests", 0),
            ("502 Bad Gateway", 1),
            ("503 Service Unavailable", 0),
            ("504 Gateway Timeout", 1),
        ],
    )
    def test_an_endpoint_that_can_not_serve_now_is_passed_by(self, status: str, count: int) -> None:
        gateway = core()
        call = Call(gateway).send().engine(answer(b"{}", status=status)).engine(answer()).settled()
        assert (call.client.status, call.record.retries) == (200, 1)
        assert failures(gateway)[call.tried[0]] == count  # one that is only busy has not failed
        assert failures(gateway)[call.tried[1]] == 0

    def test_the_last_endpoints_503_is_the_answer(self) -> None:
        busy = answer(b'{"detail":"loading"}', status="503 Service Unavailable", fields="retry-after: 9\r\n")
        call = Call(core(2)).send().engine(busy).engine(busy).settled()
        assert (call.client.status, call.client.json["error"]["message"]) == (503, "loading")
        assert call.client.headers["retry-after"] == "9"
        assert call.record.retries == 1

    def test_no_request_is_tried_on_more_endpoints_than_the_bound(self) -> None:
        call = Call(core(10)).send()
        while not call.is_over:
            call.lose("refused the connection")
        assert len(set(call.tried)) == len(call.tried) == RETRIES_MAX + 1
        assert (call.settled().client.status, call.record.retries) == (502, RETRIES_MAX)
        assert call.outcome == ("upstream_error", "upstream_error")
        assert call.tried[-1] in call.client.json["error"]["message"]

    def test_the_only_endpoint_is_tried_once(self) -> None:
        call = Call(core(1)).send().lose("refused the connection").settled()
        assert (call.client.status, call.tried, call.record.retries) == (502, ["chat-0"], 0)

    def test_an_idle_connection_that_the_endpoint_had_closed_is_no_failure(self) -> None:
        gateway = core()
        call = Call(gateway).send().lose(was_reused=True)
        assert call.dispatches[1].is_fresh
        assert call.tried[0] == call.tried[1]
        assert sum(failures(gateway).values()) == 0
        assert call.record.retries == 0
        assert gateway.endpoints.get(call.tried[0]).in_flight == 1  # type: ignore[union-attr]
        call.lose("refused the connection")
        assert failures(gateway)[call.tried[0]] == 1
        assert call.tried[2] != call.tried[0]
        call.engine(answer()).settled()

    def test_a_used_connection_that_ends_in_the_middle_of_a_head_is_a_failure(self) -> None:
        gateway = core()
        call = Call(gateway).send().engine(b"HTTP/1.1 200").lose(was_reused=True)
        assert sum(failures(gateway).values()) == 1
        call.engine(answer()).settled()
        assert call.client.status == 200

    @pytest.mark.parametrize(
        "wire",
        [
            b"SSH-2.0-OpenSSH\r\n",
            b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
            b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nx: " + b"y" * 70_000,
            SSE_HEAD + b"zz\r\n",
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhelloXX",
        ],
    )
    def test_garbage_before_anything_was_sent_goes_to_another_endpoint(self, wire: bytes) -> None:
        gateway = core()
        call = Call(gateway, stream=True).send().engine(wire)
        assert (len(call.dispatches), call.client.raw) == (2, b"")
        assert sum(failures(gateway).values()) == 1
        call.engine(SSE_HEAD, chunk(TOKEN), chunk(USAGE_EVENT + DONE) + END).settled()
        assert (call.client.events, call.outcome, call.client.is_whole) == ([TOKEN, DONE], ("ok", ""), True)
        assert call.record.bytes_out == len(TOKEN + USAGE_EVENT + DONE)
        assert call.record.status == 200

    @pytest.mark.parametrize("wire", [SSE_HEAD + b"zz\r\n", SSE_HEAD.replace(b"200", b"500") + b"zz\r\n", b"zz zz zz"])
    def test_garbage_from_the_only_endpoint_is_502(self, wire: bytes) -> None:
        call = Call(core(1), stream=True).send().engine(wire).settled()
        assert (call.client.status, call.record.status) == (502, 502)
        assert not call.exchange.is_upstream_kept


class TestCuts:
    @pytest.mark.parametrize("reason", ["closed the connection", "reset the connection"])
    def test_a_stream_that_is_cut_ends_with_an_error_event(self, reason: str) -> None:
        gateway = core(1)
        call = Call(gateway, stream=True).send().engine(SSE_HEAD, chunk(TOKEN), b"5\r\nda")
        call.lose(reason, is_end=reason.startswith("closed")).settled()
        assert call.client.is_whole
        assert call.client.events[0] == TOKEN
        error = last_error(call)
        assert error["code"] == "stream_interrupted"
        assert call.tried[0] in error["message"]
        assert reason in error["message"]
        assert call.outcome == ("upstream_error", "stream_interrupted")
        assert failures(gateway)[call.tried[0]] == 1
        assert call.exchange.is_client_kept

    def test_anthropics_stream_ends_in_anthropics_shape(self) -> None:
        call = (
            Call(core(), request("/v1/messages"), stream=True)
            .send()
            .engine(SSE_HEAD, chunk(b"event: ping\ndata: {}\n\n"))
        )
        call.lose().settled()
        assert call.client.events[-1].startswith(b"event: error\ndata: ")
        assert last_error(call)["type"] == "api_error"

    @pytest.mark.parametrize("framing", [b"transfer-encoding: chunked\r\n", b"content-length: 9999\r\n", b""])
    def test_a_cut_inside_an_event_drops_the_event_and_not_the_framing(self, framing: bytes) -> None:
        call = Call(core(1), stream=True).send().engine(SSE_FIELDS + framing + b"\r\n")
        for piece in (TOKEN, TOKEN[:20]):
            call.engine(chunk(piece) if b"chunked" in framing else piece)
        call.lose(is_end=True).settled()
        assert call.client.events[0] == TOKEN
        assert last_error(call)["code"] == "stream_interrupted"
        assert len(call.client.events) == 2

    def test_a_cut_inside_an_event_that_went_on_in_pieces_ends_that_event_first(self) -> None:
        call = Call(core(), stream=True).send().engine(SSE_HEAD, chunk(b"data: " + b"x" * (EVENT_BYTES_MAX + 10)))
        call.lose().settled()
        assert len(call.client.events) == 2
        assert last_error(call)["code"] == "stream_interrupted"

    def test_broken_chunks_in_the_middle_of_a_stream_are_a_cut(self) -> None:
        call = Call(core(1), stream=True).send().engine(SSE_HEAD, chunk(TOKEN), b"zz\r\n").settled()
        assert last_error(call)["code"] == "stream_interrupted"
        assert not call.exchange.is_upstream_kept

    def test_a_stream_that_had_said_its_last_word_is_not_cut(self) -> None:
        gateway = core()
        call = (
            Call(gateway, stream=True).send().engine(SSE_HEAD, chunk(TOKEN), chunk(DONE)).lose("reset the connection")
        )
        call.settled()
        assert (call.client.events, call.client.is_whole, call.outcome) == ([TOKEN, DONE], True, ("ok", ""))
        assert sum(failures(gateway).values()) == 0
        assert not call.exchange.is_upstream_kept

    def test_usage_that_came_before_the_cut_is_written_down(self) -> None:
        call = Call(core(1), stream=True).send().engine(SSE_HEAD, chunk(TOKEN), chunk(USAGE_EVENT)).lose().settled()
        assert call.record.output_tokens == 7

    @pytest.mark.parametrize("is_chunked", [False, True])
    def test_a_plain_answer_that_is_cut_after_it_began_to_flow_closes_the_connection(self, is_chunked: bool) -> None:
        long = b"x" * (HELD_BYTES_MAX + 1)
        start = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" if is_chunked else head(long)
        gateway = core()
        call = Call(gateway).send().engine(start, chunk(ANSWER[:10]) if is_chunked else ANSWER[:10]).lose().settled()
        assert not call.client.is_whole
        assert not call.exchange.is_client_kept
        assert call.outcome == ("upstream_error", "answer_cut")
        assert sum(failures(gateway).values()) == 1


class TestDeadlines:
    def test_a_client_hears_how_long_it_gave_the_answer(self) -> None:
        asked = request(fields={b"x-request-timeout-ms": b"400"})
        call = Call(core(), asked).send().late(0.5).settled()
        assert (call.client.status, call.outcome) == (504, ("timeout", "deadline_exceeded"))
        assert "was not there after 0.5 s" in call.client.json["error"]["message"]

    def test_no_first_byte_in_time_is_504(self) -> None:
        call = Call(core()).send().late(599.9)
        assert not call.is_over
        call.late(0.2).settled()
        assert (call.client.status, call.outcome) == (504, ("timeout", "first_byte_timeout"))
        assert not call.exchange.is_upstream_kept

    def test_an_engine_that_falls_silent_in_mid_stream_ends_it_with_an_error_event(self) -> None:
        call = Call(core(1), stream=True).send().engine(SSE_HEAD, chunk(TOKEN)).late(299.9)
        assert not call.is_over
        call.late(0.2).settled()
        assert (last_error(call)["code"], call.client.is_whole) == ("stream_interrupted", True)
        assert call.outcome == ("timeout", "stream_interrupted")

    def test_every_read_is_progress(self) -> None:
        call = Call(core(1), stream=True).send().engine(SSE_HEAD)
        for _ in range(5):
            call.late(290.0).engine(chunk(TOKEN))
        assert not call.is_over

    def test_an_engine_that_falls_silent_in_a_plain_answer_is_504(self) -> None:
        call = Call(core(1)).send().engine(head(ANSWER), ANSWER[:5]).late(301.0).settled()
        assert (call.client.status, call.outcome) == (504, ("timeout", "read_timeout"))

    def test_a_plain_answer_of_which_nothing_was_sent_is_asked_for_again_when_it_falls_silent(self) -> None:
        call = Call(core()).send().engine(head(ANSWER), ANSWER[:5]).late(301.0).engine(answer()).settled()
        assert (call.client.status, call.client.body, len(call.tried)) == (200, ANSWER, 2)

    def test_an_engine_that_falls_silent_in_an_answer_that_flows_is_a_cut(self) -> None:
        call = Call(core()).send().engine(head(b"x" * (HELD_BYTES_MAX + 1)), ANSWER[:5]).late(301.0).settled()
        assert not call.exchange.is_client_kept
        assert call.outcome == ("timeout", "answer_cut")

    def test_an_engine_that_falls_silent_in_an_error_is_504(self) -> None:
        call = Call(core()).send().engine(head(ENGINE_ERROR, status="500 Oops")).late(301.0).settled()
        assert (call.client.status, call.outcome) == (504, ("timeout", "read_timeout"))


class TestOtherEnds:
    @pytest.mark.parametrize("reads", [(), (SSE_HEAD,), (SSE_HEAD, chunk(TOKEN)), (head(b"xx", status="500 Oops"),)])
    def test_a_client_that_goes_away_is_cancelled_wherever_it_was(self, reads: tuple[bytes, ...]) -> None:
        gateway = core()
        call = Call(gateway, stream=True).send().engine(*reads)
        call.exchange.client_lost(call.tick())
        call.settled()
        assert call.outcome == ("cancelled", "client_disconnected")
        assert not call.exchange.is_upstream_kept
        assert sum(failures(gateway).values()) == 0

    def test_a_client_that_goes_away_with_the_last_event_has_its_whole_answer(self) -> None:
        """Clients hang up on `[DONE]`; vLLM ends the connection's chunk a moment later."""
        call = Call(core(), stream=True).send().engine(SSE_HEAD, chunk(TOKEN), chunk(USAGE_EVENT + DONE))
        call.exchange.client_lost(call.tick())
        call.settled()
        assert (call.outcome, call.record.status) == (("ok", ""), 200)
        assert call.record.output_tokens > 0
        assert not call.exchange.is_upstream_kept

    def test_a_client_that_goes_away_before_its_request_was_whole_is_cancelled(self) -> None:
        call = Call(core())
        call.exchange.client_lost(call.tick())
        call.settled()
        assert (call.outcome, call.record.status) == (("cancelled", "client_disconnected"), 0)

    def test_a_client_that_goes_away_after_its_answer_changes_nothing(self) -> None:
        call = Call(core()).send().engine(answer())
        call.exchange.client_lost(call.tick())
        assert call.settled().outcome == ("ok", "")

    def test_shutting_down_before_the_answer_is_503(self) -> None:
        call = Call(core()).send()
        call.take(call.exchange.shut_down(call.tick()))
        assert (call.settled().client.status, call.outcome) == (503, ("shed", "shutting_down"))

    def test_shutting_down_in_mid_stream_is_told_by_an_error_event(self) -> None:
        gateway = core()
        call = Call(gateway, stream=True).send().engine(SSE_HEAD, chunk(TOKEN))
        call.take(call.exchange.shut_down(call.tick()))
        call.settled()
        assert "shut down" in last_error(call)["message"]
        assert (call.client.is_whole, call.outcome) == (True, ("shed", "stream_interrupted"))
        assert sum(failures(gateway).values()) == 0

    def test_shutting_down_in_a_plain_answer_that_flows_cuts_it(self) -> None:
        call = Call(core()).send().engine(head(b"x" * (HELD_BYTES_MAX + 1)), ANSWER[:5])
        assert call.exchange.shut_down(call.tick()) is None
        assert not call.settled().exchange.is_client_kept

    def test_shutting_down_in_a_plain_answer_that_is_held_is_503(self) -> None:
        call = Call(core()).send().engine(head(ANSWER), ANSWER[:5])
        call.take(call.exchange.shut_down(call.tick()))
        assert (call.settled().client.status, call.outcome) == (503, ("shed", "shutting_down"))

    def test_what_comes_after_the_end_is_ignored(self) -> None:
        whole = Call(core()).send().engine(answer())
        cut = Call(core(1), stream=True).send().engine(SSE_HEAD, chunk(TOKEN), chunk(TOKEN)).lose()
        for call in (whole, cut):
            before = call.client.raw
            call.engine(b"more", chunk(TOKEN)).lose().late(1e6)
            assert call.settled().client.raw == before

    def test_what_a_client_got_before_it_went_away_is_written_down(self) -> None:
        call = Call(core(), stream=True).send().engine(SSE_HEAD, chunk(TOKEN), chunk(TOKEN), chunk(USAGE_EVENT))
        call.exchange.client_lost(call.tick())
        assert call.record.bytes_out >= 2 * len(TOKEN)
        assert call.record.output_tokens == 7
        assert call.record.ttft_ms > 0

    def test_a_request_that_was_never_read_whole_has_a_route_to_be_counted_by(self) -> None:
        call = Call(core(), request("-", method="-", is_keep_alive=False))
        call.take(call.exchange.refuse(Failure(status=400, code="bad_http", message="no"), call.tick()))
        assert call.settled().record.route == "other"

    def test_a_probe_means_nothing_to_a_client(self) -> None:
        call = Call(core(), stream=True).send()
        call.client.take(call.exchange.probe())
        assert call.client.interim == 1
        for data in (SSE_HEAD, chunk(TOKEN), b"5\r\nda", b"ta:\r\n", chunk(b" 1\n\n")):
            call.engine(data)
            call.client.take(call.exchange.probe())
        call.engine(chunk(DONE), END)
        events = [e for e in call.settled().client.events if not e.startswith(b":")]
        assert events == [TOKEN, b"data: 1\n\n", DONE]
        assert len(call.client.events) > len(events)

    def test_a_client_that_might_not_understand_a_probe_gets_none(self) -> None:
        old = Call(core(), request(is_http_1_0=True, is_keep_alive=False), stream=True).send()
        assert old.exchange.probe() == b""
        old.engine(SSE_HEAD, chunk(TOKEN))
        assert old.exchange.probe() == b""
        plain = Call(core()).send().engine(head(ANSWER))
        assert plain.exchange.probe() == b""
