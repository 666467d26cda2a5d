"""The proof that a continued text is one: it finds each kind of fault, and none where there is none."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bench.cuts import Heard, add, flaw, flaw_of_replay, questions
from bench.failover import Heard as Stream
from bench.failover import gap_figures
from bench.relay import Attempt

LIMIT = 10
PATH = "/v1/completions"


def decode(ids: list[int]) -> str:
    return "".join(map(chr, ids))


def attempt(
    asked: dict[str, Any], *texts: str, finish: str = "length", is_cut: bool = False, prompt: bytes = b""
) -> Attempt:
    """A request, and what was let through of its answer."""
    made = Attempt(PATH, is_cut=is_cut)
    made.request += b"POST x HTTP/1.1\r\n\r\n" + json.dumps(asked).encode()
    for text in texts:
        choice = {"index": 0, "text": text, "prompt_token_ids": [*prompt]}
        event = {"id": "a", "created": 1, "model": "m", "choices": [choice]}
        made.answer += b"data: " + json.dumps(event).encode() + b"\n\n"
    if not is_cut:
        usage = {"prompt_tokens": 4, "completion_tokens": len(texts), "total_tokens": 9}
        last = {
            "id": "a",
            "created": 1,
            "model": "m",
            "choices": [{"index": 0, "finish_reason": finish}],
            "usage": usage,
        }
        made.answer += b"data: " + json.dumps(last).encode() + b"\n\n"
    return made


def faulty(**changes: Any) -> str:
    usual = {"text": "abcd", "finish": "length", "tokens": 4, "ids": [*b"Qab"], "asked": 8}
    case = {**usual, **changes}
    heard = Heard("ok", text=case["text"], finish=case["finish"], usage={"completion_tokens": case["tokens"]})
    first = attempt({"max_tokens": LIMIT, "prompt": "Q"}, "a", "b", is_cut=True)
    replay = attempt({"max_tokens": LIMIT, "prompt": "Q"}, "x", prompt=b"Q")
    last = attempt({"max_tokens": case["asked"], "prompt": case["ids"]}, "c", "d")
    return flaw(heard, [first, replay, last], decode)


def test_one_text_has_no_flaw() -> None:
    assert faulty() == ""


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"text": "abccd"}, "follow"),  # said twice
        ({"text": "ababcd"}, "follow"),
        ({"text": "acd"}, "begin"),  # missing
        ({"text": "Qabcd"}, "begin"),  # the prompt leaks
        ({"text": "abc"}, "follow"),
        ({"ids": [*b"Qax"]}, "tokens"),
        ({"ids": [*b"Rab"]}, "tokens"),
        ({"ids": "Q"}, "end"),
        ({"finish": "stop"}, "finish"),
        ({"tokens": 5}, "usage"),
        ({"asked": 9}, "asked for"),
    ],
)
def test_each_fault_is_found(changes: dict[str, Any], words: str) -> None:
    assert any(word in faulty(**changes) for word in words.split("|"))


def test_an_answer_without_a_continuation_is_that_of_its_last_attempt() -> None:
    asked = {"max_tokens": LIMIT, "prompt": "Q"}
    usage = {"prompt_tokens": 4, "completion_tokens": 3, "total_tokens": 9}
    first, last = attempt(asked, "a", "b", is_cut=True), attempt(asked, "a", "b", "c")
    assert flaw_of_replay(Heard(text="abc", finish="length", usage=usage), [first, last]) == ""
    assert flaw_of_replay(Heard(text="abc", finish="length", usage=usage), [attempt(asked, "x"), last])
    assert flaw_of_replay(Heard(text="abcd", finish="length", usage=usage), [first, last])
    assert flaw_of_replay(Heard(text="abc", finish="stop", usage=usage), [first, last])


def test_a_response_whose_numbers_or_texts_do_not_fit_is_heard_so() -> None:
    heard = Heard()
    add(heard, {"type": "response.output_text.delta", "sequence_number": 0, "delta": "a"})
    add(heard, {"type": "response.output_text.delta", "sequence_number": 2, "delta": "b"})
    assert "number" in heard.finish


def test_every_setting_is_asked_of_both_apis_with_every_prompt() -> None:
    asked = questions(3)
    assert len({(q.name, q.path) for q in asked}) * 3 == len(asked)
    assert {q.path.rpartition("/")[2] for q in asked} == {"completions", "responses", "messages"}


def test_gaps_are_those_of_streams_that_were_resumed() -> None:
    heard = [Stream(f"s{n}", "ok", ttft_s=0.1, gap_s=0.02, events_before_gap=3, itl_s=0.01) for n in range(99)]
    heard.append(Stream("r", "ok", ttft_s=5.0, gap_s=0.9, events_before_gap=50, itl_s=0.01))
    heard.append(Stream("t", "ok", ttft_s=5.0, gap_s=0.06, events_before_gap=50, itl_s=0.01))
    figures = gap_figures(heard, {"r": (1, 0), "s3": (0, 0), "t": (2, 1)}, 2.0)
    assert (figures["bar_s"], figures["ttft_p99_s"]) == (4.2, 0.1)
    assert (figures["gap_of_replay_p99_s"], figures["gap_less_replay_p99_s"]) == (0.9, 0.4)
    assert (figures["gap_from_tokens_p99_s"], figures["continued"], figures["replayed"]) == (0.06, 1, 1)
