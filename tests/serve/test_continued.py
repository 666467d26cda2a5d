"""What is asked of an engine that goes on from a client's text, and what of its answer reaches the client."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.serve.continued import Continued, continued_fields, stops_of, text_key, tokens_said
from penstock.serve.delivered import Delivered, DivergedError
from serve.exchanges import DONE, chunk, event
from serve.streams import chat, heard, usage

CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"
PROMPT, TEXT = (1, 2), (7, 8, 7)


def has(*events: bytes) -> Delivered:
    got = Delivered([chunk(e) for e in events], is_chunked=True)
    got.settle()
    return got


def fields(path: str = CHAT, **asked: Any) -> dict[str, Any]:
    made = continued_fields(path, {"model": "m", **asked}, PROMPT, TEXT)
    assert made is not None
    return made


class TestRequests:
    def test_chat_and_completions_begin_with_the_tokens_of_prompt_and_text(self) -> None:
        assert fields()["kv_transfer_params"] == {"prompt_token_ids": [1, 2, 7, 8, 7]}
        assert fields(COMPLETIONS, prompt="x", max_tokens=9)["prompt"] == [1, 2, 7, 8, 7]
        assert fields()["return_token_ids"] is True

    def test_limits_are_less_by_what_was_said(self) -> None:
        made = fields(max_tokens=10, max_completion_tokens=9, min_tokens=5)
        assert (made["max_tokens"], made["max_completion_tokens"], made["min_tokens"]) == (7, 6, 2)
        assert fields(min_tokens=2)["min_tokens"] == 0
        assert "max_tokens" not in fields()

    def test_completions_have_sixteen_tokens_unless_they_say(self) -> None:
        assert fields(COMPLETIONS)["max_tokens"] == 13

    @pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
    def test_a_text_that_is_cut_into_too_many_tokens_counts_as_one_below_the_limit(self, name: str) -> None:
        assert tokens_said(CHAT, {name: 3}, TEXT) == 2
        assert fields(**{name: 3})[name] == 1
        assert continued_fields(CHAT, {name: 1}, PROMPT, TEXT) is None

    def test_penalties_on_what_was_said_become_a_bias(self) -> None:
        made = fields(frequency_penalty=0.5, presence_penalty=1, logit_bias={"8": 4, "9": 2})
        assert made["logit_bias"] == {"7": -2.0, "8": 2.5, "9": 2}  # 7 was said twice: 2 * 0.5 + 1
        assert made["frequency_penalty"] == 0.5
        assert "logit_bias" not in fields()

    @given(st.floats(-2, 2), st.integers(1, 1000), st.floats(-100, 100))
    def test_no_bias_is_over_a_hundred(self, penalty: float, count: int, given_bias: float) -> None:
        made = continued_fields(
            CHAT, {"frequency_penalty": penalty, "logit_bias": {"5": given_bias}}, (1,), (5,) * count
        )
        assert made is not None
        assert -100 <= made["logit_bias"]["5"] <= 100

    def test_a_seed_draws_other_numbers_than_for_the_first_tokens(self) -> None:
        assert fields(seed=4)["seed"] == 7
        assert fields(seed=(1 << 63) - 1)["seed"] < 1 << 31

    def test_a_prompt_that_was_truncated_is_not_truncated_again(self) -> None:
        assert "truncate_prompt_tokens" not in fields(COMPLETIONS, truncate_prompt_tokens=2)


@pytest.mark.parametrize(
    ("delta", "key"),
    [
        ({"content": "a"}, (0, "content")),
        ({"content": "a", "reasoning": "b"}, None),
        ({"reasoning": "b"}, None),
        ({"tool_calls": [{"index": 0, "function": {"arguments": "{"}}]}, None),
        ({"content": ""}, None),
    ],
)
def test_only_text_of_one_channel_goes_on(delta: dict[str, Any], key: object) -> None:
    assert text_key(has(event(choices=[{"index": 0, "delta": delta}]))) == key


def test_a_second_choice_or_log_probabilities_do_not_go_on() -> None:
    assert text_key(has(event(choices=[{"index": 1, "delta": {"content": "a"}}]))) is None
    assert text_key(has(event(choices=[{"index": 0, "text": "a", "logprobs": {"tokens": ["a"]}}]))) is None


def test_stop_strings_are_one_or_a_list() -> None:
    assert (stops_of({"stop": "x"}), stops_of({"stop": ["a", "", "b"]}), stops_of({})) == (("x",), ("a", "b"), ())


class TestAnswers:
    @staticmethod
    def begun(text: str, *stops: str) -> Continued:
        return Continued(has(*chat([text])[:2]), PROMPT, TEXT, said=3, stops=stops)

    @staticmethod
    def said(*texts: str, ids: tuple[int, ...] = PROMPT + TEXT) -> bytes:
        first, *others = chat(list(texts), created=9)
        first = first.replace(
            b"}]}\n\n", b'}],"prompt_token_ids":%b,"prompt_text":null}\n\n' % json.dumps(ids).encode()
        )
        others = [e.replace(b'"finish_reason":null', b'"finish_reason":null,"token_ids":[4]') for e in others]
        return b"".join([first, *others])

    def test_it_comes_under_the_first_identity_without_what_the_gateway_asked_for(self) -> None:
        out = self.begun("ab").feed(self.said("cd", "e") + usage(2, 9) + DONE)
        got = heard(out)
        assert (got[0, "content"], got[0, "finish"], got["done",]) == ("cde", "length", 1)
        assert got["ids",] == {("chatcmpl-r", 1, "chat")}
        assert (0, "role") not in got
        assert b"token_ids" not in out
        assert b"prompt_text" not in out

    def test_usage_is_that_of_prompt_delivered_and_new_text(self) -> None:
        attempt = self.begun("ab")
        got = heard(attempt.feed(self.said("cd") + usage(2, 9)))  # 5 prompt tokens told, 3 of them of the text
        assert got["usage",] == {"prompt_tokens": 2, "total_tokens": 7, "completion_tokens": 5}
        assert attempt.usage((5, 2, 4)) == (2, 5, 2)
        assert attempt.usage((-1, -1, -1)) == (2, 3, -1)

    @pytest.mark.parametrize("ids", [(), (1, 2), (1, 2, 7, 8, 9)])
    def test_an_engine_that_went_on_from_other_tokens_is_not_heard(self, ids: tuple[int, ...]) -> None:
        with pytest.raises(DivergedError):
            self.begun("ab").feed(self.said("cd", ids=ids))

    def test_another_channel_is_not_heard_but_a_call_is(self) -> None:
        attempt = self.begun("ab")
        attempt.feed(self.said())
        call = {"index": 0, "id": "x", "function": {"name": "f", "arguments": "{}"}}
        assert heard(
            attempt.feed(event(id="i", created=1, model="m", choices=[{"index": 0, "delta": {"tool_calls": [call]}}]))
        )
        with pytest.raises(DivergedError):
            attempt.feed(event(choices=[{"index": 0, "delta": {"reasoning": "so"}}]))

    @given(
        st.text("ab", min_size=1, max_size=8),
        st.text("ab", max_size=8),
        st.text("ab", min_size=1, max_size=4),
        st.data(),
    )
    def test_a_stop_string_across_the_seam_is_found_wherever_the_text_is_cut(
        self, had: str, new: str, stop: str, data: st.DataObject
    ) -> None:
        joined, seam = had + new, len(had)
        lies_across = any(joined.startswith(stop, at) for at in range(max(0, seam - len(stop) + 1), seam))
        lies_across = lies_across and len(stop) > 1
        attempt, pieces, rest = self.begun(had, stop), [], new
        while rest:
            size = data.draw(st.integers(1, len(rest)))
            pieces.append(rest[:size])
            rest = rest[size:]
        if lies_across:
            with pytest.raises(DivergedError, match="stop string"):
                attempt.feed(self.said(*pieces))
        else:
            assert heard(attempt.feed(self.said(*pieces))).get((0, "content"), "") == new
