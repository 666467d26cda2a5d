"""The table of paths: each is served under the path that vLLM knows, and each names checks that exist."""

from __future__ import annotations

import pytest

from penstock.serve.wire.fields import SCHEMAS
from penstock.serve.wire.routes import LOCAL_PATHS, ROUTES


def test_every_api_of_the_engine_has_a_path() -> None:
    names = {path.rpartition("/")[2] for path in ROUTES}
    assert names >= {
        *("completions", "embeddings", "responses", "rerank", "score", "classify", "pooling", "tokenize"),
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
