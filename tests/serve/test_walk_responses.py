"""A stream of the Responses API that is cut anywhere is heard whole and once, under the names of the first attempt."""

from __future__ import annotations

import json
from typing import Any

import pytest

from penstock.serve.walk import UnreadableError
from penstock.serve.walk_responses import Names, is_response_event, walk_response
from serve.exchanges import END, SSE_HEAD, Call, chunk, core, request, sent
from serve.gateways import config
from serve.streams import RECORDED, recorded
from serve.test_walk import Seen

SETTINGS = config()
GREEDY = {"stream": True, "temperature": 0}
PATH = "/v1/responses"


def named(kind: str, **fields: Any) -> bytes:
    return b"event: response.%b\ndata: %b\n\n" % (
        kind.encode(),
        json.dumps({**fields, "type": f"response.{kind}"}, separators=(",", ":")).encode(),
    )


def run_of(number: int, texts: list[str], arguments: list[str]) -> list[bytes]:
    """A message of two parts and a call, as one run of an engine tells them: with ids and a pace of its own."""
    message = {"id": f"msg_{number}", "type": "message", "role": "assistant", "content": []}
    call = {"id": f"fc_{number}", "call_id": f"call_{number}", "type": "function_call", "name": "f", "arguments": ""}
    response = {"id": f"resp_{number}", "created_at": number, "status": "completed", "output": []}
    out = [("created", {"response": response}), ("output_item.added", {"output_index": 0, "item": message})]
    place = {"output_index": 0, "item_id": f"msg_{number}"}
    for part in (0, 1):
        out.append(("content_part.added", {**place, "content_index": part, "part": {"type": "output_text"}}))
        out += [
            ("output_text.delta", {**place, "content_index": part, "delta": text, "logprobs": []}) for text in texts
        ]
        out.append(("output_text.done", {**place, "content_index": part, "text": "".join(texts)}))
        out.append(("content_part.done", {**place, "content_index": part, "part": {"text": "".join(texts)}}))
    out.append(("output_item.done", {"output_index": 0, "item": message}))
    out.append(("output_item.added", {"output_index": 1, "item": call}))
    place = {"output_index": 1, "item_id": f"fc_{number}"}
    out += [("function_call_arguments.delta", {**place, "delta": piece}) for piece in arguments]
    out.append(("function_call_arguments.done", {**place, "arguments": "".join(arguments)}))
    whole_call = {**call, "arguments": "".join(arguments)}
    out.append(("output_item.done", {"output_index": 1, "item": whole_call}))
    usage = {"input_tokens": 3, "output_tokens": 9, "total_tokens": 12}
    out.append(("completed", {"response": {**response, "output": [message, whole_call], "usage": usage}}))
    return [named(kind, **fields, sequence_number=n) for n, (kind, fields) in enumerate(out)]


FIRST = run_of(1, ["ab", "c", "de"], ["{", '"x":1', "}"])
SECOND = run_of(2, ["a", "bcd", "e"], ['{"x"', ":1}"])


def told(body: bytes) -> list[dict[str, Any]]:
    return [json.loads(part.partition(b"data: ")[2]) for part in body.split(b"\n\n") if part]


def heard(body: bytes) -> dict[str, Any]:
    """What a client makes of it, by the API's own names."""
    events = told(body)
    assert [e["sequence_number"] for e in events] == list(range(len(events)))
    text: dict[Any, str] = {}
    others = []
    for event in events:
        if event["type"].endswith(".delta"):
            key = (event["type"], event["output_index"], event.get("content_index"), event["item_id"])
            text[key] = text.get(key, "") + event["delta"]
        else:
            others.append({k: v for k, v in event.items() if k != "sequence_number"})
    return {"text": text, "others": others}


def wire(events: list[bytes]) -> bytes:
    return SSE_HEAD + b"".join(map(chunk, events)) + END


def start(**fields: Any) -> Call:
    return Call(core(3, settings=SETTINGS), request(PATH), **GREEDY, **fields).send()


WHOLE = heard(start().engine(wire(FIRST)).settled().client.body)


@pytest.mark.parametrize("cut", range(1, len(FIRST)))
def test_cut_after_any_event_it_is_one_answer(cut: int) -> None:
    call = start().engine(SSE_HEAD, *map(chunk, FIRST[:cut])).lose().engine(wire(SECOND)).settled()
    assert call.outcome == ("ok", "")
    got = heard(call.client.body)
    text = json.dumps([got["others"], [list(key) for key in got["text"]]])
    for name in ("resp_2", "msg_2") if cut > 1 else ("resp_2",):
        assert name not in text
    for name in ("fc", "call"):  # the second's own where the client knew none
        assert text.count(f"{name}_1") == 0 or text.count(f"{name}_2") == 0
    settled = json.loads(json.dumps(list(got["text"].values())))
    assert settled == list(WHOLE["text"].values())
    assert [e["type"] for e in got["others"]] == [e["type"] for e in WHOLE["others"]]
    assert call.record.output_tokens == 9


@pytest.mark.skipif(not RECORDED.exists(), reason="the recorded answers are not here")
def test_a_recorded_stream_cut_at_any_byte_is_heard_whole_and_once() -> None:
    _, events = recorded("responses_stream")
    first = wire(events)
    second = wire([e.replace(b"msg_", b"msg_f").replace(b"resp_", b"resp_f") for e in events])
    whole = heard(start().engine(first).settled().client.body)
    for cut in range(len(SSE_HEAD), len(first) - len(END), 3):
        call = start().engine(first[:cut]).lose("reset the connection")
        if not call.is_over:
            call.engine(second).settled()
        got = heard(call.client.body)
        if b"msg_f" in call.client.body or b"resp_f" in call.client.body:  # the client had no name of the first's yet
            got = json.loads(json.dumps([list(got["text"].values()), len(got["others"])]))
            assert got == json.loads(json.dumps([list(whole["text"].values()), len(whole["others"])]))
        else:
            assert got == whole


@pytest.mark.parametrize(
    "second",
    [
        run_of(2, ["ab", "X", "de"], ["{}"]),
        run_of(2, ["ab"], ["{}"]),  # shorter
        run_of(2, ["abcde"], ['{"x":2}']),
        [*SECOND[:2], named("completed", response={"id": "resp_2", "output": []}, sequence_number=2)],
        [named("failed", response={}, sequence_number=0)],
    ],
)
def test_a_run_that_says_something_else_is_not_heard(second: list[bytes]) -> None:
    call = start().engine(SSE_HEAD, *map(chunk, FIRST[:-2])).lose().engine(wire(second)).settled()
    assert call.record.reason == "replay_diverged"
    assert b"resp_2" not in call.client.body
    events = told(call.client.body)
    assert (events[-1]["type"], events[-1]["code"]) == ("error", "replay_diverged")


def test_what_is_kept_of_a_resumed_response_is_what_the_client_was_told() -> None:
    gateway = core(2, settings=SETTINGS)
    call = Call(gateway, request(PATH), **GREEDY, store=True).send()
    call.engine(SSE_HEAD, *map(chunk, FIRST[:5])).lose().engine(wire(SECOND)).settled()
    kept = gateway.shelf.find("acme", "resp_1", call.now + gateway.unix_offset_s, lambda *_: None)
    assert kept is not None
    assert kept.stored is not None
    assert json.loads(kept.stored.body)["output"][0]["id"] == "msg_1"


def test_a_sampled_response_gets_a_seed_and_a_plain_one_does_not() -> None:
    call = Call(core(2, settings=SETTINGS), request(PATH), stream=True).send()
    assert type(sent(call.dispatches[0])[1]["seed"]) is int
    assert "seed" not in sent(Call(core(2, settings=SETTINGS), request(PATH)).send().dispatches[0])[1]


@pytest.mark.parametrize(
    "event",
    [
        {"type": "response.web_search_call.searching", "output_index": 0},
        {"type": "response.output_text.delta", "delta": "x"},
        {"type": "response.output_text.delta", "output_index": -1, "delta": "x"},
        {"type": "response.output_text.delta", "output_index": 0, "delta": 3},
        {"type": "response.output_text.delta", "output_index": 0, "content_index": "0", "delta": "x"},
        {"type": "response.failed"},
    ],
)
def test_what_is_not_known_to_come_twice_alike_is_not_read(event: dict[str, Any]) -> None:
    with pytest.raises(UnreadableError):
        walk_response(event, Seen(keeps=True))


def test_only_events_of_this_api_are_its_own() -> None:
    assert is_response_event({"type": "response.created"})
    assert not is_response_event({"type": "message_start"})
    assert not is_response_event({"choices": []})


def test_names_that_the_client_does_not_know_stay() -> None:
    names, others = Names(), Names()
    item = {"output_index": 0, "item": {"id": "a", "call_id": "b"}}
    others.learn(item)
    names.mend(item, others)
    assert item["item"] == {"id": "a", "call_id": "b"}
    assert (names.next(), names.next()) == (0, 1)
