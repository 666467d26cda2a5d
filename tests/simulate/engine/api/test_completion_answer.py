"""The answer to a completion, whole and in chunks."""

from __future__ import annotations

import json
from typing import Any

from penstock.simulate.engine.api.completion_answer import (
    CompletionShape,
    CompletionStream,
    PromptView,
    text_completion,
)
from penstock.simulate.engine.api.encoding import DONE
from penstock.simulate.engine.api.envelope import Envelope, StreamUsage, Usage
from penstock.simulate.engine.api.errors import engine_dead
from penstock.simulate.engine.api.logprobs import score_prompt
from penstock.simulate.engine.api.sampling import Sampling
from penstock.simulate.engine.api.sequence import OutputSequence, Piece
from penstock.simulate.engine.core import TokenOutput
from penstock.simulate.engine.text import tokenizer

ENVELOPE = Envelope(id="cmpl-1", created=7, model="tiny", fingerprint="f")
PROMPT = tokenizer().encode("hello world")


def shape(**given: Any) -> CompletionShape:
    prompts = given.pop("prompts", [PromptView(ids=PROMPT, text="hello world")])
    return CompletionShape(prompts=prompts, **given)


def sequence(index: int, text: str, **given: Any) -> OutputSequence:
    made = OutputSequence(index, PROMPT, Sampling(**given), 0)
    made.push(TokenOutput("r", tuple(tokenizer().encode(text)), "length"))
    return made


def parsed(events: list[bytes]) -> list[Any]:
    return [json.loads(event[6:]) for event in events if event != DONE]


def choices_of(one: CompletionShape, *sequences: OutputSequence) -> list[Any]:
    found: list[Any] = json.loads(text_completion(ENVELOPE, one, sequences, Usage(2, 1)))["choices"]
    return found


def test_each_prompt_has_its_own_choices_in_order() -> None:
    prompts = [PromptView(ids=[1], text="one "), PromptView(ids=[2], text="two ")]
    one = shape(prompts=prompts, n=2, echo=True)

    choices = choices_of(one, *(sequence(index, "x") for index in range(4)))

    assert [choice["text"] for choice in choices] == ["one x", "one x", "two x", "two x"]


def test_echo_without_output_shows_the_prompt_alone() -> None:
    one = shape(echo=True, hides_output=True)

    (choice,) = choices_of(one, sequence(0, "hidden"))
    (chunk,) = parsed(CompletionStream(ENVELOPE, one, 1, Usage(2)).push(Piece(0, "hidden", (1,), "length")))

    assert choice["text"] == chunk["choices"][0]["text"] == "hello world"


def test_echo_with_logprobs_scores_prompt_and_output_together() -> None:
    scored = score_prompt(PROMPT, 1, 0)
    one = shape(prompts=[PromptView(ids=PROMPT, text="hello world", scored=scored)], echo=True, wants_logprobs=True)

    (choice,) = choices_of(one, sequence(0, " and", logprobs=1))
    logprobs = choice["logprobs"]

    assert "".join(logprobs["tokens"]) == "hello world and"
    assert logprobs["token_logprobs"][0] is None
    assert logprobs["text_offset"][0] == 0
    assert len({len(values) for values in logprobs.values()}) == 1


def test_prompt_ids_come_with_the_first_chunk_of_a_choice_only() -> None:
    writer = CompletionStream(ENVELOPE, shape(wants_token_ids=True), 1, Usage(2))

    chunks = parsed(writer.push(Piece(0, "a", (5,)))) + parsed(writer.push(Piece(0, "b", (6,), "stop")))

    assert [chunk["choices"][0]["prompt_token_ids"] for chunk in chunks] == [PROMPT, None]
    assert [chunk["choices"][0]["token_ids"] for chunk in chunks] == [[5], [6]]


def test_usage_and_done_end_a_stream() -> None:
    writer = CompletionStream(ENVELOPE, shape(usage=StreamUsage(at_end=True, continuous=True)), 1, Usage(2))

    (chunk,) = parsed(writer.push(Piece(0, "a", (5,), "length")))
    usage, done = writer.close()

    count = len(PROMPT)
    assert chunk["usage"] == {"prompt_tokens": count, "total_tokens": count + 1, "completion_tokens": 1}
    assert json.loads(usage[6:])["usage"]["completion_tokens"] == 1
    assert done == DONE


def test_without_usage_the_last_chunk_has_the_fingerprint() -> None:
    writer = CompletionStream(ENVELOPE, shape(), 1, Usage(2))

    (chunk,) = parsed(writer.push(Piece(0, "a", (5,), "length")))

    assert chunk["system_fingerprint"] == "f"
    assert writer.close() == [DONE]
    assert writer.fail(engine_dead())[-1] == DONE
