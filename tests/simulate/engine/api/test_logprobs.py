"""Log probabilities in the API's shapes."""

from __future__ import annotations

from penstock.simulate.engine.api.logprobs import CompletionLogprobs, chat_logprobs, prompt_logprobs, score_prompt
from penstock.simulate.engine.api.sequence import TokenLogprob
from penstock.simulate.engine.text import tokenizer


def test_a_chat_shows_text_bytes_and_alternatives() -> None:
    (entry,) = chat_logprobs([TokenLogprob(ord("a"), -0.5, ((ord("a"), -0.5), (ord("b"), -1.5)))])["content"]

    assert entry == {
        "token": "a",
        "logprob": -0.5,
        "bytes": [97],
        "top_logprobs": [
            {"token": "a", "logprob": -0.5, "bytes": [97]},
            {"token": "b", "logprob": -1.5, "bytes": [98]},
        ],
    }


def test_a_special_token_has_no_text_in_a_chat() -> None:
    (entry,) = chat_logprobs([TokenLogprob(tokenizer().eos_id, -0.5, ())])["content"]

    assert (entry["token"], entry["bytes"]) == ("", [])


def test_text_offsets_of_a_completion_run_on_from_chunk_to_chunk() -> None:
    shown = CompletionLogprobs()
    ids = tokenizer().encode("hello world")

    first = shown.record([TokenLogprob(i, -1.0, ()) for i in ids], ids)
    second = shown.record([TokenLogprob(33, -1.0, ())], [33])

    assert first["text_offset"][0] == 0
    assert second["text_offset"] == [len("hello world")]


def test_the_first_token_of_a_prompt_has_no_probability() -> None:
    ids = tokenizer().encode("hello world again")
    scored = score_prompt(ids, 2, seed=0)
    shown = prompt_logprobs(scored)

    assert scored[0] is None
    assert shown[0] is None
    for token_id, entry in zip(ids[1:], shown[1:], strict=True):
        assert entry is not None
        assert next(iter(entry)) == str(token_id)
        assert all(part["logprob"] < 0 and part["rank"] >= 1 for part in entry.values())


def test_a_token_that_only_the_real_model_has_is_scored_without_text() -> None:
    shown = prompt_logprobs(score_prompt([5, 99_999, 6], 1, seed=0))

    assert shown[1] is not None
    assert shown[1]["99999"]["decoded_token"] == ""
