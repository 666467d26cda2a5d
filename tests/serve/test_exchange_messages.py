"""A request of the Messages API from first byte to last: mended on its way in, translated where the engine has no such
API, whole and as a stream."""

from __future__ import annotations

import json
from typing import Any

import pytest

from penstock.serve.admission.dialects import LACKS_S
from penstock.serve.core import Core
from serve.exchanges import DONE, END, SSE_HEAD, USAGE, Call, answer, chunk, core, event, request, sent
from serve.gateways import MODELS, TENANTS, config

NO_PATH = answer(b'{"detail":"Not Found"}', status="404 Not Found")
SAID = {"id": "chatcmpl-1", "choices": [{"message": {"content": "hello"}, "finish_reason": "stop"}], "usage": USAGE}
CHAT = answer(json.dumps(SAID).encode())
PIECES = [
    event(id="chatcmpl-1", choices=[{"index": 0, "delta": {"role": "assistant", "content": ""}}]),
    event(id="chatcmpl-1", choices=[{"index": 0, "delta": {"content": "hel"}}]),
    event(id="chatcmpl-1", choices=[{"index": 0, "delta": {"content": "lo"}}]),
    event(id="chatcmpl-1", choices=[{"index": 0, "delta": {}, "finish_reason": "stop"}]),
    event(id="chatcmpl-1", choices=[], usage=USAGE),
    DONE,
]


def message(gateway: Core, path: str = "/v1/messages", **fields: Any) -> Call:
    return Call(gateway, request(path), **{"model": "gpt-4o", "max_tokens": 9, **fields}).send()


def text_of(call: Call) -> str:
    datas = [json.loads(e.partition(b"data: ")[2]) for e in call.client.events]
    return "".join(d["delta"].get("text", "") for d in datas if d["type"] == "content_block_delta")


class TestAnEngineThatHasNoMessages:
    def test_it_is_asked_for_a_chat_at_once_and_the_client_gets_a_message(self) -> None:
        call = message(core(1)).engine(NO_PATH, CHAT).settled()
        first, second = (sent(d) for d in call.dispatches)
        assert first[0][":line"].startswith("POST /v1/messages ")
        assert second[0][":line"].startswith("POST /v1/chat/completions ")
        assert (second[1]["model"], second[1]["max_tokens"]) == ("chat", 9)
        told = call.client.json
        assert (call.client.status, told["type"], told["model"]) == (200, "message", "gpt-4o")
        assert told["content"] == [{"type": "text", "text": "hello"}]
        assert call.client.headers["x-penstock-translated"] == "/v1/chat/completions"
        assert call.outcome == ("ok", "")
        assert (call.record.prompt_tokens, call.record.output_tokens, call.record.retries) == (5, 7, 0)
        assert call.exchange.is_upstream_kept

    def test_the_next_request_is_translated_without_a_try_until_it_is_time_to_look_again(self) -> None:
        gateway = core(1)
        message(gateway).engine(NO_PATH, CHAT)
        call = message(gateway).engine(CHAT).settled()
        assert [sent(d)[0][":line"].split()[1] for d in call.dispatches] == ["/v1/chat/completions"]
        later = Call(gateway, request("/v1/messages"), max_tokens=9)
        later.tick(LACKS_S + 1)
        assert sent(later.send().dispatches[0])[0][":line"].split()[1] == "/v1/messages"

    @pytest.mark.parametrize("size", [1, 17, 64, 4096])
    def test_a_stream_is_translated_however_it_is_cut(self, size: int) -> None:
        wire = SSE_HEAD + b"".join(chunk(piece) for piece in PIECES) + END
        call = message(core(1), stream=True).engine(NO_PATH)
        call.engine(*[wire[at : at + size] for at in range(0, len(wire), size)]).settled()
        assert text_of(call) == "hello"
        assert call.client.events[0].startswith(b"event: message_start\n")
        assert call.client.events[-1].startswith(b"event: message_stop\n")
        assert b"chat.completion" not in call.client.body
        assert b"choices" not in call.client.body
        assert call.outcome == ("ok", "")
        assert call.client.is_whole
        assert (call.record.prompt_tokens, call.record.output_tokens) == (5, 7)

    def test_tokens_are_counted_by_tokenize(self) -> None:
        call = message(core(1), "/v1/messages/count_tokens").engine(NO_PATH, answer(b'{"count":12,"tokens":[]}'))
        assert sent(call.dispatches[1])[0][":line"].split()[1] == "/tokenize"
        assert call.settled().client.json == {"input_tokens": 12}

    def test_its_errors_are_told_as_anthropics(self) -> None:
        refusal = answer(b'{"error":{"message":"too long","code":400}}', status="400 Bad Request")
        call = message(core(1)).engine(NO_PATH, refusal).settled()
        assert call.client.json == {"type": "error", "error": {"type": "invalid_request_error", "message": "too long"}}

    def test_a_stream_that_it_ends_in_its_middle_ends_with_an_error(self) -> None:
        call = message(core(1), stream=True).engine(NO_PATH, SSE_HEAD, chunk(PIECES[0]), chunk(PIECES[1]), END)
        assert call.settled().client.events[-1].startswith(b"event: error\n")
        assert call.outcome[0] == "upstream_error"

    def test_a_stream_that_is_lost_goes_on_elsewhere_with_no_word_twice(self) -> None:
        call = message(core(2), stream=True, temperature=0).engine(NO_PATH)
        call.engine(SSE_HEAD, *[chunk(piece) for piece in PIECES[:2]]).lose()
        call.engine(SSE_HEAD, *[chunk(piece) for piece in PIECES], END).settled()
        assert text_of(call) == "hello"
        assert call.outcome == ("ok", "")
        assert call.record.resumes == 1

    def test_an_answer_that_breaks_off_is_asked_for_again_elsewhere(self) -> None:
        call = message(core(2)).engine(NO_PATH, CHAT[:-5]).lose().engine(CHAT).settled()
        assert call.client.json["content"] == [{"type": "text", "text": "hello"}]
        assert call.record.retries == 1

    @pytest.mark.parametrize("body", [b"[]", b"oops", b"null"])
    def test_what_is_no_chat_completion_is_an_honest_error(self, body: bytes) -> None:
        call = message(core(1)).engine(NO_PATH, answer(body)).settled()
        assert (call.client.status, call.client.json["type"]) == (502, "error")

    def test_a_404_of_a_model_is_no_missing_path(self) -> None:
        said = b'{"error":{"message":"The model `x` does not exist.","type":"NotFoundError","code":404}}'
        call = message(core(1)).engine(answer(said, status="404 Not Found")).settled()
        assert (call.client.status, len(call.dispatches)) == (404, 1)


def test_blocks_that_engines_refuse_are_mended_and_the_client_is_told() -> None:
    document = {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "Once."}}
    trace = {"type": "x\r\nset-cookie: a_tool_result", "tool_use_id": "1", "content": []}
    messages = [{"role": "user", "content": [document, trace, {"type": "text", "text": "And?"}]}]
    call = message(core(1), messages=messages)
    body = sent(call.dispatches[0])[1]
    assert [b["type"] for b in body["messages"][0]["content"]] == ["text", "text"]
    call.engine(answer(b"{}")).settled()
    assert "wrote out document" in call.client.headers["x-penstock-mended"]
    assert "set-cookie" not in call.client.headers


def test_a_block_that_no_engine_can_read_is_refused_before_one_is_asked() -> None:
    document = {"type": "document", "source": {"type": "url", "url": "https://a.example/x.pdf"}}
    call = message(core(1), messages=[{"role": "user", "content": [document]}]).settled()
    assert (call.client.status, call.client.json["error"]["type"]) == (400, "invalid_request_error")
    assert call.dispatches == []


def test_a_request_that_needs_no_mending_goes_on_with_what_it_had() -> None:
    call = Call(core(1), request("/v1/messages"), max_tokens=9).send()
    assert call.dispatches[0].data[1] == call.body
    call.engine(answer(b"{}"))
    assert "x-penstock-mended" not in call.client.headers


@pytest.mark.parametrize(("args", "kind"), [("", "adaptive"), ("engine: {args: {reasoning-parser: qwen3}}", "enabled")])
def test_bounded_thinking_is_kept_where_the_engine_is_known_to_bound_it(args: str, kind: str) -> None:
    models = MODELS.replace("    - name: embed", f"      {args}\n    - name: embed") if args else MODELS
    call = message(core(1, settings=config(models=models)), thinking={"type": "enabled", "budget_tokens": 1024})
    assert sent(call.dispatches[0])[1]["thinking"]["type"] == kind


PROVIDER = """\
    providers: [{name: out, url: 'http://127.0.0.1:9/v1', keyFrom: {env: OUT_KEY}}]
"""
FALLS_BACK = MODELS.replace(
    "    - name: embed", "      fallbacks: [{provider: out, providerModel: gpt-x, when: [error]}]\n    - name: embed"
)


def test_a_provider_is_asked_for_a_chat_with_nothing_that_only_engines_know() -> None:
    settings = config(PROVIDER + TENANTS, FALLS_BACK, env={"OUT_KEY": "secret"})
    gateway = core(1, settings=settings)
    provider = settings.targets["out/gpt-x"]
    from penstock.serve.routing import EndpointAddress

    gateway.endpoints.set_pool(
        provider.name, [EndpointAddress(id=provider.name, host="127.0.0.1", port=9, is_external=True)]
    )
    call = message(gateway, top_k=4).lose()
    headers, body = sent(call.dispatches[1])
    assert headers[":line"].split()[1] == "/v1/chat/completions"
    assert headers["authorization"] == "Bearer secret"
    assert body["model"] == "gpt-x"
    assert "top_k" not in body
    call.engine(CHAT).settled()
    assert call.client.json["content"] == [{"type": "text", "text": "hello"}]
