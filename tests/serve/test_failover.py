"""The table of cases: each row as it is chosen, and the documentation drawn from it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from penstock.serve.failover import (
    CASES,
    CONTINUATIONS,
    RESUMES_MAX,
    STUCK_MAX,
    Case,
    Loss,
    choose,
    choose_after,
    is_all_but_done,
    needs_seed,
    wants_ids,
)
from penstock.serve.wire.requests import ApiRequest, read_json
from penstock.serve.wire.routes import ROUTES
from serve.exchanges import DONE, END, SSE_HEAD, Call, answer, chunk, core, event, request, sent
from serve.streams import chat, heard

DOCS = Path(__file__).resolve().parents[2] / "docs" / "failover.md"
EVENTS = [chunk(e) for e in [*chat(["a", "b", "c"]), DONE]] + [END]

ROWS: dict[str, dict[str, Any]] = {
    "answer_begun": {"is_stream": False},
    "all_said": {"is_all_said": True, "resumes": RESUMES_MAX},
    "too_often": {"resumes": RESUMES_MAX},
    "stuck": {"stuck": STUCK_MAX},
    "unreadable": {"is_readable": False},
    "no_text_yet": {"has_text": False, "path": "/v1/audio/speech"},
    "other_stream": {"path": "/v1/audio/speech"},
    "bound_to_engine": {"request": {"temperature": 0, "kv_transfer_params": {"remote_block_ids": [1]}}},
    "tokens_known": {"request": {"temperature": 0, "seed": 7}, "has_ids": True},
    "greedy": {"request": {"temperature": 0}, "path": "/v1/messages"},
    "seeded": {"request": {"temperature": 1, "seed": 7}},
    "continued": {"request": {"seed": 7}, "is_continued": True},
    "not_again": {"request": {"seed": 7}, "is_continued": True, "is_plain_text": False},
    "unseeded": {"request": {}},
    "unrepeatable": {"request": {}, "path": "/v1/messages"},
}
PICTURE = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:,"}}]}]
ROWS_AFTER: dict[str, list[dict[str, Any]]] = {
    "other_api": [{"path": "/v1/messages"}, {"path": "/v1/responses"}, {"is_outside": True}],
    "several_choices": [
        {"request": asked} for asked in ({"n": 2}, {"best_of": 3}, {"prompt": ["a", "b"]}, {"use_beam_search": True})
    ],
    "grammar": [
        {"request": asked}
        for asked in (
            {"response_format": {"type": "json_schema"}},
            {"structured_outputs": {"choice": ["a"]}},
            {"guided_regex": "a+"},
            {"tool_choice": "required"},
            {"tool_choice": {"type": "function", "function": {"name": "f"}}},
        )
    ],
    "not_plain_text": [{"is_plain_text": False}, {"has_finish": True}],
    "each_token": [
        {"request": asked}
        for asked in (
            {"logprobs": True},
            {"logprobs": 0},
            {"prompt_logprobs": 0},
            {"echo": True},
            {"return_token_ids": 1},
        )
    ],
    "hidden": [{"request": {"include_reasoning": False}}],
    "media": [{"request": {"messages": PICTURE}}],
    "counted": [{"request": {"bad_words": ["x"]}}],
    "text": [
        {"request": asked}
        for asked in (
            {},
            {"n": 1, "echo": False, "logprobs": None, "bad_words": [], "response_format": {"type": "text"}},
            {"tools": [{"type": "function"}], "tool_choice": "auto"},
            {"prompt": [1, 2, 3], "stop": ["x"], "frequency_penalty": 1, "min_tokens": 3},
            {"messages": [{"role": "user", "content": [{"type": "text", "text": "x"}]}]},
        )
    ],
}


def loss(**changes: Any) -> Loss:
    usual: dict[str, Any] = {"path": "/v1/chat/completions", "request": {"seed": 1}, "is_stream": True}
    state = {"has_text": True, "is_readable": True, "resumes": 0, "stuck": 0}
    return Loss(**{**usual, **state, **changes})


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_each_row_is_taken_where_it_says(case: Any) -> None:
    assert choose(loss(**ROWS[case.name])) is case


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"request": {"seed": 7}}, "seeded"),
        ({"request": {"seed": 7}, "has_own_seed": True}, "tokens_known"),
        ({"request": {"seed": 7}, "is_continued": True}, "tokens_known"),
        ({"request": {}}, "tokens_known"),
        ({"request": {"temperature": 0, "tool_choice": "required"}}, "greedy"),
        ({"request": {"temperature": 0}, "is_plain_text": False}, "tokens_known"),
        ({"request": {"temperature": 0}, "is_plain_text": False, "is_spoken": False}, "greedy"),
        ({"request": {"temperature": 0}, "has_finish": True}, "greedy"),
        ({"request": {"temperature": 0}, "has_finish": True, "is_continued": True}, "greedy"),
        ({"request": {"temperature": 0}, "has_text": False}, "no_text_yet"),
    ],
)
def test_known_tokens_serve_whoever_did_not_choose_the_draw_where_the_second_table_allows_it(
    changes: dict[str, Any], name: str
) -> None:
    assert choose(loss(has_ids=True, **changes)).name == name


@pytest.mark.parametrize(("name", "changes"), [(name, c) for name, rows in ROWS_AFTER.items() for c in rows])
def test_each_row_of_continuations_is_taken_where_it_says(name: str, changes: dict[str, Any]) -> None:
    assert choose_after(loss(**changes)).name == name


def test_each_row_of_continuations_has_its_test() -> None:
    assert [case.name for case in CONTINUATIONS] == list(ROWS_AFTER)


@pytest.mark.parametrize(
    "extra",
    [
        {"n": 2, "seed": 3},
        {"tools": [{"type": "function"}]},
        {"response_format": {"type": "json_object"}},
        {"structured_outputs": {"choice": ["a"]}},
        {"logprobs": True},
        {"frequency_penalty": 1, "presence_penalty": 1, "repetition_penalty": 1.1},
        {"stop": ["x"], "min_tokens": 3, "ignore_eos": True},
        {"logit_bias": {"1": 2}},
        {"kv_transfer_params": {"prompt_token_ids": [1]}},
        {"echo": True},
    ],
)
def test_whatever_else_a_request_asks_for_a_replay_carries_it(extra: dict[str, Any]) -> None:
    assert choose(loss(request={"temperature": 0, **extra})).course == "replay"
    assert choose(loss(request={"seed": 1, **extra})).course == "replay"


def drawn(cases: tuple[Case, ...]) -> str:
    lines = ["| case | when | what is done | why |", "| --- | --- | --- | --- |"]
    lines += [f"| `{c.name}` | {c.when} | **{c.course}** | {c.why} |" for c in cases]
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize(("mark", "cases"), [("cases", CASES), ("continuations", CONTINUATIONS)])
def test_the_documentation_is_drawn_from_the_tables(mark: str, cases: tuple[Case, ...]) -> None:
    begin, stop = f"<!-- {mark}:begin -->\n", f"<!-- {mark}:end -->"
    text = DOCS.read_text()
    before, _, rest = text.partition(begin)
    shown, _, after = rest.partition(stop)
    if os.environ.get("PENSTOCK_REGENERATE"):
        DOCS.write_text(before + begin + drawn(cases) + stop + after)
    assert shown == drawn(cases), "run with PENSTOCK_REGENERATE=1, and look at the difference"


class TestAskingForTokens:
    @pytest.mark.parametrize(
        ("path", "body", "expected"),
        [
            ("/v1/chat/completions", {"stream": True}, True),
            ("/v1/chat/completions", {}, False),
            ("/v1/chat/completions", {"stream": True, "temperature": 0, "seed": 1}, True),
            ("/v1/chat/completions", {"stream": True, "seed": 1}, False),
            ("/v1/chat/completions", {"stream": True, "n": 2}, False),
            ("/v1/chat/completions", {"stream": True, "return_token_ids": True}, False),
            ("/v1/chat/completions", {"stream": True, "response_format": {"type": "json_object"}}, False),
            ("/v1/chat/completions", {"stream": True, "messages": PICTURE}, False),
            ("/v1/completions", {"stream": True, "prompt": "x"}, True),
            ("/v1/completions", {"stream": True, "prompt": ["x", "y"]}, False),
            ("/v1/messages", {"stream": True, "max_tokens": 5}, False),
            ("/v1/responses", {"stream": True, "input": "x"}, False),
        ],
    )
    def test_a_stream_is_asked_to_tell_them_if_it_could_go_on_from_them(
        self, path: str, body: dict[str, Any], expected: bool
    ) -> None:
        given = {"model": "chat", "messages": [{"role": "user", "content": "hi"}], **body}
        route = ROUTES[path]
        read = read_json(route, json.dumps(given).encode())
        assert not hasattr(read, "status")
        assert wants_ids(route, read) is expected  # type: ignore[arg-type]

    @pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions"])
    @pytest.mark.parametrize(
        "asked", [row["request"] for rows in ROWS_AFTER.values() for row in rows if "request" in row]
    )
    def test_what_is_asked_of_an_engine_is_what_the_table_says_later(self, path: str, asked: dict[str, Any]) -> None:
        body = ApiRequest("chat", is_stream=True, fields={"model": "chat", "stream": True, **asked})
        assert wants_ids(ROUTES[path], body) is (choose_after(loss(path=path, request=asked)).course == "continue")


class TestSeeds:
    @pytest.mark.parametrize(
        ("body", "expected"),
        [
            ({"stream": True}, True),
            ({"stream": True, "temperature": 0.7}, True),
            ({"stream": True, "seed": None}, True),
            ({"stream": True, "temperature": 0}, False),
            ({"stream": True, "seed": 3}, False),
            ({}, False),
        ],
    )
    def test_only_a_sampled_stream_without_a_seed_needs_one(self, body: dict[str, Any], expected: bool) -> None:
        route = ROUTES["/v1/chat/completions"]
        full = {"model": "m", "messages": [{"role": "user", "content": "x"}], **body}
        read = read_json(route, json.dumps(full).encode())
        assert needs_seed(route, read) is expected  # type: ignore[arg-type]
        told = sent(Call(core(2), **body).send().dispatches[0])[1]
        assert type(told.get("seed")) is (int if expected or body.get("seed") else type(None))

    def test_with_one_endpoint_nothing_is_added(self) -> None:
        assert "seed" not in sent(Call(core(1), stream=True).send().dispatches[0])[1]

    def test_every_attempt_gets_the_same_seed_and_every_request_another(self) -> None:
        gateway = core(3)
        one, two = Call(gateway, stream=True).send().lose().lose(), Call(gateway, stream=True).send()
        seeds = [sent(d)[1]["seed"] for d in one.dispatches]
        assert len(set(seeds)) == 1
        assert sent(two.dispatches[0])[1]["seed"] != seeds[0]


@pytest.mark.parametrize(
    "changes",
    [{"wants_usage": True}, {"request": {"n": 2, "seed": 1}}, {"path": "/v1/messages"}, {"has_finish": False}, {}],
)
def test_only_the_end_of_one_choice_without_usage_leaves_nothing_but_the_last_event(changes: dict[str, Any]) -> None:
    assert is_all_but_done(loss(**{"has_finish": True, "wants_usage": False, **changes})) is not bool(changes)


class TestLosses:
    @pytest.mark.parametrize(("endpoints", "replays"), [(1, 0), (2, 1)])
    def test_a_stream_that_has_its_finish_reason_ends_in_order_whatever_fails(
        self, endpoints: int, replays: int
    ) -> None:
        call = Call(core(endpoints), stream=True, tools=[]).send().engine(SSE_HEAD, *EVENTS[:-2]).lose()
        other = [chunk(e) for e in chat(["a", "x"])]
        for read in [SSE_HEAD, *other] if replays else []:
            if not call.is_over:
                call.engine(read)
        got = heard(call.settled().client.body)
        assert (got[0, "content"], got[0, "finish"], got["done",], call.outcome) == ("abc", "length", 1, ("ok", ""))
        assert call.client.is_whole
        assert len(call.dispatches) == 1 + replays

    def test_its_engine_may_say_before_that_it_dies(self) -> None:
        died = event(error={"message": "EngineCore encountered an issue.", "type": "InternalServerError", "code": 500})
        call = Call(core(1), stream=True).send().engine(SSE_HEAD, *EVENTS[:-2], chunk(died), chunk(DONE), END)
        got = heard(call.settled().client.body)
        assert (got[0, "content"], got["done",], call.outcome) == ("abc", 1, ("ok", ""))
        assert ("error",) not in got

    def test_one_whose_client_waits_for_usage_does_not(self) -> None:
        options = {"stream_options": {"include_usage": True}}
        call = Call(core(1), stream=True, **options).send().engine(SSE_HEAD, *EVENTS[:-2]).lose().settled()
        assert call.outcome == ("upstream_error", "stream_interrupted")

    @pytest.mark.parametrize(
        "last",
        [
            event(error={"message": "EngineCore encountered an issue.", "type": "InternalServerError", "code": 500}),
            event(id="x", choices=[{"index": 0, "delta": {"content": ""}, "finish_reason": "abort"}]),
        ],
    )
    def test_an_engine_that_gives_up_is_left_for_another(self, last: bytes) -> None:
        call = Call(core(2), stream=True).send().engine(SSE_HEAD, *EVENTS[:3], chunk(last) + chunk(DONE) + END)
        assert call.exchange.phase == "resuming"
        call.engine(SSE_HEAD, *EVENTS).settled()
        got = heard(call.client.body)
        assert (got[0, "content"], got[0, "finish"], got["done",], call.outcome) == ("abc", "length", 1, ("ok", ""))
        assert ("error",) not in got
        assert call.record.resumes == 1

    def test_a_stream_that_ends_in_order_without_its_last_event_goes_on(self) -> None:
        call = Call(core(2), stream=True).send().engine(SSE_HEAD, *EVENTS[:3], END).engine(SSE_HEAD, *EVENTS).settled()
        assert heard(call.client.body)[0, "content"] == "abc"

    def test_a_request_that_kills_every_engine_at_the_same_token_kills_three(self) -> None:
        call = Call(core(10), stream=True).send()
        while not call.is_over:
            call.engine(SSE_HEAD, *EVENTS[:3]).lose()
        assert len(set(call.tried)) == STUCK_MAX + 1

    def test_a_stream_whose_replays_are_lost_before_they_caught_up_is_not_stuck(self) -> None:
        call = Call(core(5), stream=True).send().engine(SSE_HEAD, *EVENTS[:3])
        for _ in range(STUCK_MAX + 1):  # engines die here and there, each in the middle of what the client has
            call.lose("reset the connection").engine(SSE_HEAD, *EVENTS[:2])
        assert not call.is_over
        call.lose("reset the connection").engine(SSE_HEAD, *EVENTS).settled()
        assert heard(call.client.body)[0, "content"] == "abc"

    def test_endpoints_that_fail_while_a_stream_resumes_are_passed_by(self) -> None:
        call = Call(core(4), stream=True).send().engine(SSE_HEAD, *EVENTS[:3]).lose().lose("refused the connection")
        call.engine(answer(b"{}", status="503 Busy")).settled()
        assert len(set(call.tried)) == 3
        assert call.outcome == ("upstream_error", "stream_interrupted")

    def test_a_used_connection_that_was_closed_is_no_failure_while_a_stream_resumes(self) -> None:
        call = Call(core(2), stream=True).send().engine(SSE_HEAD, *EVENTS[:3]).lose().lose(was_reused=True)
        assert call.dispatches[-1].is_fresh
        call.engine(SSE_HEAD, *EVENTS).settled()
        assert heard(call.client.body)[0, "content"] == "abc"

    def test_a_client_that_leaves_while_its_stream_resumes_is_cancelled(self) -> None:
        call = Call(core(2), stream=True).send().engine(SSE_HEAD, *EVENTS[:3]).lose()
        call.client.take(call.exchange.probe())
        call.exchange.client_lost(call.tick())
        assert call.settled().outcome == ("cancelled", "client_disconnected")

    def test_an_old_client_gets_a_resumed_stream_without_chunks(self) -> None:
        call = Call(core(2), request(is_http_1_0=True, is_keep_alive=False), stream=True).send()
        call.engine(SSE_HEAD, *EVENTS[:3]).lose().engine(SSE_HEAD, *EVENTS).settled()
        assert heard(call.client.raw.partition(b"\r\n\r\n")[2])[0, "content"] == "abc"

    def test_a_plain_answer_that_breaks_off_is_asked_for_again(self) -> None:
        whole = answer()
        call = Call(core(2)).send().engine(whole[:-5]).lose()
        assert call.client.raw == b""
        call.engine(whole).settled()
        assert (call.client.status, call.outcome, call.record.retries) == (200, ("ok", ""), 1)

    @pytest.mark.parametrize(
        "words", ["EngineCore encountered an issue.", "cannot schedule new futures after shutdown"]
    )
    def test_a_500_of_a_dying_engine_is_asked_for_again(self, words: str) -> None:
        died = answer(json.dumps({"error": {"message": words}}).encode(), status="500 Oops")
        call = Call(core(2)).send().engine(died).engine(answer()).settled()
        assert (call.client.status, call.record.retries) == (200, 1)


def test_anthropics_stream_is_resumed_where_it_is_greedy() -> None:
    def say(kind: str, **fields: Any) -> bytes:
        return chunk(b"event: %b\n%b" % (kind.encode(), event(type=kind, **fields)))

    wire = [
        say("message_start", message={"id": "m", "usage": {"input_tokens": 3}}),
        say("content_block_start", index=0, content_block={"type": "text", "text": ""}),
        *(say("content_block_delta", index=0, delta={"type": "text_delta", "text": t}) for t in "abc"),
        say("content_block_stop", index=0),
        say("message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 3}),
        say("message_stop"),
    ]
    whole = Call(core(2), request("/v1/messages"), stream=True, temperature=0).send().engine(SSE_HEAD, *wire, END)
    for cut in range(len(wire)):
        call = Call(core(2), request("/v1/messages"), stream=True, temperature=0).send()
        call.engine(SSE_HEAD, *wire[:cut]).lose().engine(SSE_HEAD, *wire, END).settled()
        assert call.client.body == whole.client.body
        assert (call.outcome, call.record.output_tokens) == (("ok", ""), 3)
