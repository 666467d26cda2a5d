"""The table of paths: each is served under the path that vLLM knows, and each names checks that exist."""

from __future__ import annotations

import pytest

from penstock.serve.wire.fields import SCHEMAS
from penstock.serve.wire.routes import LOCAL_PATHS, ROUTES, StoredPath, azure_path, dialect_of, stored_path


def test_every_api_of_the_engine_has_a_path() -> None:
    names = {path.rpartition("/")[2] for path in ROUTES}
    assert names >= {
        *("completions", "embeddings", "responses", "rerank", "score", "classify", "pooling", "tokenize"),
        *("embed", "batch", "generative_scoring"),
        *("detokenize", "messages", "count_tokens", "transcriptions", "translations", "speech"),
    }


@pytest.mark.parametrize("path", sorted(ROUTES))
def test_each_route_is_filed_under_its_path_and_names_its_checks(path: str) -> None:
    route = ROUTES[path]
    assert route.path == path
    assert route.schema in SCHEMAS
    assert route.upstream_path.startswith("/")
    assert path not in LOCAL_PATHS


def test_only_generation_in_openais_dialect_has_stream_options() -> None:
    assert {p for p, r in ROUTES.items() if r.has_stream_options} == {"/v1/chat/completions", "/v1/completions"}


def test_anthropics_paths_speak_anthropics_dialect() -> None:
    assert {p for p, r in ROUTES.items() if r.dialect == "anthropic"} == {"/v1/messages", "/v1/messages/count_tokens"}


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("/v1/responses/resp_1", StoredPath(response_id="resp_1", action="response")),
        ("/v1/responses/resp_1/input_items", StoredPath(response_id="resp_1", action="input_items")),
        ("/v1/responses/resp_1/cancel", StoredPath(response_id="resp_1", action="cancel")),
        ("/v1/responses/re%20sp", StoredPath(response_id="", action="response")),
        ("/v1/responses/" + "x" * 129, StoredPath(response_id="", action="response")),
        ("/v1/responses/a\nb", StoredPath(response_id="", action="response")),
        ("/v1/responses", None),
        ("/v1/responses/input_tokens", None),
        ("/v1/responses/resp_1/", None),
        ("/v1/responses/resp_1/other", None),
        ("/v1/responses/resp_1/cancel/x", None),
        ("/v1/chat/completions", None),
    ],
)
def test_a_path_with_the_id_of_a_response_tells_what_is_asked_of_it(path: str, found: StoredPath | None) -> None:
    assert stored_path(path) == found


def test_a_path_with_an_id_has_one_name_in_metrics_and_its_methods() -> None:
    ways = [stored_path(f"/v1/responses/resp_1{rest}") for rest in ("", "/input_items", "/cancel")]
    assert [(way.pattern, way.allow) for way in ways if way is not None] == [
        ("/v1/responses/{id}", "GET, HEAD, DELETE"),
        ("/v1/responses/{id}/input_items", "GET, HEAD"),
        ("/v1/responses/{id}/cancel", "POST"),
    ]


@pytest.mark.parametrize(
    ("path", "ours", "model"),
    [
        ("/openai/deployments/chat/chat/completions", "/v1/chat/completions", "chat"),
        ("/openai/deployments/chat/completions", "/v1/completions", "chat"),
        ("/openai/deployments/org/a%20b/chat/completions", "/v1/chat/completions", "org/a b"),
        ("/openai/deployments/org%2Fa/chat/completions", "/v1/chat/completions", "org/a"),
        ("/openai/deployments/embed/embeddings", "/v1/embeddings", "embed"),
        ("/openai/deployments/w/audio/transcriptions", "/v1/audio/transcriptions", "w"),
        ("/v1/deployments/chat/chat/completions", "/v1/chat/completions", "chat"),
        ("/openai/models", "/v1/models", ""),
        ("/openai/models/chat", "/v1/models/chat", ""),
        ("/openai/v1/chat/completions", "/v1/chat/completions", ""),
        ("/openai/responses/resp_1", "/v1/responses/resp_1", ""),
    ],
)
def test_a_path_as_azures_clients_have_it_stands_for_one_of_ours(path: str, ours: str, model: str) -> None:
    assert azure_path(path) == (ours, model)


@pytest.mark.parametrize(
    "path",
    [
        "/openai/deployments//chat/completions",
        "/openai/deployments/chat",
        "/openai/deployments/chat/rerank",
        "/other/deployments/chat/chat/completions",
        "/v1/chat/completions",
        "/openai",
    ],
)
def test_what_names_no_deployment_or_no_path_of_one_stands_for_nothing(path: str) -> None:
    assert azure_path(path) is None


@pytest.mark.parametrize(
    ("path", "dialect"),
    [
        ("/v1/messages", "anthropic"),
        ("/v1/messages/batches", "anthropic"),
        ("/v1/responses/x", "openai"),
        ("/v1/nothing", "openai"),
        ("/", "openai"),
    ],
)
def test_errors_on_paths_that_nobody_serves_have_the_shape_of_their_api(path: str, dialect: str) -> None:
    assert dialect_of(path) == dialect
