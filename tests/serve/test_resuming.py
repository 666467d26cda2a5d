"""A stream whose replay says something else goes on from what its client has; whatever fails then, it ends honestly."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.serve.failover import RESUMES_MAX
from penstock.serve.logline import log_line
from serve.continuing import NEXT, OTHER, PROMPT_IDS, TEXT_IDS, TOKENS, feed, wire
from serve.exchanges import DONE, END, SSE_HEAD, Call, answer, chunk, core, event, sent
from serve.gateways import config
from serve.streams import chat, heard, usage

GREEDY = {"temperature": 0, "max_tokens": 20}
SETTINGS = config()
FIRST = [chunk(e) for e in [*chat(["a", "b", "c"], created=1), usage(3), DONE]] + [END]


def lost(*, endpoints: int = 2, after: int = 3, **body: Any) -> Call:
    """A stream whose endpoint is lost when its client has `ab`."""
    asked = {"stream": True, **GREEDY, **body}
    return Call(core(endpoints, settings=SETTINGS), **asked).send().engine(SSE_HEAD, *FIRST[:after]).lose()


def diverged(**how: Any) -> Call:
    call = feed(lost(**how), *OTHER)
    assert call.exchange.phase == "resuming"
    return call


def test_a_replay_that_diverges_is_followed_by_a_continuation_at_the_same_endpoint() -> None:
    call = diverged(stream_options={"include_usage": True}).engine(TOKENS, *NEXT).settled()
    got = heard(call.client.body)
    assert (got[0, "content"], got[0, "finish"], got["done",], call.outcome) == ("ab-de", "length", 1, ("ok", ""))
    assert len(got["ids",]) == 1
    assert got["usage",] == {"prompt_tokens": 5, "completion_tokens": 4, "total_tokens": 9}
    assert (call.record.prompt_tokens, call.record.output_tokens) == (5, 4)
    assert (call.record.resumes, call.record.continued) == (1, 1)
    assert "continued=1" in log_line(call.record)
    lost_id, *others = call.tried
    assert len(set(others)) == 1
    assert lost_id not in others
    (_, first), (_, replay), (tokens_head, tokens), (head, last) = (sent(d) for d in call.dispatches)
    assert replay == first | {"return_token_ids": True}
    assert tokens_head[":line"] == "POST /tokenize HTTP/1.1"
    assert tokens == {"model": "chat", "prompt": "ab", "add_special_tokens": False}
    assert head[":line"] == "POST /v1/chat/completions HTTP/1.1"
    assert last["kv_transfer_params"] == {"prompt_token_ids": PROMPT_IDS + TEXT_IDS}
    assert (last["max_tokens"], last["messages"]) == (18, first["messages"])


def test_nothing_that_the_gateway_asked_for_besides_reaches_the_client() -> None:
    replayed = wire(["a", "b", "c"], PROMPT_IDS, 2, 3, 5)
    for call in (diverged().engine(TOKENS, *NEXT), lost().engine(*replayed)):
        call.settled()
        assert b"token_ids" not in call.client.body
        assert b"prompt_text" not in call.client.body
        assert b'"usage"' not in call.client.body


def test_a_stream_without_a_seed_goes_on_though_every_attempt_says_something_else() -> None:
    call = Call(core(2, settings=SETTINGS), stream=True, seed=None).send()
    call.exchange._admission.body = json.dumps({"model": "chat", "messages": [], "stream": True}).encode()
    call.engine(SSE_HEAD, *FIRST[:3]).lose()
    feed(call, *OTHER).engine(TOKENS, *NEXT).settled()
    assert heard(call.client.body)[0, "content"] == "ab-de"


def test_a_continuation_that_is_lost_is_continued_without_another_replay() -> None:
    call = diverged(endpoints=4).engine(TOKENS, *NEXT[:3]).lose()
    assert sent(call.dispatches[-1])[1]["prompt"] == "ab-d"
    more = answer(json.dumps({"tokens": [10, 11, 12]}).encode())
    call.engine(more, *wire(["!"], [*PROMPT_IDS, 10, 11, 12], 4, 1, 8)).settled()
    got = heard(call.client.body)
    assert (got[0, "content"], call.record.resumes, call.record.continued) == ("ab-d!", 2, 2)
    assert (call.record.prompt_tokens, call.record.output_tokens) == (5, 4)


@pytest.mark.parametrize(
    "harm",
    [
        lambda call: call.lose(),
        lambda call: call.engine(answer(b"{}", status="503 Busy")),
        lambda call: call.engine(TOKENS[:40]).lose(),
        lambda call: call.engine(TOKENS).lose(),
        lambda call: call.engine(TOKENS).engine(answer(b"{}", status="500 Oops")),
        lambda call: call.engine(TOKENS, *NEXT[:1]).lose(),
        lambda call: call.engine(TOKENS, *NEXT[:2]).lose("reset the connection"),
        lambda call: call.engine(b"SSH-2.0\r\n\r\n"),
        lambda call: call.late(1000.0),
    ],
)
def test_an_endpoint_that_fails_in_the_middle_of_a_continuation_is_left_for_another(harm: Any) -> None:
    call = diverged(endpoints=4)
    harm(call)
    assert not call.is_over
    assert sent(call.dispatches[-1])[0][":line"] == "POST /tokenize HTTP/1.1"
    assert call.dispatches[-1].endpoint.id != call.dispatches[-2].endpoint.id
    call.engine(TOKENS, *NEXT).settled()
    assert heard(call.client.body)[0, "content"] == "ab-de"


def test_an_idle_connection_that_was_closed_is_no_failure_of_a_continuation() -> None:
    call = diverged().lose(was_reused=True)
    assert call.dispatches[-1].is_fresh
    call.engine(TOKENS).lose(was_reused=True)
    call.engine(*NEXT).settled()
    assert heard(call.client.body)[0, "content"] == "ab-de"


@pytest.mark.parametrize(
    "body",
    [
        {"n": 2},
        {"logprobs": True},
        {"response_format": {"type": "json_schema", "json_schema": {}}},
        {"tools": [], "tool_choice": "required"},
        {"bad_words": ["x"]},
        {"return_token_ids": True},
    ],
)
def test_a_request_that_can_not_be_continued_ends_honestly_where_its_replay_diverges(body: dict[str, Any]) -> None:
    call = feed(lost(**body), *OTHER).settled()
    assert call.outcome == ("upstream_error", "replay_diverged")
    got = heard(call.client.body)
    assert (got[0, "content"], got["error",]) == ("ab", 1)
    if "return_token_ids" not in body:
        assert "return_token_ids" not in sent(call.dispatches[-1])[1]


@pytest.mark.parametrize(
    "after",
    [
        [answer(b'{"tokens":[]}')],
        [answer(b"nonsense")],
        [TOKENS, *wire(["-d"], PROMPT_IDS, 3, 2, 7)],  # an engine that does not know what it was given
        [TOKENS, SSE_HEAD, *FIRST[1:]],  # one that tells no tokens
        [TOKENS, *NEXT[:2], chunk(event(choices=[{"index": 0, "delta": {"reasoning": "hm"}}]))],
    ],
)
def test_what_is_no_continuation_is_not_heard(after: list[bytes]) -> None:
    call = feed(diverged().engine(after[0]), *after[1:]).settled()
    got = heard(call.client.body)
    assert (got[0, "content"], got["error",], call.record.reason) == ("ab", 1, "replay_diverged")


def test_an_engine_that_tells_no_tokens_of_the_prompt_is_not_asked_further() -> None:
    call = feed(lost(), SSE_HEAD, *(chunk(e) for e in chat(["a", "x"]))).settled()
    assert (call.record.reason, len(call.dispatches)) == ("replay_diverged", 2)


@pytest.mark.parametrize("status", ["400 Bad Request", "422 Unprocessable"])
def test_an_engine_that_refuses_to_tell_tokens_is_asked_for_a_plain_replay(status: str) -> None:
    call = lost().engine(answer(b'{"error":"extra fields not permitted"}', status=status))
    assert call.dispatches[-1].endpoint is call.dispatches[-2].endpoint
    assert "return_token_ids" not in sent(call.dispatches[-1])[1]
    call.engine(SSE_HEAD, *FIRST).settled()
    assert (heard(call.client.body)[0, "content"], call.outcome) == ("abc", ("ok", ""))


def test_engines_that_refuse_a_plain_replay_too_are_not_asked_for_ever() -> None:
    call, refused = lost(endpoints=3), answer(b"{}", status="400 Bad Request")
    for _ in range(30):
        if not call.is_over:
            call.engine(refused).pump(60.0)
    assert call.settled().outcome == ("upstream_error", "stream_interrupted")
    assert len(call.dispatches) < 12


def after_the_finish(finish: str, **body: Any) -> Call:
    """A drawn stream whose client has its text `abc` and the finish reason, and whose replay says something else."""
    events = [chunk(e) for e in chat(["a", "b", "c"], created=1, finish=finish)]
    asked = {"stream": True, "seed": 3, "max_tokens": 20, "stream_options": {"include_usage": True}, **body}
    call = Call(core(2, settings=SETTINGS), **asked).send().engine(SSE_HEAD, *events).lose()
    return feed(call, *OTHER)


def test_whose_limit_ended_its_text_is_told_its_usage_though_the_replay_says_something_else() -> None:
    call = after_the_finish("length", max_tokens=3).settled()
    got = heard(call.client.body)
    assert (got[0, "content"], got[0, "finish"], got["done",], call.outcome) == ("abc", "length", 1, ("ok", ""))
    assert got["usage",] == {"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8}


@pytest.mark.parametrize(("limit", "counted"), [(20, 3), (2, 2)])
def test_the_tokens_of_a_text_that_ended_by_itself_are_counted_and_the_one_that_ends_it(
    limit: int, counted: int
) -> None:
    call = after_the_finish("stop", max_tokens=limit)
    assert sent(call.dispatches[-1])[1] == {"model": "chat", "prompt": "abc", "add_special_tokens": False}
    got = heard(call.engine(TOKENS).settled().client.body)
    assert (got[0, "content"], got[0, "finish"], got["usages",], call.outcome) == ("abc", "stop", 1, ("ok", ""))
    assert got["usage",] == {"prompt_tokens": 5, "completion_tokens": counted, "total_tokens": 5 + counted}


@pytest.mark.parametrize("said", [answer(b'{"tokens":[]}'), answer(b"{}", status="404 Not Found")])
def test_a_usage_that_can_not_be_told_is_an_honest_error(said: bytes) -> None:
    call = after_the_finish("stop").engine(said)
    while not call.is_over:
        call.lose()
    assert call.settled().outcome[0] == "upstream_error"
    assert heard(call.client.body)["error",] == 1


@pytest.mark.parametrize("body", [{"n": 2}, {"logprobs": True}])
def test_usage_of_several_texts_or_of_each_token_is_not_counted(body: dict[str, Any]) -> None:
    assert after_the_finish("length", **body).settled().outcome == ("upstream_error", "replay_diverged")


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        ({}, "length"),
        ({"stop": "zab", "include_stop_str_in_output": True}, "length"),
        ({"stop": "ab", "include_stop_str_in_output": True}, "stop"),
        ({"stop_token_ids": TEXT_IDS[-1:]}, "stop"),
    ],
)
def test_a_text_that_may_have_one_token_is_whole_when_it_has_one(asked: dict[str, Any], reason: str) -> None:
    call = diverged(max_tokens=1, stream_options={"include_usage": True}, **asked).engine(TOKENS).settled()
    got = heard(call.client.body)
    assert (got[0, "content"], got[0, "finish"], got["done",], call.outcome) == ("ab", reason, 1, ("ok", ""))
    assert got["usage",] == {"prompt_tokens": 5, "completion_tokens": 1, "total_tokens": 6}


def test_a_stop_string_across_the_seam_ends_the_stream_with_an_error() -> None:
    call = feed(diverged(stop=["b-d"]).engine(TOKENS), *NEXT).settled()
    assert (heard(call.client.body)[0, "content"], call.record.reason) == ("ab", "replay_diverged")


def test_a_client_that_leaves_while_its_text_is_counted_is_cancelled() -> None:
    call = diverged()
    call.exchange.client_lost(call.tick())
    assert call.settled().outcome == ("cancelled", "client_disconnected")


def test_a_gateway_that_ends_meanwhile_says_so() -> None:
    call = diverged()
    call.take(call.exchange.shut_down(call.tick()))
    assert heard(call.settled().client.body)["error",] == 1


@settings(max_examples=150, deadline=None)
@given(
    cuts=st.lists(st.integers(0, 600), min_size=1, max_size=RESUMES_MAX + 1),
    size=st.sampled_from([1, 3, 50, 1 << 20]),
)
def test_however_often_it_is_cut_the_text_is_a_chain_of_what_was_asked_for(cuts: list[int], size: int) -> None:
    call = Call(core(5, settings=SETTINGS), stream=True, stream_options={"include_usage": True}, **GREEDY).send()
    last = ""
    for number in range(60):
        if call.is_over:
            break
        line, asked = sent(call.dispatches[-1])
        had = heard(call.client.body).get((0, "content"), "")
        if "/tokenize" in line[":line"]:
            assert asked["prompt"] == had
            data = answer(json.dumps({"tokens": list(had.encode())}).encode())
        elif "kv_transfer_params" in asked:
            ids = asked["kv_transfer_params"]["prompt_token_ids"]
            assert bytes(ids[len(PROMPT_IDS) :]).decode() == had
            assert asked["max_tokens"] == max(1, 20 - len(had))
            data = b"".join(wire([f"{number}", "+", "-"], ids, number, 3, len(ids)))
        else:
            data = b"".join(wire([f"<{number}", "b", "c"], PROMPT_IDS, number, 3, 5))
        cut = min(cuts.pop(0), len(data)) if cuts else len(data)
        last, dispatches = had, len(call.dispatches)
        feed(call, *(data[place : min(place + size, cut)] for place in range(0, cut, size)))
        assert heard(call.client.body).get((0, "content"), "").startswith(had)
        if cut < len(data) and not call.is_over and len(call.dispatches) == dispatches:
            call.lose("reset the connection").pump()
    got = heard(call.settled().client.body)
    assert call.record.resumes <= RESUMES_MAX
    if call.outcome == ("ok", ""):
        assert got["usage",]["prompt_tokens"] == len(PROMPT_IDS)
        assert got["usage",]["completion_tokens"] == call.record.output_tokens
        if call.record.continued:
            assert call.record.output_tokens == min(19, len(last)) + 3
    else:
        assert got["error",] == 1
