"""Answers that need no engine, and the words of refusals."""

from __future__ import annotations

import json
from random import Random

import pytest

from penstock import __version__
from penstock.serve.config import ANONYMOUS, Caller
from penstock.serve.core import Core
from penstock.serve.local import local_answer, model_list, no_endpoint, not_allowed, unknown_model, unknown_path
from penstock.serve.wire.errors import Failure
from serve.gateways import KEY, OTHER_KEY, TENANTS, config

CORE = Core(config(), random=Random(1), unix_offset_s=1_767_225_600.0)


def caller(key: str) -> Caller:
    found = CORE.config.caller_of(key.encode())
    assert found is not None
    return found


def answer(path: str, who: Caller = ANONYMOUS) -> dict[str, object]:
    body = local_answer(CORE, path, who)
    assert isinstance(body, bytes)
    parsed: dict[str, object] = json.loads(body)
    return parsed


def test_models_are_listed_with_their_aliases_in_openais_shape() -> None:
    listed = answer("/v1/models", caller(KEY))
    assert listed["object"] == "list"
    assert [m["id"] for m in listed["data"]] == ["chat", "gpt-4o", "default", "embed"]  # type: ignore[attr-defined]
    assert [m["parent"] for m in listed["data"]] == [None, "chat", "chat", None]  # type: ignore[attr-defined]
    assert {m["object"] for m in listed["data"]} == {"model"}  # type: ignore[attr-defined]


def test_the_list_of_models_is_one_page_of_anthropics_too() -> None:
    listed = answer("/v1/models", caller(KEY))
    assert (listed["has_more"], listed["first_id"], listed["last_id"]) == (False, "chat", "embed")
    first = listed["data"][0]  # type: ignore[index]
    assert (first["type"], first["display_name"]) == ("model", "chat")
    assert first["created_at"] == "2026-01-01T00:00:00.000Z"


def test_a_model_is_listed_with_its_context_where_that_is_known() -> None:
    """Clients of vLLM read it there, to know what they may send."""
    models = "    - {name: known, source: Qwen/Qwen3-8B}\n    - {name: unknown, source: /models/x}\n"
    them = Core(config(models=models, gateway=TENANTS.replace("embed", "known")), random=Random(1), unix_offset_s=0.0)
    listed = model_list(them, Caller(tenant="t", key="", models=None))
    assert [(m["id"], m["max_model_len"]) for m in listed] == [("known", 40960), ("unknown", None)]


def test_a_list_of_no_models_is_a_page_too() -> None:
    listed = answer("/v1/models", Caller(tenant="t", key="", models=frozenset()))
    assert (listed["data"], listed["first_id"], listed["last_id"]) == ([], None, None)


def test_whoever_asks_the_bare_address_hears_where_the_api_is() -> None:
    assert "/v1" in str(answer("/")["message"])


def test_a_tenant_sees_the_models_that_it_may_use() -> None:
    assert [m["id"] for m in model_list(CORE, caller(OTHER_KEY))] == ["embed"]


def test_a_model_list_stays_the_same_while_clocks_drift() -> None:
    core = Core(config(), random=Random(1), unix_offset_s=1_767_225_600.9)
    before = model_list(core, ANONYMOUS)
    core.unix_offset_s += 0.2
    assert model_list(core, ANONYMOUS) == before


@pytest.mark.parametrize("name", ["chat", "gpt-4o"])
def test_one_model_is_answered_by_any_of_its_names(name: str) -> None:
    assert answer(f"/v1/models/{name}", caller(KEY))["id"] == name


@pytest.mark.parametrize("path", ["/v1/models/org/model-a", "/v1/models/org%2Fmodel-a", "/v1/models/org%2fmodel%2Da"])
def test_a_model_name_in_a_path_may_be_percent_encoded(path: str) -> None:
    core = Core(config("", models="    - {name: org/model-a, endpoints: ['http://127.0.0.1:1']}\n"), random=Random(1))
    body = local_answer(core, path, ANONYMOUS)
    assert isinstance(body, bytes)
    assert json.loads(body)["id"] == "org/model-a"


@pytest.mark.parametrize("name", ["", "nope", "chat/", "%", "%ff", "%00", "x" * 8000, "embed?"])
def test_an_unknown_model_is_404_whatever_the_name(name: str) -> None:
    failure = local_answer(CORE, f"/v1/models/{name}", caller(KEY))
    assert isinstance(failure, Failure)
    assert (failure.status, failure.code, failure.param) == (404, "model_not_found", "model")
    assert len(failure.message) < 600


def test_a_model_of_another_tenant_is_as_unknown_as_one_that_is_not_there() -> None:
    hidden = local_answer(CORE, "/v1/models/chat", caller(OTHER_KEY))
    assert isinstance(hidden, Failure)
    assert "gpt-4o" not in hidden.message
    assert hidden.message.replace("'chat'", "'nope'") == unknown_model(CORE, "nope", caller(OTHER_KEY)).message


def test_a_near_name_is_offered() -> None:
    assert "'gpt-4o'" in unknown_model(CORE, "gpt-4", caller(KEY)).message
    assert "/v1/chat/completions" in unknown_path("POST", "/v1/chat/completion").message


def test_health_and_version_are_answered() -> None:
    assert local_answer(CORE, "/health", ANONYMOUS) == local_answer(CORE, "/ping", ANONYMOUS) == b""
    assert answer("/version") == {"version": __version__}


def test_a_refused_method_names_those_that_are_taken() -> None:
    failure = not_allowed("POST", "/v1/models", "GET, HEAD")
    assert (failure.status, failure.allow) == (405, "GET, HEAD")
    assert "use GET or HEAD" in failure.message


def test_no_endpoint_is_503_before_a_try_and_502_after() -> None:
    assert no_endpoint("chat", "", 2).status == 503
    assert no_endpoint("chat", "", 2).retry_after_s == 2
    tried = no_endpoint("chat", "chat-0 refused the connection", 2)
    assert tried.status == 502
    assert "chat-0 refused the connection" in tried.message
