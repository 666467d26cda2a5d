"""Chats end to end."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from penstock.simulate.engine.text import tokenizer
from simulate.io.engine.running import RunningEngine, running_engine

USER = [{"role": "user", "content": "Tell me of the river"}]
PATH = "/v1/chat/completions"
TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {"type": "object", "properties": {"city": {"enum": ["Paris"]}}, "required": ["city"]},
    },
}


@pytest.fixture(scope="module")
def engine() -> Iterator[RunningEngine]:
    with running_engine(served_names=("tiny", "small")) as running:
        yield running


def ask(engine: RunningEngine, **fields: Any) -> Any:
    answer = engine.post(PATH, {"messages": USER, "max_tokens": 30, "ignore_eos": True} | fields)
    assert answer.status == 200, answer.body
    return answer


def text_of(answer: Any) -> str:
    content: str = answer.json["choices"][0]["message"]["content"]
    return content


def streamed(answer: Any) -> str:
    chunks = [event for event in answer.events if event != "[DONE]" and event["choices"]]
    return "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks)


def test_the_same_chat_has_the_same_answer_and_another_seed_another(engine: RunningEngine) -> None:
    first, again, other = ask(engine), ask(engine), ask(engine, seed=5)

    assert text_of(first) == text_of(again) != text_of(other)
    assert first.json["usage"]["completion_tokens"] == 30


def test_a_stream_says_what_the_whole_answer_says(engine: RunningEngine) -> None:
    assert streamed(ask(engine, stream=True)) == text_of(ask(engine))


def test_answers_carry_the_first_served_name(engine: RunningEngine) -> None:
    assert ask(engine, model="small").json["model"] == "tiny"
    assert engine.post(PATH, {"messages": USER, "model": "large"}).status == 404


@pytest.mark.parametrize("cut", [1, 7, 13, 29])
def test_a_chat_goes_on_from_its_token_ids_at_any_cut(engine: RunningEngine, cut: int) -> None:
    whole = ask(engine, return_token_ids=True, seed=3).json
    prompt, made = whole["prompt_token_ids"], whole["choices"][0]["token_ids"]

    rest = ask(
        engine,
        return_token_ids=True,
        seed=3,
        max_tokens=30 - cut,
        kv_transfer_params={"prompt_token_ids": prompt + made[:cut]},
    ).json

    assert rest["choices"][0]["token_ids"] == made[cut:]


def test_choices_differ_and_are_the_same_each_time(engine: RunningEngine) -> None:
    def texts() -> list[str]:
        choices = ask(engine, n=3, temperature=1.0, seed=1).json["choices"]
        return [choice["message"]["content"] for choice in choices]

    assert len(set(texts())) == 3
    assert texts() == texts()


def test_a_stop_string_ends_the_answer_and_the_engines_work(engine: RunningEngine) -> None:
    words = text_of(ask(engine)).split()
    stop = words[5]

    stopped = ask(engine, stop=[stop]).json["choices"][0]

    assert (stopped["finish_reason"], stopped["stop_reason"]) == ("stop", stop)
    assert stop not in stopped["message"]["content"]
    assert streamed(ask(engine, stop=[stop], stream=True)) == stopped["message"]["content"]
    assert engine.metrics()['vllm:num_requests_running{engine="0",model_name="tiny"}'] == 0


def test_a_stop_token_ends_the_answer(engine: RunningEngine) -> None:
    ids = ask(engine, return_token_ids=True).json["choices"][0]["token_ids"]

    choice = ask(engine, return_token_ids=True, stop_token_ids=[ids[4]]).json["choices"][0]

    assert choice["finish_reason"] == "stop"
    assert choice["stop_reason"] == ids[4]
    assert choice["token_ids"] == ids[: ids.index(ids[4]) + 1]


def test_a_chat_of_the_assistants_own_words_is_echoed(engine: RunningEngine) -> None:
    messages = [*USER, {"role": "assistant", "content": "The river"}]
    fields = {"messages": messages, "echo": True, "add_generation_prompt": False, "continue_final_message": True}

    assert text_of(ask(engine, **fields)).startswith("The river")
    assert streamed(ask(engine, **fields, stream=True)).startswith("The river")


def test_output_is_clamped_to_the_context(engine: RunningEngine) -> None:
    answer = ask(engine, max_tokens=1024)

    assert answer.json["usage"]["total_tokens"] == 1024
    assert answer.json["choices"][0]["finish_reason"] == "length"


def test_logprobs_are_one_for_each_token(engine: RunningEngine) -> None:
    choice = ask(engine, logprobs=True, top_logprobs=2, return_token_ids=True).json["choices"][0]

    entries = choice["logprobs"]["content"]
    assert len(entries) == len(choice["token_ids"])
    assert b"".join(bytes(entry["bytes"]) for entry in entries) == tokenizer().decode(choice["token_ids"]).encode()


def test_prompt_logprobs_cover_the_prompt(engine: RunningEngine) -> None:
    answer = ask(engine, prompt_logprobs=1).json

    assert len(answer["prompt_logprobs"]) == answer["usage"]["prompt_tokens"]


@pytest.mark.parametrize("is_stream", [False, True])
def test_a_required_tool_call_has_arguments_that_fit(engine: RunningEngine, is_stream: bool) -> None:
    answer = ask(engine, tools=[TOOL], tool_choice="required", stream=is_stream)

    if is_stream:
        deltas = [event["choices"][0]["delta"] for event in answer.events if event != "[DONE]"]
        calls = [delta["tool_calls"][0]["function"] for delta in deltas if "tool_calls" in delta]
        name, arguments = calls[0]["name"], "".join(call.get("arguments", "") for call in calls)
    else:
        (call,) = answer.json["choices"][0]["message"]["tool_calls"]
        name, arguments = call["function"]["name"], call["function"]["arguments"]
    assert (name, json.loads(arguments)) == ("get_weather", {"city": "Paris"})


def test_a_batch_answers_each_conversation(engine: RunningEngine) -> None:
    answer = engine.post(f"{PATH}/batch", {"messages": [USER, USER, USER], "max_tokens": 2, "temperature": 0})

    choices = answer.json["choices"]
    assert [choice["index"] for choice in choices] == [0, 1, 2]
    assert len({choice["message"]["content"] for choice in choices}) == 1
    assert engine.post(f"{PATH}/batch", {"messages": []}).status == 400


def test_the_clients_request_id_becomes_the_answers(engine: RunningEngine) -> None:
    body = {"messages": USER, "max_tokens": 1, "request_id": "mine"}

    assert engine.post(PATH, body).json["id"] == "chatcmpl-mine"
    assert engine.ask("POST", PATH, body, {"x-request-id": "theirs"}).json["id"] == "chatcmpl-theirs"
