"""Routes: which exist, what the others answer, what is counted."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from penstock.simulate.io.engine.service import EngineService
from simulate.io.engine.running import RunningEngine, running_engine

COMPLETION = {"prompt": "hi", "max_tokens": 2}


@pytest.fixture(scope="module")
def engine() -> Iterator[RunningEngine]:
    with running_engine() as running:
        yield running


@pytest.fixture(scope="module")
def embedding() -> Iterator[RunningEngine]:
    with running_engine(task="embed") as running:
        yield running


def test_an_unknown_path_is_not_found(engine: RunningEngine) -> None:
    assert (engine.ask("GET", "/nope").status, engine.ask("GET", "/nope").body) == (404, b'{"detail":"Not Found"}')


@pytest.mark.parametrize(
    ("method", "path", "allowed"), [("GET", "/v1/completions", "POST"), ("POST", "/health", "GET")]
)
def test_a_wrong_method_is_told_the_right_ones(engine: RunningEngine, method: str, path: str, allowed: str) -> None:
    answer = engine.ask(method, path)

    assert (answer.status, answer.header("allow")) == (405, allowed)


def test_ping_takes_both_methods(engine: RunningEngine) -> None:
    assert [engine.ask(method, "/ping").status for method in ("GET", "POST")] == [200, 200]
    assert engine.ask("PUT", "/ping").header("allow") == "GET, POST"


def test_a_slash_too_many_is_sent_to_the_right_path(engine: RunningEngine) -> None:
    answer = engine.ask("GET", "/v1/models/")

    assert (answer.status, answer.header("location")) == (307, "http://engine/v1/models")


def test_a_stored_response_is_never_found(engine: RunningEngine) -> None:
    for method, path in (("GET", "/v1/responses/resp_1"), ("POST", "/v1/responses/resp_1/cancel")):
        answer = engine.ask(method, path)
        assert (answer.status, answer.json["error"]["message"]) == (404, "Response with id 'resp_1' not found.")


@pytest.mark.parametrize("path", ["/inference/v1/generate", "/v1/responses/render", "/v1/completions/derender"])
def test_scale_out_routes_are_forbidden(engine: RunningEngine, path: str) -> None:
    answer = engine.post(path, {})

    assert (answer.status, answer.json["error"]["type"]) == (403, "PermissionDeniedError")


def test_invocations_choose_by_the_fields_of_the_body(engine: RunningEngine, embedding: RunningEngine) -> None:
    chat = {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 1}

    assert engine.post("/invocations", chat).json["object"] == "chat.completion"
    assert engine.post("/invocations", COMPLETION).json["object"] == "text_completion"
    assert engine.post("/invocations", {"model": "tiny"}).status == 400
    assert embedding.post("/invocations", {"input": "hi"}).json["data"][0]["object"] == "embedding"
    assert "results" in embedding.post("/invocations", {"query": "a", "documents": ["b"]}).json


def test_an_embedding_model_generates_nothing_and_the_reverse(engine: RunningEngine, embedding: RunningEngine) -> None:
    assert embedding.post("/v1/completions", COMPLETION).status == 404
    assert engine.post("/v1/embeddings", {"input": "hi"}).status == 404


def test_faults_and_dev_routes_exist_only_when_enabled(engine: RunningEngine) -> None:
    assert engine.ask("GET", "/fault").status == 404
    assert engine.ask("GET", "/is_sleeping").status == 404
    with running_engine(has_faults=True, has_dev_routes=True) as enabled:
        assert enabled.ask("GET", "/fault").json["mode"] == "none"
        assert enabled.ask("GET", "/is_sleeping").json == {"is_sleeping": False}


def test_requests_are_counted_by_route() -> None:
    with running_engine() as engine:
        engine.post("/v1/completions", COMPLETION)
        engine.post("/v1/completions", {})
        engine.ask("GET", "/nope")
        engine.ask("GET", "/health")
        values = engine.metrics()

    def count(handler: str, method: str, status: str) -> float:
        return values.get(f'http_requests_total{{handler="{handler}",method="{method}",status="{status}"}}', 0)

    assert count("/v1/completions", "POST", "2xx") == 1
    assert count("/v1/completions", "POST", "4xx") == 1
    assert count("none", "GET", "4xx") == 1
    assert not any("/health" in name for name in values)
    assert values['http_request_size_bytes_count{handler="/v1/completions"}'] == 2


def test_a_failure_of_ours_is_a_500_in_vllms_shape(
    engine: RunningEngine, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_: EngineService) -> object:
        raise RuntimeError("the cards are gone")

    monkeypatch.setattr(EngineService, "model_cards", fail)

    answer = engine.ask("GET", "/v1/models")

    assert answer.status == 500
    assert answer.json["error"] == {
        "message": "the cards are gone",
        "type": "InternalServerError",
        "param": None,
        "code": 500,
    }
    assert "route=/v1/models" in caplog.text


def test_errors_of_messages_have_anthropics_shape(engine: RunningEngine) -> None:
    body = {"model": "nope", "max_tokens": 1, "messages": [{"role": "user", "content": "x"}]}

    assert engine.post("/v1/messages", body).json["error"]["type"] == "NotFoundError"
    assert engine.post("/v1/messages", body).json["type"] == "error"
    assert "code" in engine.post("/v1/messages", {}).json["error"]
