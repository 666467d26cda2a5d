"""A fallback was not tried, may be called, and can do what is needed; a provider gets what it knows."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.serve.admission.fallbacks import (
    TRIES_MAX,
    Abilities,
    Fallback,
    Needs,
    TlsHost,
    Why,
    call_provider,
    compile_fallbacks,
    compile_provider,
    next_fallback,
)
from penstock.spec import FallbackSpec, ProviderSpec

ERROR: frozenset[Why] = frozenset({"error"})
CHAT = Needs(schema="chat", prompt_tokens=100)
ELSEWHERE = compile_provider(ProviderSpec(name="elsewhere", url="https://api.example.com/v1/"), "sk-secret")


def to(model: str, *why: Why) -> Fallback:
    return Fallback(model=model, on=frozenset(why) or ERROR)


def after(
    fallbacks: dict[str, list[Fallback]],
    tried: list[str],
    why: Why = "error",
    needs: Needs = CHAT,
    *,
    models: frozenset[str] | None = None,
    **abilities: Abilities,
) -> str | None:
    found = next_fallback(fallbacks, tried, why, needs, models=models, abilities=abilities)
    return found.id if found is not None else None


def test_fallbacks_are_tried_in_their_order_then_those_of_the_model_before() -> None:
    fallbacks = {"a": [to("b"), to("d")], "b": [to("c")]}
    assert after(fallbacks, ["a"]) == "b"
    assert after(fallbacks, ["a", "b"]) == "c"
    assert after(fallbacks, ["a", "b", "c"]) == "d"
    assert after(fallbacks, ["a", "b", "c", "d"]) is None


def test_a_fallback_is_for_what_it_says() -> None:
    fallbacks = {"a": [to("b", "saturation"), to("c", "objective", "error")]}
    assert after(fallbacks, ["a"], "error") == "c"
    assert after(fallbacks, ["a"], "saturation") == "b"
    assert after(fallbacks, ["a"], "objective") == "c"


def test_a_model_that_the_caller_may_not_call_is_passed_over() -> None:
    fallbacks = {"a": [to("secret"), to("b")]}
    assert after(fallbacks, ["a"], models=frozenset({"a", "b"})) == "b"
    assert after(fallbacks, ["a"], models=frozenset({"a"})) is None


@pytest.mark.parametrize(
    ("needs", "abilities"),
    [
        (Needs(schema="chat", images=1), Abilities(sees=False)),
        (Needs(schema="chat", audios=1), Abilities(hears=False)),
        (Needs(schema="chat", tools=1), Abilities(calls_tools=False)),
        (Needs(schema="chat"), Abilities(writes=False)),
        (Needs(schema="embeddings"), Abilities(writes=True)),
        (Needs(schema="chat", prompt_tokens=5_000), Abilities(context=4_096)),
    ],
)
def test_a_model_that_is_known_not_to_be_able_is_passed_over(needs: Needs, abilities: Abilities) -> None:
    fallbacks = {"a": [to("b"), to("c")]}
    assert after(fallbacks, ["a"], "error", needs, b=abilities) == "c"
    assert after(fallbacks, ["a"], "error", needs) == "b", "what nobody knows keeps nothing from it"


def test_an_adapters_request_falls_nowhere() -> None:
    assert after({"a": [to("b")]}, ["a"], "error", Needs(schema="chat", adapter="lora")) is None


def test_a_provider_gets_only_the_apis_that_such_services_have() -> None:
    fallbacks = {"a": [Fallback(on=ERROR, provider=ELSEWHERE, provider_model="gpt")]}
    assert after(fallbacks, ["a"]) == "elsewhere/gpt"
    assert after(fallbacks, ["a"], "error", Needs(schema="rerank")) is None
    assert after(fallbacks, ["a", "elsewhere/gpt"]) is None


@given(
    st.dictionaries(st.sampled_from("abcdefgh"), st.lists(st.sampled_from("abcdefgh").map(to), max_size=5), max_size=8)
)
def test_a_request_ends_even_where_fallbacks_go_round(fallbacks: dict[str, list[Fallback]]) -> None:
    tried = ["a"]
    while (found := after(fallbacks, tried)) is not None:
        assert found not in tried
        tried.append(found)
    assert len(tried) <= TRIES_MAX


# ---------------------------------------------------------------------- providers


def test_a_request_is_put_in_the_providers_own_terms() -> None:
    body = {"model": "small", "messages": [], "top_k": 5, "temperature": 0.1, "cache_salt": "s", "min_p": None}
    call = call_provider(
        Fallback(on=ERROR, provider=ELSEWHERE, provider_model="gpt-x"), "chat", "/v1/chat/completions", body, "fast"
    )
    assert call is not None
    assert call.path == "/v1/chat/completions"
    assert b"authorization: Bearer sk-secret\r\n" in call.headers
    assert call.edits == {"model": "gpt-x", "top_k": None, "cache_salt": None, "min_p": None}
    assert call.dropped == ("top_k", "cache_salt")


def test_one_limit_of_output_goes_to_a_provider() -> None:
    body = {"model": "m", "messages": [], "max_tokens": 5, "max_completion_tokens": 6}
    call = call_provider(Fallback(on=ERROR, provider=ELSEWHERE), "chat", "/v1/chat/completions", body, "fast")
    assert call is not None
    assert call.edits == {"model": "fast", "max_tokens": None}


def test_what_no_provider_has_is_not_put_to_one() -> None:
    assert call_provider(Fallback(on=ERROR, provider=ELSEWHERE), "messages", "/v1/messages", {}, "m") is None
    assert call_provider(to("b"), "chat", "/v1/chat/completions", {}, "m") is None


@pytest.mark.parametrize(
    ("url", "host", "port", "is_tls", "path"),
    [
        ("https://api.example.com/v1", "api.example.com", 443, True, "/v1"),
        ("http://other:8000", "other", 8000, False, ""),
        ("https://x.example/openai/v1/", "x.example", 443, True, "/openai/v1"),
        ("http://[::1]:9000/v1", "::1", 9000, False, "/v1"),
    ],
)
def test_a_providers_address_is_taken_apart(url: str, host: str, port: int, is_tls: bool, path: str) -> None:
    provider = compile_provider(ProviderSpec(name="p", url=url))
    assert (provider.host, provider.port, provider.path) == (host, port, path)
    assert provider.tls_host == (TlsHost(host) if is_tls else None)
    call = call_provider(Fallback(on=ERROR, provider=provider), "embeddings", "/v1/embeddings", {"model": "m"}, "m")
    assert call is not None
    assert call.path == path + "/embeddings"
    assert b"authorization" not in call.headers


@pytest.mark.parametrize("key", ["a\r\nhost: evil", "é", "a\x00b"])
def test_a_key_that_would_break_the_head_is_refused_and_not_repeated(key: str) -> None:
    with pytest.raises(ValueError, match="provider 'p'") as caught:
        compile_provider(ProviderSpec(name="p", url="http://h/v1"), key)
    assert key not in str(caught.value)


def test_a_providers_key_is_never_shown() -> None:
    assert "sk-secret" not in repr(ELSEWHERE)
    assert "sk-secret" not in repr(Fallback(on=ERROR, provider=ELSEWHERE))


def test_the_files_words_become_targets() -> None:
    specs: list[Any] = [
        FallbackSpec(model="fast", when=["saturation", "error"]),
        FallbackSpec(provider="elsewhere", provider_model="gpt"),
    ]
    first, second = compile_fallbacks(specs, {"fast": "small"}, {"elsewhere": ELSEWHERE})
    assert (first.id, first.on) == ("small", {"saturation", "error"})
    assert (second.id, second.on, second.provider) == ("elsewhere/gpt", {"error"}, ELSEWHERE)
