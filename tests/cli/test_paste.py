"""The command to paste."""

from __future__ import annotations

import shlex
from typing import Any

from penstock.cli.paste import curl_command, key_to_show
from penstock.spec import Fleet

URL = "http://127.0.0.1:8080/v1"
CHAT = {"name": "chat", "source": "Qwen/Qwen3-8B"}
EMBED = {"name": "embed", "source": "Qwen/Qwen3-Embedding-0.6B"}


def fleet(*models: dict[str, Any], tenants: list[dict[str, Any]] | None = None) -> Fleet:
    text = {"apiVersion": "penstock.dev/v1alpha1", "kind": "Fleet", "metadata": {"name": "demo"}}
    return Fleet.model_validate({**text, "spec": {"models": models, "gateway": {"tenants": tenants or []}}})


def tenant(models: list[str] | None = None, **key: Any) -> dict[str, Any]:
    return {"name": "demo", "models": models, "keys": [{"name": "k", **key}]}


def words(of: Fleet) -> list[str]:
    return shlex.split(curl_command(of, URL).replace("\\\n", " "))


def test_a_literal_key_is_in_the_command() -> None:
    it = fleet(CHAT, tenants=[tenant(value="penstock-demo")])
    assert words(it) == [
        *("curl", "http://127.0.0.1:8080/v1/chat/completions", "-H", "Authorization: Bearer penstock-demo"),
        *("-H", "Content-Type: application/json"),
        *("-d", '{"model": "chat", "messages": [{"role": "user", "content": "Hello"}]}'),
    ]
    assert key_to_show(it) == "penstock-demo"


def test_a_key_from_the_environment_is_left_to_the_shell() -> None:
    it = fleet(CHAT, tenants=[tenant(valueFrom={"env": "DEMO_KEY"})])
    assert '-H "Authorization: Bearer $DEMO_KEY"' in curl_command(it, URL)
    assert key_to_show(it) == "$DEMO_KEY"


def test_a_key_with_odd_characters_survives_the_shell() -> None:
    key = 'it\'s $HOME `x` "y"'
    assert f"Authorization: Bearer {key}" in words(fleet(CHAT, tenants=[tenant(value=key)]))


def test_without_tenants_there_is_no_key() -> None:
    it = fleet(CHAT)
    assert "Authorization" not in curl_command(it, URL)
    assert key_to_show(it) is None


def test_a_model_that_generates_comes_first_and_embeddings_are_asked_for_where_there_is_none() -> None:
    assert "/chat/completions" in words(fleet(EMBED, CHAT))[1]
    assert words(fleet(EMBED))[1] == f"{URL}/embeddings"
    assert words(fleet({**CHAT, "task": "embed"}))[1] == f"{URL}/embeddings"


def test_a_model_that_the_key_may_call_is_asked_for_also_by_its_alias() -> None:
    assert '"model": "b"' in words(fleet(CHAT, {"name": "b"}, tenants=[tenant(["b"], value="x" * 8)]))[-1]
    aliased = {"name": "b", "aliases": ["bee"]}
    assert '"model": "b"' in words(fleet(CHAT, aliased, tenants=[tenant(["bee"], value="x" * 8)]))[-1]
