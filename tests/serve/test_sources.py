"""Secret values read from where the file says, and told by name alone when they can't be."""

from __future__ import annotations

import pytest

from penstock.errors import UsageError
from penstock.serve.sources import read_source
from penstock.spec import SecretKeyRef, ValueSource

ENV = ValueSource(env="TOKEN")
SECRET = ValueSource(secret_key_ref=SecretKeyRef(name="keys", key="token"))


def test_a_value_is_read_without_the_space_around_it() -> None:
    assert read_source("It", ENV, {"TOKEN": " long-enough\n"}, None, chars_min=8) == "long-enough"
    assert read_source("It", SECRET, {}, lambda name, key: f"{name}/{key}\n", chars_min=8) == "keys/token"


@pytest.mark.parametrize(("value", "words"), [(None, "is not set"), ("  ", "is not set"), ("short", "fewer than 8")])
def test_a_variable_without_a_value_is_told_by_name(value: str | None, words: str) -> None:
    env = {} if value is None else {"TOKEN": value}

    with pytest.raises(UsageError, match=f"It comes from the environment variable TOKEN, which .*{words}") as refusal:
        read_source("It", ENV, env, None, chars_min=8)
    assert "short" not in str(refusal.value)


def test_a_secret_that_is_not_there_or_not_readable_is_told() -> None:
    with pytest.raises(UsageError, match="this machine can't read"):
        read_source("It", SECRET, {}, None, chars_min=8)
    with pytest.raises(UsageError, match="key token of Secret keys, which is not there"):
        read_source("It", SECRET, {}, lambda *_: None, chars_min=8)
    with pytest.raises(UsageError, match="holds fewer than 8") as refusal:
        read_source("It", SECRET, {}, lambda *_: "tiny", chars_min=8)
    assert "tiny" not in str(refusal.value)
