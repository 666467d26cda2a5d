"""A stream of Anthropic's API whose endpoint is lost: as vLLM reads no seed in it, it goes on as a chat completion."""

from __future__ import annotations

import json
from typing import Any

import pytest

from serve.continuing import NEXT, OTHER, PROMPT_IDS, TEXT_IDS, TOKENS, feed, wire
from serve.exchanges import END, SSE_HEAD, Call, answer, chunk, core, request, sent
from serve.gateways import config

SETTINGS = config()
CHAT = "/v1/chat/completions"


def named(kind: str, **fields: Any) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), json.dumps({"type": kind, **fields}).encode())


def spoken(*texts: str, block: str = "text") -> list[bytes]:
    """Reads of an engine that serves the API, up to where it is lost."""
    message = {"id": "msg_1", "type": "message", "role": "assistant", "model": "chat", "content": []}
    start = named("message_start", message={**message, "usage": {"input_tokens": 5, "output_tokens": 0}})
    opened = named("content_block_start", index=0, content_block={"type": block, block: ""})
    deltas = [named("content_block_delta", index=0, delta={"type": f"{block}_delta", block: text}) for text in texts]
    return [SSE_HEAD, *map(chunk, (start, opened, *deltas))]


def lost(*texts: str, block: str = "text", endpoints: int = 2, **body: Any) -> Call:
    asked = {"stream": True, "max_tokens": 20, **body}
    call = Call(core(endpoints, settings=SETTINGS), request("/v1/messages"), **asked).send()
    return call.engine(*spoken(*texts, block=block)).lose()


def heard(call: Call) -> list[dict[str, Any]]:
    return [json.loads(event.split(b"data: ", 1)[1]) for event in call.client.events if event.strip()]


def text_of(events: list[dict[str, Any]]) -> str:
    return "".join(e["delta"].get("text", "") for e in events if e["type"] == "content_block_delta")


def line(call: Call) -> str:
    return sent(call.dispatches[-1])[0][":line"].split(" ")[1]


def test_a_draw_goes_on_from_its_text_under_the_same_message() -> None:
    call = lost("a", "b", system="Be kind.", stop_sequences=["zz"])
    replay = sent(call.dispatches[-1])[1]
    assert line(call) == CHAT
    assert (replay["return_token_ids"], replay["max_tokens"], replay["stop"]) == (True, 20, ["zz"])
    assert replay["messages"][0] == {"role": "system", "content": "Be kind."}
    feed(call, *OTHER)
    assert (line(call), sent(call.dispatches[-1])[1]["prompt"]) == ("/tokenize", "ab")
    call.engine(TOKENS)
    assert sent(call.dispatches[-1])[1]["kv_transfer_params"] == {"prompt_token_ids": PROMPT_IDS + TEXT_IDS}
    call.engine(*NEXT).settled()
    events = heard(call)
    kinds = [e["type"] for e in events]
    assert text_of(events) == "ab-de"
    assert [kinds.count(k) for k in ("message_start", "content_block_start", "content_block_stop", "message_stop")] == [
        1,
        1,
        1,
        1,
    ]
    assert kinds[-2:] == ["message_delta", "message_stop"]
    assert events[-2]["delta"]["stop_reason"] == "max_tokens"
    assert (events[-2]["usage"]["input_tokens"], events[-2]["usage"]["output_tokens"]) == (5, 4)
    assert (call.record.prompt_tokens, call.record.output_tokens, call.record.continued) == (5, 4, 1)
    assert b"token_ids" not in call.client.body


def test_it_begins_the_turn_that_the_engine_had_begun() -> None:
    """After a turn of the assistant's vLLM begins a new one, where a translated request goes on with that."""
    turns = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "Well"}]
    asked = sent(lost("a", messages=turns).dispatches[-1])[1]
    assert asked["messages"] == turns
    assert not {"continue_final_message", "add_generation_prompt"} & asked.keys()


def test_a_greedy_one_is_said_again_as_it_was_asked() -> None:
    call = lost("a", "b", temperature=0)
    assert line(call) == "/v1/messages"
    rest = [
        named("content_block_stop", index=0),
        named("message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 3}),
        named("message_stop"),
    ]
    call.engine(*spoken("a", "b", "c"), *map(chunk, rest), END).settled()
    assert (text_of(heard(call)), call.outcome, call.record.continued) == ("abc", ("ok", ""), 0)


def test_a_greedy_one_that_diverges_goes_on_as_a_chat_completion_too() -> None:
    call = feed(lost("a", "b", temperature=0), *spoken("a", "x"))
    assert line(call) == CHAT
    feed(call, *OTHER)
    assert line(call) == "/tokenize"
    call.engine(TOKENS, *NEXT).settled()
    assert (text_of(heard(call)), call.record.continued) == ("ab-de", 1)


def test_it_may_be_lost_again_and_again() -> None:
    call = feed(lost("a", "b", endpoints=4), *OTHER).engine(TOKENS, *NEXT[:3]).lose()
    assert (line(call), sent(call.dispatches[-1])[1]["prompt"]) == ("/tokenize", "ab-d")
    more = answer(json.dumps({"tokens": [10, 11, 12]}).encode())
    call.engine(more, *wire(["!"], [*PROMPT_IDS, 10, 11, 12], 4, 1, 8)).settled()
    assert (text_of(heard(call)), call.record.resumes) == ("ab-d!", 2)


@pytest.mark.parametrize(
    "how",
    [
        {"block": "thinking"},
        {"tools": [{"name": "f", "input_schema": {"type": "object"}}], "tool_choice": {"type": "any"}},
        {"output_config": {"format": {"type": "json_schema", "schema": {"type": "object"}}}},
    ],
)
def test_what_can_not_go_on_ends_with_an_error_event(how: dict[str, Any]) -> None:
    call = lost("a", "b", **how).settled()
    assert (len(call.dispatches), heard(call)[-1]["type"]) == (1, "error")


def test_a_call_that_follows_the_text_is_a_block_of_its_own() -> None:
    call = feed(lost("a", "b", tools=[{"name": "f", "input_schema": {"type": "object"}}]), *OTHER).engine(TOKENS)
    head, role, text, *_, counts, done, end = NEXT
    tool = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    choice = {"index": 0, "delta": {"tool_calls": [tool]}, "finish_reason": "tool_calls"}
    frame = {"id": "chatcmpl-r", "object": "chat.completion.chunk", "created": 3, "model": "chat"}
    called = chunk(b"data: " + json.dumps({**frame, "choices": [choice]}).encode() + b"\n\n")
    call.engine(head, role, text, called, counts, done, end).settled()
    events = heard(call)
    starts = [(e["index"], e["content_block"]["type"]) for e in events if e["type"] == "content_block_start"]
    assert starts == [(0, "text"), (1, "tool_use")]
    assert (text_of(events), events[-2]["delta"]["stop_reason"]) == ("ab-d", "tool_use")


STOPPED = named("content_block_stop", index=0)
DROPPED = b"event: message_delta\ndata: %b\n\n" % (
    b'{"type":"message_delta","delta":{"stop_reason":null,"stop_sequence":null},"usage":{"input_tokens":5,"output_tokens":2}}'
)
LAST = named("message_stop")


@pytest.mark.parametrize("is_joined", [True, False])
@pytest.mark.parametrize("how", [{}, {"temperature": 0}])
def test_a_message_that_its_engine_dropped_goes_on_in_the_same_block(is_joined: bool, how: dict[str, Any]) -> None:
    """vLLM that is told to stop ends a message's block, and the message without a reason."""
    call = Call(core(2, settings=SETTINGS), request("/v1/messages"), stream=True, max_tokens=20, **how).send()
    ends = [STOPPED, DROPPED, LAST]
    call.engine(*spoken("a", "b"))
    for data in [chunk(b"".join(ends)) + END] if is_joined else [chunk(STOPPED), chunk(DROPPED), chunk(LAST) + END]:
        if len(call.dispatches) == 1:
            call.engine(data)
    assert len(call.dispatches) == 2
    if how:
        call.engine(*spoken("a", "b", "c"))
        done = named("message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 4})
        call.engine(chunk(STOPPED + done + LAST), END)
    else:
        feed(call, *OTHER).engine(TOKENS, *NEXT)
    events = heard(call.settled())
    kinds = [event["type"] for event in events]
    assert text_of(events) == ("abc" if how else "ab-de")
    assert kinds.count("content_block_stop") == kinds.count("message_delta") == kinds.count("message_stop") == 1
    assert [e["delta"]["stop_reason"] for e in events if e["type"] == "message_delta"] != [None]
    assert call.outcome == ("ok", "")


def test_a_message_that_its_only_engine_dropped_ends_with_an_error_and_not_in_silence() -> None:
    call = Call(core(1, settings=SETTINGS), request("/v1/messages"), stream=True, max_tokens=20).send()
    call.engine(*spoken("a"), chunk(STOPPED), chunk(DROPPED))
    kinds = [event["type"] for event in heard(call.settled())]
    assert kinds[-2:] == ["content_block_delta", "error"]
    assert call.outcome == ("upstream_error", "stream_interrupted")


def test_a_draw_that_is_cut_before_its_stop_reason_goes_on() -> None:
    call = Call(core(2, settings=SETTINGS), request("/v1/messages"), stream=True, max_tokens=20).send()
    call.engine(*spoken("a", "b"), chunk(STOPPED)).lose()
    feed(call, *OTHER).engine(TOKENS, *NEXT).settled()
    assert (text_of(heard(call)), call.outcome) == ("ab-de", ("ok", ""))


def test_the_end_of_a_block_goes_on_with_what_follows_it() -> None:
    call = Call(core(2, settings=SETTINGS), request("/v1/messages"), stream=True, max_tokens=20).send()
    call.engine(*spoken("a"), chunk(STOPPED))
    assert "content_block_stop" not in [event["type"] for event in heard(call)]
    opened = named("content_block_start", index=1, content_block={"type": "text", "text": ""})
    call.engine(chunk(opened))
    assert [event["type"] for event in heard(call)][-2:] == ["content_block_stop", "content_block_start"]
    done = named("message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 4})
    call.engine(chunk(named("content_block_stop", index=1)), chunk(done), chunk(LAST), END).settled()
    assert [event["type"] for event in heard(call)][-3:] == ["content_block_stop", "message_delta", "message_stop"]
