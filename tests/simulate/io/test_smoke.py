from __future__ import annotations

import asyncio
import socket

import pytest

from fakes.engine import FakeEngine, Fault
from penstock.simulate.io.calls import Target
from penstock.simulate.io.smoke import Check, run_smoke


def smoke(engine: FakeEngine, *, key: str = "", models: tuple[str, ...] = (), timeout_s: float = 20.0) -> list[Check]:
    async def main() -> list[Check]:
        async with engine:
            return await run_smoke(Target.of(engine.origin, key), models=models, timeout_s=timeout_s)

    return asyncio.run(main())


def verdicts(checks: list[Check]) -> list[tuple[str, str, str]]:
    return [(c.model, c.name, c.verdict) for c in checks]


def only_failure(checks: list[Check], name: str) -> Check:
    (found,) = [c for c in checks if c.verdict == "failed" and c.name == name]
    return found


def test_a_chat_model_is_listed_and_answers_chat_and_stream_and_needs_no_embedding() -> None:
    assert verdicts(smoke(FakeEngine())) == [
        ("", "models", "ok"),
        ("chat", "chat", "ok"),
        ("chat", "stream", "ok"),
        ("chat", "embedding", "absent"),
    ]


def test_an_embedding_model_needs_no_chat() -> None:
    assert verdicts(smoke(FakeEngine(models=[], embedding_models=["minilm"]))) == [
        ("", "models", "ok"),
        ("minilm", "chat", "absent"),
        ("minilm", "completion", "absent"),
        ("minilm", "embedding", "ok"),
    ]


def test_a_base_model_without_chat_template_is_tried_with_completions() -> None:
    assert verdicts(smoke(FakeEngine(has_chat=False))) == [
        ("", "models", "ok"),
        ("chat", "chat", "absent"),
        ("chat", "completion", "ok"),
        ("chat", "stream", "ok"),
        ("chat", "embedding", "absent"),
    ]


def test_every_model_is_tried_and_only_the_named_ones_when_some_are() -> None:
    engine = FakeEngine(models=["a", "b"], embedding_models=["c"])

    assert {c.model for c in smoke(engine)} == {"", "a", "b", "c"}
    assert {c.model for c in smoke(engine, models=("b",))} == {"", "b"}


@pytest.mark.parametrize(
    ("fault", "check", "said", "advice"),
    [
        (Fault.RESET, "chat", "reset: the connection was closed", "speak plain HTTP"),
        (Fault.STATUS_500, "chat", "http_500: the engine broke", "engine's log"),
        (Fault.STATUS_429, "chat", "http_429: too many requests", "limit"),
        (Fault.NOT_JSON, "chat", "bad_answer: the answer is not JSON: <html>", "OpenAI-compatible API"),
        (Fault.EMPTY_TEXT, "chat", "empty: an empty text (finish_reason length)", "chat template"),
        (Fault.NO_DONE, "stream", "truncated: the stream ended after 16 events without [DONE]", "did the engine die"),
        (Fault.CUT_STREAM, "stream", "truncated: the answer broke off after 2 events", "did the engine die"),
        (Fault.ERROR_EVENT, "stream", "stream_error: engine died", "engine's log"),
        (Fault.NOT_A_STREAM, "stream", "bad_answer: asked for a stream, got application/json", "proxy"),
    ],
)
def test_a_failed_check_says_what_failed_and_what_to_do(fault: Fault, check: str, said: str, advice: str) -> None:
    found = only_failure(smoke(FakeEngine(fault=fault)), check)

    assert said in found.said
    assert advice in found.advice


def test_a_hanging_engine_is_a_timeout_that_names_its_bound() -> None:
    found = only_failure(smoke(FakeEngine(fault=Fault.HANG), timeout_s=0.2), "chat")

    assert "timeout" in found.said
    assert "0.2 s" in found.advice


def test_a_wrong_key_ends_at_the_listing_with_where_to_give_one() -> None:
    checks = smoke(FakeEngine(key="secret"), key="wrong")

    assert verdicts(checks) == [("", "models", "failed")]
    assert "PENSTOCK_KEY" in checks[0].advice


def test_a_model_that_does_not_exist_is_a_failure_and_not_a_kind() -> None:
    checks = smoke(FakeEngine(), models=("chatt",))

    assert only_failure(checks, "chat").said == "http_404: The model `chatt` does not exist."
    assert "'chatt' spelled" in only_failure(checks, "chat").advice


def test_a_model_that_answers_nothing_is_a_failure() -> None:
    checks = smoke(FakeEngine(models=[], embedding_models=["rank"], has_embeddings=False))

    assert only_failure(checks, "any").model == "rank"
    assert "/v1/rerank" in only_failure(checks, "any").advice


def test_an_api_without_models_is_a_failure() -> None:
    checks = smoke(FakeEngine(models=[]))

    assert verdicts(checks) == [("", "models", "failed")]
    assert "no model" in checks[0].said


def test_nothing_listening_is_told_with_the_address() -> None:
    async def main() -> tuple[list[Check], str]:
        with socket.socket() as free:  # bound and not listening: connections are refused
            free.bind(("127.0.0.1", 0))
            origin = f"http://127.0.0.1:{free.getsockname()[1]}"
            return await run_smoke(Target.of(origin), models=("m",)), origin

    checks, origin = asyncio.run(main())

    assert verdicts(checks) == [("", "models", "failed")]
    assert origin in checks[0].advice
    assert "penstock up" in checks[0].advice


def test_checks_are_told_as_they_come() -> None:
    told: list[Check] = []

    async def main() -> list[Check]:
        async with FakeEngine() as engine:
            return await run_smoke(Target.of(engine.origin), on_check=told.append)

    assert asyncio.run(main()) == told
