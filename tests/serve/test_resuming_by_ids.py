"""A stream that told its tokens goes on from them: one request, no token again, the very text that was cut."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.serve.failover import RESUMES_MAX
from serve.exchanges import DONE, END, SSE_HEAD, Call, answer, chunk, core, event, request, sent
from serve.gateways import config
from serve.speaker import PROMPT_IDS, Speaker, detokenized
from serve.streams import heard

SETTINGS = config()
GREEDY = {"temperature": 0, "max_tokens": 20, "stream_options": {"include_usage": True}}


def told(
    *said: tuple[str, list[int]], prompt: list[int] = PROMPT_IDS, finish: bool = True, channels: tuple[str, ...] = ()
) -> list[bytes]:
    """Reads of an engine that tells its tokens: an event for each text and the tokens that it came with. `channels`: of
    each text, if not all are content."""
    frame = {"id": "chatcmpl-t", "object": "chat.completion.chunk", "created": 1, "model": "chat"}
    role = [{"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}]
    events = [event(**frame, choices=role, prompt_token_ids=prompt, prompt_text=None)]
    for number, (text, ids) in enumerate(said, 1):
        reason = "length" if finish and number == len(said) else None
        name = channels[number - 1] if channels else "content"
        choice = {"index": 0, "delta": {name: text}, "logprobs": None, "finish_reason": reason, "token_ids": ids}
        events.append(event(**frame, choices=[choice]))
    if finish:
        counts = {"prompt_tokens": len(prompt), "completion_tokens": sum(len(ids) for _, ids in said)}
        events += [event(**frame, choices=[], usage=counts), DONE]
    return [SSE_HEAD, *map(chunk, events), *([END] if finish else [])]


def lost(*said: tuple[str, list[int]], endpoints: int = 2, path: str = "/v1/chat/completions", **body: Any) -> Call:
    """A stream that told this much, and whose endpoint is then lost."""
    call = Call(core(endpoints, settings=SETTINGS), request(path), stream=True, **{**GREEDY, **body}).send()
    return call.engine(*told(*said, finish=False)).lose()


def last(call: Call) -> tuple[str, dict[str, Any]]:
    """Path and body of what was asked last."""
    lines, asked = sent(call.dispatches[-1])
    return lines[":line"].split(" ")[1], asked


THOUGHT = chunk(event(choices=[{"index": 0, "delta": {"reasoning": "hm"}, "token_ids": [9]}]))
AB = (("a", [10]), ("b", [11]))


def test_it_is_one_request_that_begins_with_what_was_said() -> None:
    call = lost(*AB)
    path, asked = last(call)
    assert path == "/v1/chat/completions"
    assert asked["kv_transfer_params"] == {"prompt_token_ids": [*PROMPT_IDS, 10, 11]}
    assert asked["max_tokens"] == 18
    call.engine(*told(("c", [12]), ("d", [13]), prompt=[*PROMPT_IDS, 10, 11])).settled()
    got = heard(call.client.body)
    assert (got[0, "content"], got[0, "finish"], got["done",], len(got["ids",])) == ("abcd", "length", 1, 1)
    assert got["usage",]["prompt_tokens"] == len(PROMPT_IDS)
    assert got["usage",]["completion_tokens"] == 4
    assert (call.record.prompt_tokens, call.record.output_tokens) == (len(PROMPT_IDS), 4)
    assert (call.record.resumes, call.record.continued, len(call.dispatches)) == (1, 1, 2)


def test_the_tokens_of_the_prompt_never_reach_the_client() -> None:
    call = lost(*AB).engine(*told(("c", [12]), prompt=[*PROMPT_IDS, 10, 11])).settled()
    assert b"900" not in call.client.body
    assert all(json.loads(e[6:])["prompt_token_ids"] is None for e in call.client.events if b"prompt_token_ids" in e)


def test_the_tokens_of_a_long_prompt_may_come_in_many_reads() -> None:
    prompt = list(range(100_000, 400_000))
    head, first, *rest = told(*AB, prompt=prompt, finish=False)
    assert len(first) > 2 << 20
    call = Call(core(2, settings=SETTINGS), stream=True, **GREEDY).send().engine(head)
    for at in range(0, len(first), 65_536):
        call.engine(first[at : at + 65_536])
    call.engine(*rest).lose()
    assert last(call)[1]["kv_transfer_params"]["prompt_token_ids"] == [*prompt, 10, 11]
    assert len(call.client.body) < 2_000


def test_a_draw_of_the_gateways_own_goes_on_with_other_numbers() -> None:
    call = lost(*AB, temperature=0.7)
    (_, first), (_, asked) = (sent(d) for d in call.dispatches)
    assert asked["seed"] == first["seed"] + 2


def test_a_draw_that_the_client_chose_is_said_again() -> None:
    call = lost(*AB, temperature=0.7, seed=3)
    assert "return_token_ids" not in sent(call.dispatches[0])[1]
    assert "kv_transfer_params" not in last(call)[1]


def test_tokens_without_text_yet_are_said_again() -> None:
    call = lost(*AB, ("", [6]), ("", [7]))
    assert last(call)[1]["kv_transfer_params"]["prompt_token_ids"] == [*PROMPT_IDS, 10, 11]


def test_where_several_tokens_came_at_once_the_engine_is_asked_what_they_spell() -> None:
    call = lost(("a", [10]), ("bc", [11, 12]))
    assert last(call) == ("/detokenize", {"model": "chat", "tokens": [10, 11, 12]})
    call.engine(answer(b'{"prompt":"abc"}'))
    assert last(call)[1]["kv_transfer_params"]["prompt_token_ids"] == [*PROMPT_IDS, 10, 11, 12]


@pytest.mark.parametrize("spelled", ["abc\ufffd", "abcd", "x", ""])
def test_tokens_that_spell_more_than_the_client_has_are_left_for_one_fewer(spelled: str) -> None:
    call = lost(("a", [10]), ("bc", [11, 12])).engine(answer(json.dumps({"prompt": spelled}).encode()))
    assert last(call) == ("/detokenize", {"model": "chat", "tokens": [10, 11]})
    call.engine(answer(b'{"prompt":"ab"}'))
    assert last(call)[1]["kv_transfer_params"]["prompt_token_ids"] == [*PROMPT_IDS, 10, 11]
    call.engine(*told(("cd", [12, 13]), ("e", [14]), prompt=[*PROMPT_IDS, 10, 11])).settled()
    got = heard(call.client.body)
    assert (got[0, "content"], got["usage",]["completion_tokens"]) == ("abcde", 5)


def test_an_earlier_place_is_taken_where_the_last_tokens_end_nowhere() -> None:
    call = lost(("a", [10]), ("b", [11]), ("cdef", [12, 13, 14, 15]))
    for count in (6, 5, 4, 3):
        assert len(last(call)[1]["tokens"]) == count
        call.engine(answer(b'{"prompt":"x"}'))
    assert last(call)[1]["kv_transfer_params"]["prompt_token_ids"] == [*PROMPT_IDS, 10, 11]


def test_a_draw_does_not_go_back_behind_what_was_said() -> None:
    call = lost(("a", [10]), ("bc", [11, 12]), temperature=0.7)
    for spelled in ("abc\ufffd", "ab", "a"):
        call.engine(answer(json.dumps({"prompt": spelled}).encode()))
    assert "kv_transfer_params" not in last(call)[1]
    assert last(call)[0] == "/v1/chat/completions"


def test_an_engine_may_leave_out_the_blank_that_a_text_begins_with() -> None:
    call = lost((" a", [10]), ("bc", [11, 12])).engine(answer(b'{"prompt":"abc"}'))
    assert last(call)[1]["kv_transfer_params"]["prompt_token_ids"] == [*PROMPT_IDS, 10, 11, 12]


def test_behind_stop_strings_it_goes_back_to_where_the_text_was_sure() -> None:
    call = lost(("", [10]), ("a", [11]), ("b", [12]), ("c", [13]), ("d", [14]), stop=["xyz"])
    assert last(call) == ("/detokenize", {"model": "chat", "tokens": [10, 11, 12]})  # text is two characters behind
    call.engine(answer(b'{"prompt":"abcd"}'))
    assert last(call)[1]["max_tokens"] == 17
    call.engine(*told(("e", [13]), ("f", [14]), prompt=[*PROMPT_IDS, 10, 11, 12])).settled()
    assert heard(call.client.body)[0, "content"] == "abcdef"


@pytest.mark.parametrize("status", ["404 Not Found", "400 Bad Request", "501 Not Implemented"])
def test_an_engine_that_spells_nothing_is_asked_from_the_first_token(status: str) -> None:
    call = lost(("a", [10]), ("bc", [11, 12]), temperature=0).engine(answer(b"{}", status=status))
    for _ in range(5):
        if last(call)[0] == "/detokenize":
            call.engine(answer(b"{}", status=status))
    assert "kv_transfer_params" not in last(call)[1] or last(call)[1]["kv_transfer_params"]["prompt_token_ids"][3:] == [
        10
    ]


@pytest.mark.parametrize(
    "reads",
    [
        [answer(b"{}", status="400 Bad Request")],
        told(("c", [12]), prompt=[1, 2]),  # it began anew
        [SSE_HEAD, chunk(event(choices=[{"index": 0, "delta": {"content": "who are you"}}]))],  # it tells no tokens
        [*told(prompt=[*PROMPT_IDS, 10, 11], finish=False), THOUGHT],
    ],
)
def test_an_engine_that_does_not_go_on_from_tokens_is_asked_from_the_first(reads: list[bytes]) -> None:
    call = lost(*AB)
    asked = len(call.dispatches)
    for read in reads:
        if len(call.dispatches) == asked:
            call.engine(read)
    path, body = last(call)
    assert (path, body) == ("/v1/chat/completions", sent(call.dispatches[0])[1])
    assert call.dispatches[-1].endpoint is call.dispatches[-2].endpoint
    call.engine(*told(*AB, ("c", [12]))).settled()
    got = heard(call.client.body)
    assert (got[0, "content"], got["done",], call.outcome) == ("abc", 1, ("ok", ""))
    assert (call.record.resumes, call.record.continued) == (1, 0)


def test_after_that_it_may_still_go_on_from_its_text() -> None:
    call = lost(*AB).engine(answer(b"{}", status="400 Bad Request"))
    for read in told(("a", [10]), ("z", [20])):
        if last(call)[0] != "/tokenize":
            call.engine(read)
    assert last(call) == ("/tokenize", {"model": "chat", "prompt": "ab", "add_special_tokens": False})
    call.engine(answer(b'{"tokens":[30]}'), *told(("!", [12]), prompt=[*PROMPT_IDS, 30])).settled()
    assert heard(call.client.body)[0, "content"] == "ab!"
    assert call.record.continued == 1


def test_completions_begin_with_the_tokens_too() -> None:
    call = Call(core(2, settings=SETTINGS), request("/v1/completions"), stream=True, prompt="x", **GREEDY).send()
    first = {"index": 0, "text": "a", "finish_reason": None, "prompt_token_ids": PROMPT_IDS, "token_ids": [10]}
    frame = {"id": "cmpl-t", "object": "text_completion", "created": 1, "model": "chat"}
    call.engine(SSE_HEAD, chunk(event(**frame, choices=[first]))).lose()
    path, asked = last(call)
    assert (path, asked["prompt"], asked["max_tokens"]) == ("/v1/completions", [*PROMPT_IDS, 10], 19)
    assert b"900" not in call.client.body


def ending(call: Call) -> tuple[Any, ...]:
    """Text, finish reason, usage and how often each came that comes once."""
    call.settled()
    got = heard(call.client.body)
    assert (call.outcome, call.client.is_whole, len(got["ids",])) == (("ok", ""), True, 1)
    return got.get((0, "content"), got.get((0, "text"))), got[0, "finish"], got.get(("usage",)), got["done",]


USED = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}


@pytest.mark.parametrize("temperature", [0, 0.8])
@pytest.mark.parametrize(
    ("asked", "reason"), [({}, "length"), ({"stop_token_ids": [11]}, "stop"), ({"stop_token_ids": [10]}, "length")]
)
def test_an_answer_at_its_limit_is_not_made_longer_and_lacks_only_its_end(
    temperature: float, asked: dict[str, Any], reason: str
) -> None:
    call = lost(*AB, max_tokens=2, temperature=temperature, **asked)
    assert len(call.dispatches) == 1
    assert ending(call) == ("ab", reason, USED, 1)
    assert (call.record.prompt_tokens, call.record.output_tokens) == (3, 2)


@pytest.mark.parametrize("asked", [{"stop": ["bc"]}, {"tools": [{"type": "function"}]}])
def test_at_the_limit_the_last_of_the_text_may_be_held_back(asked: dict[str, Any]) -> None:
    call = lost(*AB, max_tokens=2, **asked)
    assert len(call.dispatches) == 2
    inside = lost(("a", [10]), ("", [11]), max_tokens=2)
    together = lost(("ab", [10, 11]), max_tokens=2)
    assert (len(inside.dispatches), len(together.dispatches)) == (2, 2)


@pytest.mark.parametrize("endpoints", [1, 2])
@pytest.mark.parametrize("wants_usage", [True, False])
def test_a_client_with_the_finish_reason_gets_its_usage_from_the_tokens_that_were_told(
    wants_usage: bool, endpoints: int
) -> None:
    gateway = core(endpoints, settings=SETTINGS)
    gateway.brings_endpoints = True
    call = Call(gateway, stream=True, temperature=0, max_tokens=9, stream_options={"include_usage": wants_usage}).send()
    call.engine(*told(*AB)[:4]).lose()
    assert len(call.dispatches) == 1
    assert ending(call) == ("ab", "length", USED if wants_usage else None, 1)
    assert (call.record.prompt_tokens, call.record.output_tokens) == (3, 2)


def test_completions_end_in_their_own_words() -> None:
    frame = {"id": "cmpl-t", "object": "text_completion", "created": 1, "model": "chat"}
    first = {"index": 0, "text": "ab", "finish_reason": "stop", "prompt_token_ids": PROMPT_IDS, "token_ids": [10, 2]}
    call = Call(core(2, settings=SETTINGS), request("/v1/completions"), stream=True, **GREEDY).send()
    call.engine(SSE_HEAD, chunk(event(**frame, choices=[first]))).lose()
    assert ending(call) == ("ab", "stop", USED, 1)
    assert call.client.events[-2].count(b"text_completion") == 1


def test_who_has_its_usage_too_gets_the_last_event_alone() -> None:
    call = Call(core(2, settings=SETTINGS), stream=True, **GREEDY).send().engine(*told(*AB)[:5]).lose()
    assert ending(call) == ("ab", "length", {"prompt_tokens": 3, "completion_tokens": 2}, 1)
    assert call.client.body.count(b'"usage"') == 1


def test_one_endpoint_alone_is_not_asked_for_tokens_unless_a_platform_brings_it_back() -> None:
    gateway = core(1, settings=SETTINGS)
    assert "return_token_ids" not in last(Call(gateway, stream=True, **GREEDY).send())[1]
    gateway.brings_endpoints = True
    assert last(Call(gateway, stream=True, **GREEDY).send())[1]["return_token_ids"] is True


def test_a_long_prompt_is_read_in_peace_though_the_head_of_the_answer_came_at_once() -> None:
    """vLLM sends the head before it has read the prompt; a silence then is no stall, as in a first attempt."""
    call = lost(*AB, endpoints=4).engine(SSE_HEAD)
    call.dispatches[-1].endpoint.itl_s = 0.02
    call.late(20.0)
    assert (len(call.dispatches), call.exchange.phase) == (2, "relaying")
    _, *rest = told(("c", [12]), prompt=[*PROMPT_IDS, 10, 11])
    call.engine(*rest).settled()
    assert heard(call.client.body)[0, "content"] == "abc"


def test_a_silence_after_its_first_word_is_a_stall_again() -> None:
    call = lost(*AB, endpoints=4).engine(*told(("c", [12]), prompt=[*PROMPT_IDS, 10, 11], finish=False))
    call.dispatches[-1].endpoint.itl_s = 0.02
    call.late(20.0)
    assert last(call)[1]["kv_transfer_params"]["prompt_token_ids"] == [*PROMPT_IDS, 10, 11, 12]


def thoughts(*said: tuple[str, str, list[int]], prompt: list[int] = PROMPT_IDS, finish: bool = True) -> list[bytes]:
    """The same of a model that thinks first: channel, text and tokens of each event."""
    channels = tuple(channel for channel, _, _ in said)
    return told(*((text, ids) for _, text, ids in said), prompt=prompt, finish=finish, channels=channels)


def lost_in_thought(*said: tuple[str, str, list[int]], endpoints: int = 2, **body: Any) -> Call:
    call = Call(core(endpoints, settings=SETTINGS), stream=True, **{**GREEDY, **body}).send()
    return call.engine(*thoughts(*said, finish=False)).lose()


@pytest.mark.parametrize("temperature", [0, 0.7])
def test_thoughts_go_on_from_their_tokens_and_end_in_the_text(temperature: float) -> None:
    call = lost_in_thought(("reasoning", "hm", [10]), ("reasoning", " so", [11]), temperature=temperature)
    assert last(call) == ("/detokenize", {"model": "chat", "tokens": [10, 11]})
    call.engine(answer(b'{"prompt":"<think>hm so"}'))
    begun = [*PROMPT_IDS, 10, 11]
    assert last(call)[1]["kv_transfer_params"]["prompt_token_ids"] == begun
    call.engine(*thoughts(("reasoning", ".", [12]), ("content", "Yes", [13, 14]), prompt=begun)).settled()
    got = heard(call.client.body)
    assert (got[0, "reasoning"], got[0, "content"], got["usage",]["completion_tokens"]) == ("hm so.", "Yes", 5)


def test_the_text_after_thoughts_goes_on_as_text() -> None:
    call = lost_in_thought(("reasoning", "hm", [10]), ("content", "Yes", [11, 12]), endpoints=4)
    call.engine(answer(b'{"prompt":"<think>hm</think>Yes"}'))
    begun = [*PROMPT_IDS, 10, 11, 12]
    call.engine(*thoughts(("content", ",", [13]), prompt=begun, finish=False)).lose()
    call.engine(answer(b'{"prompt":"<think>hm</think>Yes,"}'))
    call.engine(*thoughts(("content", " sir", [14]), prompt=[*begun, 13])).settled()
    got = heard(call.client.body)
    assert (got[0, "reasoning"], got[0, "content"], call.record.continued) == ("hm", "Yes, sir", 2)


@pytest.mark.parametrize("spelled", ["<think>hm</think>Yes ", "<think>hm</think>Ye", ""])
def test_text_after_thoughts_that_its_tokens_do_not_end_with_is_said_again(spelled: str) -> None:
    call = lost_in_thought(("reasoning", "hm", [10]), ("content", "Yes", [11]))
    for _ in range(5):
        if last(call)[0] == "/detokenize":
            call.engine(answer(json.dumps({"prompt": spelled}).encode()))
    assert last(call) == ("/v1/chat/completions", sent(call.dispatches[0])[1])


def test_an_engine_that_thinks_anew_after_the_text_began_is_asked_from_the_first_token() -> None:
    call = lost_in_thought(("reasoning", "hm", [10]), ("content", "Yes", [11])).engine(
        answer(b'{"prompt":"<think>hm</think>Yes"}')
    )
    for read in thoughts(("reasoning", "What", [12]), prompt=[*PROMPT_IDS, 10, 11]):
        if len(call.dispatches) == 3:
            call.engine(read)
    assert last(call) == ("/v1/chat/completions", sent(call.dispatches[0])[1])
    assert call.record.continued == 0


def test_with_tools_at_hand_the_engine_is_asked_what_the_tokens_spell() -> None:
    """Its parser may hold text back that could begin a call."""
    call = lost(*AB, tools=[{"type": "function", "function": {"name": "f"}}])
    assert last(call)[0] == "/detokenize"


@settings(max_examples=300, deadline=None)
@given(
    cuts=st.lists(st.integers(0, 2_000), min_size=1, max_size=RESUMES_MAX),
    size=st.sampled_from([1, 7, 150, 1 << 20]),
    seed=st.integers(0, 1 << 20),
    asked=st.fixed_dictionaries(
        {"max_tokens": st.integers(1, 40)},
        optional={
            "stop": st.sampled_from(["b", ["de", "ab"], ["c gh ", "€€"], ["zzzzzz"]]),
            "include_stop_str_in_output": st.booleans(),
            "min_tokens": st.just(1),
        },
    ),
    is_chat=st.booleans(),
)
def test_however_often_it_is_cut_the_text_is_that_of_the_uncut_run(
    cuts: list[int], size: int, seed: int, asked: dict[str, Any], is_chat: bool
) -> None:
    path = "/v1/chat/completions" if is_chat else "/v1/completions"
    body = {**GREEDY, **asked, **({} if is_chat else {"prompt": "x"})}
    call = Call(core(5, settings=SETTINGS), request(path), stream=True, **body).send()
    whole = Speaker(sent(call.dispatches[0])[1], seed, is_chat)
    key = (0, "content") if is_chat else (0, "text")
    for number in range(200):
        if call.is_over:
            break
        dispatches = len(call.dispatches)
        at, wanted = last(call)
        had = heard(call.client.body).get(key, "")
        said = Speaker(wanted, seed + number, is_chat)
        data = detokenized(wanted) if at == "/detokenize" else b"".join(said.wire(number + 1))
        cut = min(cuts.pop(0), len(data)) if cuts else len(data)
        for place in range(0, cut, size):
            if len(call.dispatches) == dispatches and not call.is_over:
                call.engine(data[place : min(place + size, cut)])
        assert heard(call.client.body).get(key, "").startswith(had)
        if cut < len(data) and not call.is_over and len(call.dispatches) == dispatches:
            call.lose("reset the connection").pump()
    got = heard(call.settled().client.body)
    assert whole.text.startswith(got.get(key, ""))
    if call.outcome == ("ok", ""):
        said = whole.answer()
        assert got.get(key, "") == whole.text
        assert got[0, "finish"] == said[-1][2]
        assert got["usage",]["prompt_tokens"] == len(PROMPT_IDS)
        assert got["usage",]["completion_tokens"] == sum(len(ids) for _, ids, _ in said) == call.record.output_tokens
    else:
        assert got["error",] == 1
        assert call.record.reason == "stream_interrupted" or not call.record.resumes  # never `replay_diverged`
