"""The bodies of tokenize and detokenize."""

from __future__ import annotations

import json

from penstock.simulate.engine.api.tokens import detokenize_body, tokenize_body
from penstock.simulate.engine.text import tokenizer


def test_strings_of_tokens_show_only_where_asked_for() -> None:
    ids = tokenizer().encode("hello world")

    plain = json.loads(tokenize_body(ids, 64, with_strings=False))
    shown = json.loads(tokenize_body(ids, 64, with_strings=True))

    assert plain == {"count": len(ids), "max_model_len": 64, "tokens": ids, "token_strs": None}
    assert "".join(shown["token_strs"]) == "hello world"


def test_detokenize_answers_with_a_prompt() -> None:
    assert json.loads(detokenize_body("hi")) == {"prompt": "hi"}
