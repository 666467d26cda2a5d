"""Config and tokenizer: readable, and of a model that is known."""

from __future__ import annotations

import json

import pytest

from fakes.models import CONFIG
from penstock.operate.storage.texts import text_findings

GOOD = {"config.json": json.dumps(CONFIG), "tokenizer.json": '{"model": {}}'}


def found(texts: dict[str, str | None], *more: str) -> list[tuple[bool, str, str]]:
    return [(e, f, m) for e, f, _, m in text_findings(texts, sorted({*texts, *more}))]


def test_a_readable_model_has_no_findings() -> None:
    assert found({**GOOD, "generation_config.json": "{}"}) == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "not UTF-8"),
        ("{", "not JSON"),
        ("<html>denied</html>", "looks like an error page"),
        ("version https://git-lfs.github.com/spec/v1\noid", "Git LFS pointer"),
        ("[]", "not an object"),
        ("{}", "neither model_type nor architectures"),
    ],
)
def test_a_config_that_an_engine_cannot_use_is_an_error(text: str | None, said: str) -> None:
    [(is_error, file, message)] = found({**GOOD, "config.json": text})

    assert is_error
    assert file == "config.json"
    assert said in message


def test_a_config_that_only_penstock_cannot_size_is_a_warning() -> None:
    [(is_error, _, message)] = found({**GOOD, "config.json": '{"model_type": "whisper"}'})

    assert not is_error
    assert "an engine may serve it" in message
    assert "num_hidden_layers" in message


def test_no_config_is_an_error() -> None:
    assert [(e, f) for e, f, _ in found({"tokenizer.json": '{"model": {}}'})] == [(True, "config.json")]


@pytest.mark.parametrize("text", ["{}", "[]", "{", None])
def test_a_tokenizer_that_is_none_is_an_error(text: str | None) -> None:
    assert [(e, f) for e, f, _ in found({**GOOD, "tokenizer.json": text})] == [(True, "tokenizer.json")]


def test_no_tokenizer_is_an_error_and_another_kind_is_one() -> None:
    config = {"config.json": GOOD["config.json"]}

    assert [f for _, f, _ in found({**config})] == ["tokenizer.json"]
    for other in ("tokenizer.model", "tekken.json", "vocab.txt", "qwen.tiktoken"):
        assert found({**config}, other) == []


def test_a_damaged_generation_config_is_an_error() -> None:
    assert [(e, f) for e, f, _ in found({**GOOD, "generation_config.json": "{"})] == [(True, "generation_config.json")]


def test_an_adapter_needs_no_config_and_no_tokenizer_of_its_own() -> None:
    good = {"adapter_config.json": '{"peft_type": "LORA", "base_model_name_or_path": "org/base"}'}

    assert found(good) == []
    for text in ("{}", "{", None):
        assert [(e, f) for e, f, _ in found({"adapter_config.json": text})] == [(True, "adapter_config.json")]


def test_a_list_of_modules_is_what_sentence_transformers_has() -> None:
    assert found({**GOOD, "modules.json": "[]"}) == []
