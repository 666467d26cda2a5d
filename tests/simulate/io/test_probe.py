"""A probe's rounds over real sockets: sent at once within a round, one round after another, failures in words."""

from __future__ import annotations

import asyncio

import pytest

from fakes.engine import FakeEngine, Fault
from penstock.errors import PenstockError
from penstock.simulate.io.calls import Target
from penstock.simulate.io.probe import Served, find_served, run_rounds, watch
from penstock.simulate.probe import Round, Seen

ROUNDS = [
    Round(kind="prefill", requests=1, prompt_tokens=16, output_tokens=1),
    Round(kind="decode", requests=4, prompt_tokens=8, output_tokens=20),
]


def probed(engine: FakeEngine) -> list[tuple[Round, list[Seen]]]:
    async def main() -> list[tuple[Round, list[Seen]]]:
        async with engine:
            return await run_rounds(Target.of(engine.origin), "chat", ROUNDS, vocab=32_000)

    return asyncio.run(main())


def served(engine: FakeEngine, model: str = "") -> Served:
    async def main() -> Served:
        async with engine:
            return await find_served(Target.of(engine.origin), model)

    return asyncio.run(main())


def test_every_request_of_every_round_is_seen() -> None:
    engine = FakeEngine()
    results = probed(engine)

    assert [(asked, len(answers)) for asked, answers in results] == [(ROUNDS[0], 1), (ROUNDS[1], 4)]
    assert [answer.prompt_tokens for answer in results[1][1]] == [8] * 4
    assert all(answer.first_s >= answer.sent_s for _, answers in results for answer in answers)
    assert {len(answer.times_s) for answer in results[1][1]} == {20}


def test_prompts_are_exact_unique_and_answered_in_full() -> None:
    engine = FakeEngine()
    probed(engine)

    assert [len(request["prompt"]) for request in engine.requests] == [16, 8, 8, 8, 8]
    assert len({tuple(request["prompt"]) for request in engine.requests}) == 5
    assert all(request["ignore_eos"] and request["stream"] for request in engine.requests)


def test_a_failed_request_ends_the_probe_in_words() -> None:
    with pytest.raises(PenstockError, match="a request of 16 prompt tokens failed: the engine broke"):
        probed(FakeEngine(fault=Fault.STATUS_500))


def test_the_first_model_is_found_and_the_named_one() -> None:
    assert served(FakeEngine(models=["a", "b"])) == Served(model="a", root="a", context=None, version="")
    assert served(FakeEngine(models=["a", "b"]), "b").model == "b"


def test_a_model_that_is_not_served_is_told_with_those_that_are() -> None:
    with pytest.raises(PenstockError, match="serves no model 'c'") as caught:
        served(FakeEngine(models=["a", "b"]), "c")

    assert "a, b" in str(caught.value.hint)


def test_something_else_than_an_api_is_told() -> None:
    with pytest.raises(PenstockError, match="no list of models"):
        served(FakeEngine(listing="<html>welcome</html>"))


def test_an_engine_without_metrics_cannot_be_watched() -> None:
    async def main() -> None:
        async with FakeEngine() as engine:
            await watch(Target.of(engine.origin), 1.0)

    with pytest.raises(PenstockError, match="/metrics cannot be read"):
        asyncio.run(main())
