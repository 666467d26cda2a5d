"""Classes, queue, routing, bounds and providers: what each part of a request's way takes, and what it refuses."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.spec import ProviderSpec, RequestsSpec, RoutingSpec
from penstock.spec.traffic import FallbackSpec, HedgingSpec, MatchSpec, QueueSpec
from spec.fleets import fleet_text, problems_of, the_problem


def test_nothing_is_sent_twice_unless_the_file_says_so() -> None:
    assert (HedgingSpec().is_on, HedgingSpec().share_max) == (False, 0.05)


def test_a_queue_is_on_with_bounds_unless_the_file_says_otherwise() -> None:
    queue = QueueSpec()

    assert (queue.is_on, queue.requests_max) == (True, 2_000)
    assert QueueSpec.model_validate({"enabled": False}).is_on is False


@pytest.mark.parametrize(
    ("gateway", "field", "words", "hint"),
    [
        ("classes: {realtime: {}}", "classes.realtime", "not a field", "interactive, batch, experimental"),
        ("classes: {batch: {waitS: 0}}", "classes.batch.waitS", "above 0, at most 86400, not 0", "None"),
        ("queue: {enable: true}", "queue.enable", "not a field", "enabled"),
        ("hedging: {enable: true}", "hedging.enable", "not a field", "enabled"),
        ("hedging: {shareMax: 0}", "hedging.shareMax", "above 0, at most 0.5, not 0", "None"),
        ("hedging: {shareMax: 0.9}", "hedging.shareMax", "above 0, at most 0.5, not 0.9", "None"),
        ("queue: {tenantShareMax: 0}", "queue.tenantShareMax", "above 0, at most 1, not 0", "None"),
        ("routing: {policy: prefix}", "routing.policy", "`prefix-hash`", "policy: prefix-hash"),
        ("routing: {sessionHeader: 'a b'}", "routing.sessionHeader", "must be a header's name", "None"),
        ("routing: {kvEventsPort: 0}", "routing.kvEventsPort", "from 1 to 65534, not 0", "None"),
        ("requests: {overOutput: cut}", "requests.overOutput", "one of `clamp`, `reject`", "None"),
        (
            "requests: {outputTokensMax: 5, outputTokensDefault: 6}",
            "requests.outputTokensDefault",
            "is 6, more than `outputTokensMax`, which is 5",
            "lower it",
        ),
        (
            "rules: [{name: r, match: {promptTokensMin: 9, promptTokensMax: 8}}]",
            "rules[0].match.promptTokensMin",
            "no prompt fits both",
            "swap",
        ),
        ("rules: [{name: r, match: {classes: [fast]}}]", "rules[0].match.classes[0]", "one of `interactive`", "None"),
        ("rules: [{name: r, setClass: low}]", "rules[0].setClass", "one of `interactive`", "None"),
        (
            "rules: [{name: r, to: [{model: chat, weight: -1}]}]",
            "rules[0].to[0].weight",
            "above 0, at most 1000000, not -1",
            "None",
        ),
        ("rules: [{name: r, shadow: {model: chat, percent: 0}}]", "rules[0].shadow.percent", "above 0", "None"),
    ],
)
def test_what_the_gateway_cannot_take_is_told_with_its_place(gateway: str, field: str, words: str, hint: str) -> None:
    problem = the_problem(fleet_text(gateway=gateway))

    assert (problem.line, problem.field) == (7, f"spec.gateway.{field}")
    assert words in problem.message
    assert hint in str(problem.hint)


@pytest.mark.parametrize(
    "url",
    [
        "https://user:a-secret@api.example.com/v1",
        "https://a-secret@api.example.com/v1",
        "https://api.example.com/v1?key=a-secret",
        "https://api.example.com/v1#a-secret",
        "https://api.example.com/sk-a-secret-of-some-length",
        "https://api.example.com/key=sk_a-secret-of-some-length/v1",
        "nonsense://a-secret@",
        "https://[a-secret@",
    ],
)
def test_a_providers_address_holds_no_key_and_the_message_does_not_repeat_it(url: str) -> None:
    problem = the_problem(fleet_text(gateway=f"providers: [{{name: p, url: '{url}'}}]"))

    assert problem.field == "spec.gateway.providers[0].url"
    assert "keyFrom: {env: NAME}" in problem.message
    assert "a-secret" not in str(problem)


@pytest.mark.parametrize(
    "url",
    ["api.example.com", "ftp://a/v1", "https://", "https:///v1", "http://a:0", "http://a:b", "http://[::1", "h p"],
)
def test_a_provider_that_has_no_address_is_refused(url: str) -> None:
    problem = the_problem(fleet_text(gateway=f"providers: [{{name: p, url: '{url}'}}]"))

    assert "must be http(s)://HOST" in problem.message


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        ("https://api.example.com/v1/", "https://api.example.com/v1"),
        ("http://[::1]:9/v1", "http://[::1]:9/v1"),
        ("https://api.example.com/openai/deployments/my-sk-model/v1", None),
    ],
)
def test_an_address_is_kept_without_its_last_slash(url: str, kept: str | None) -> None:
    assert ProviderSpec(name="p", url=url).url == (kept or url)


@pytest.mark.parametrize(
    ("fallback", "at", "words"),
    [
        ("{}", "", "one of `model` and `provider`"),
        ("{model: chat, provider: p}", "", "one of `model` and `provider`"),
        ("{model: chat, providerModel: x}", ".providerModel", "without a `provider`"),
        ("{provider: p, when: []}", ".when", "at least one entry"),
        ("{provider: p, when: [slow]}", ".when[0]", "one of `error`"),
    ],
)
def test_a_fallback_names_one_who_answers_and_when(fallback: str, at: str, words: str) -> None:
    problem = problems_of(fleet_text(model=f"fallbacks: [{fallback}]"))[0]

    assert problem.field == f"spec.models[0].fallbacks[0]{at}"
    assert words in problem.message


def test_a_fallback_is_for_errors_unless_it_says_more() -> None:
    assert FallbackSpec(model="a").when == ["error"]


@given(st.none() | st.integers(0, 50), st.none() | st.integers(0, 50))
def test_a_match_is_taken_exactly_when_some_prompt_fits(low: int | None, high: int | None) -> None:
    fits = any((low is None or n >= low) and (high is None or n <= high) for n in range(101))

    try:
        MatchSpec(prompt_tokens_min=low, prompt_tokens_max=high)
    except ValueError:
        assert not fits
    else:
        assert fits


def test_headers_are_told_apart_without_case() -> None:
    assert RoutingSpec(session_header="X-Session-Id").session_header == "x-session-id"
    assert MatchSpec(headers={"X-Model-Id": "A"}).headers == {"x-model-id": "A"}


def test_a_header_that_stands_twice_in_two_cases_is_told() -> None:
    problem = the_problem(fleet_text(gateway="rules: [{name: r, match: {headers: {X-A: b, x-a: c}}}]"))

    assert problem.field == "spec.gateway.rules[0].match.headers.x-a"
    assert "a second time" in problem.message


def test_no_bound_of_a_request_has_a_value_of_its_own_so_that_the_gateways_can_hold() -> None:
    assert RequestsSpec().model_dump(exclude_none=True) == {}
