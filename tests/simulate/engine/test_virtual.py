"""The engine without text gives the same times as the one with it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.facts import find_gpu, find_model
from penstock.simulate.engine.core import Engine
from penstock.simulate.engine.messages import EngineConfig, EngineRequest
from penstock.simulate.engine.virtual import LengthRequest, Served, TokenGaps, VirtualEngine

LLAMA, H200 = find_model("Llama-3.1-8B"), find_gpu("H200")
HYBRID = replace(LLAMA, name="hybrid", sliding_layers=16, window=24)
"""One group that attends to all, one of windows: a request of 160 tokens takes 21 blocks."""
REQUESTS = st.lists(
    st.tuples(st.integers(1, 90), st.integers(1, 60), st.floats(0, 0.3)), min_size=1, max_size=12
)  # prompt, output, arrival
SETTINGS = st.fixed_dictionaries(
    {
        "num_gpu_blocks": st.integers(23, 60),
        "max_num_seqs": st.integers(1, 8),
        "max_num_batched_tokens": st.sampled_from([16, 64, 2048]),
        "async_scheduling": st.booleans(),
        "policy": st.sampled_from(["fcfs", "priority"]),
        "model": st.sampled_from([LLAMA, HYBRID]),
    }
)


def _config(**changes: Any) -> EngineConfig:
    return EngineConfig(**({"model": LLAMA, "gpu": H200, "max_model_len": 160, "num_gpu_blocks": 200} | changes))


def _virtual(
    spec: list[tuple[int, int, float]], config: EngineConfig, **more: Any
) -> tuple[list[Served], VirtualEngine]:
    engine = VirtualEngine(config, **more)
    served: list[Served] = []
    for number, (prompt, output, at) in sorted(enumerate(spec), key=lambda item: item[1][2]):
        served += engine.advance(at)
        engine.submit(LengthRequest(id=str(number), prompt_tokens=prompt, output_tokens=output), at)
    return served + engine.drain(), engine


def _with_text(
    spec: list[tuple[int, int, float]], config: EngineConfig
) -> tuple[dict[str, tuple[float, float]], Engine]:
    """First and last token of each request, stepped as a driver would."""
    engine, found = Engine(config), {}
    coming = sorted(((at, n) for n, (_, _, at) in enumerate(spec)), reverse=True)
    now = 0.0
    first: dict[str, float] = {}
    while coming or engine.has_work:
        if not engine.has_work:
            now = max(now, coming[-1][0])
        while coming and coming[-1][0] <= max(now, engine.host_free):
            at, number = coming.pop()
            prompt, output, _ = spec[number]
            ids = [1000 * (number + 1) + i for i in range(prompt)]
            engine.submit(
                EngineRequest(id=str(number), prompt_ids=ids, max_tokens=output, forced_ids=(7,) * 200, arrival=at), at
            )
        step = engine.step(now)
        now = step.ends_at
        for out in step.outputs:
            first.setdefault(out.request_id, step.ends_at)
            if out.finish_reason:
                found[out.request_id] = (first[out.request_id], step.ends_at)
    return found, engine


@settings(max_examples=60, deadline=None)
@given(spec=REQUESTS, changes=SETTINGS)
def test_times_are_those_of_the_engine_with_text(spec: list[tuple[int, int, float]], changes: dict[str, Any]) -> None:
    config = _config(**changes)
    served, virtual = _virtual(spec, config)
    expected, engine = _with_text(spec, config)
    assert {s.id for s in served} == set(expected)
    for s in served:
        assert (s.first_token_at, s.finished_at) == pytest.approx(expected[s.id], rel=1e-9, abs=1e-9)
    assert virtual.stats().preemptions == engine.stats().preemptions
    assert virtual.stats().generation_tokens == engine.stats().generation_tokens


@settings(max_examples=60, deadline=None)
@given(spec=REQUESTS, changes=SETTINGS)
def test_stretches_change_no_time(spec: list[tuple[int, int, float]], changes: dict[str, Any]) -> None:
    config = _config(**changes)
    results: list[float] = []
    fast, quick = _virtual(spec, config)
    slow, general = _virtual(spec, config, on_result=lambda at, _ids: results.append(at))
    assert [s.id for s in fast] == [s.id for s in slow]
    for one, two in zip(fast, slow, strict=True):
        assert one[1:5] == pytest.approx(two[1:5], rel=1e-9, abs=1e-9)
        assert one[5:] == two[5:]
    assert quick.steps == general.steps
    assert quick.gaps.total == general.gaps.total
    assert (quick.stats().kv_usage, quick.stats().running) == (0.0, 0)
    assert results == sorted(results)


@settings(max_examples=30, deadline=None)
@given(spec=REQUESTS)
def test_each_request_is_served_once_with_its_lengths_in_order_of_time(spec: list[tuple[int, int, float]]) -> None:
    served, engine = _virtual(spec, _config())
    assert sorted(s.id for s in served) == sorted(str(n) for n in range(len(spec)))
    assert [s.finished_at for s in served] == sorted(s.finished_at for s in served)
    for s in served:
        prompt, output, at = spec[int(s.id)]
        assert (s.prompt_tokens, s.output_tokens, s.arrival) == (prompt, min(output, 160 - prompt), at)
        assert s.arrival <= s.scheduled_at < s.first_token_at <= s.finished_at
    assert engine.stats().generation_tokens == sum(s.output_tokens for s in served)
    assert engine.gaps.total == sum(s.output_tokens - 1 for s in served)


def test_advancing_in_small_steps_gives_the_same() -> None:
    spec = [(40, 100, 0.0), (70, 80, 0.05), (20, 90, 0.3)]
    whole, _ = _virtual(spec, _config())
    engine, parts, coming = VirtualEngine(_config()), [], list(enumerate(spec))
    for tick in range(1, 3000):
        while coming and coming[0][1][2] < tick / 1000:
            number, (prompt, output, at) = coming.pop(0)
            parts += engine.advance(at)
            engine.submit(LengthRequest(id=str(number), prompt_tokens=prompt, output_tokens=output), at)
        parts += engine.advance(tick / 1000)
        assert all(s.finished_at <= tick / 1000 for s in parts)
    assert [s.id for s in parts] == [s.id for s in whole]
    for one, two in zip(parts, whole, strict=True):
        assert one[1:5] == pytest.approx(two[1:5], rel=1e-9)


def test_equal_hashes_are_shared_and_others_are_not() -> None:
    engine = VirtualEngine(_config())
    for number, hashes in enumerate([(1, 2, 3), (1, 2, 9), ()]):
        engine.submit(LengthRequest(id=str(number), prompt_tokens=64, output_tokens=2, hashes=hashes), number * 1.0)
        (served,) = engine.advance(number + 0.9)
        assert served.cached_tokens == [0, 32, 0][number]
    assert engine.stats().prefix_hits == 32


def test_abort_frees_everything() -> None:
    engine = VirtualEngine(_config())
    engine.submit(LengthRequest(id="a", prompt_tokens=64, output_tokens=90), 0.0)
    engine.advance(0.1)
    assert engine.abort("a")
    assert not engine.abort("a")
    assert (engine.stats().kv_usage, engine.has_work, engine.next_at) == (0.0, False, float("inf"))
    engine.submit(LengthRequest(id="a", prompt_tokens=64, output_tokens=3), 5.0)
    assert [s.output_tokens for s in engine.drain()] == [3]


@pytest.mark.parametrize(
    ("prompt", "output", "message"), [(0, 1, "at least one"), (1, 0, "at least one"), (160, 1, "context of 160")]
)
def test_request_that_can_never_run_is_refused(prompt: int, output: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        VirtualEngine(_config()).submit(LengthRequest(id="r", prompt_tokens=prompt, output_tokens=output), 0.0)


@given(st.lists(st.floats(1e-4, 10), min_size=1, max_size=100))
def test_gap_quantiles_are_within_two_percent(values: list[float]) -> None:
    gaps = TokenGaps()
    for value in values:
        gaps.add(value, 1)
    ordered = sorted(values)
    assert gaps.quantile(1.0) == pytest.approx(ordered[-1], rel=0.02)
    assert gaps.quantile(0.5) == pytest.approx(ordered[(len(ordered) + 1) // 2 - 1], rel=0.02)
    assert TokenGaps().quantile(0.5) == 0.0


@settings(max_examples=30, deadline=None)
@given(spec=REQUESTS)
def test_each_first_token_is_told_once_with_its_place_in_the_step(spec: list[tuple[int, int, float]]) -> None:
    told: dict[str, float] = {}
    results: dict[float, list[str]] = {}

    def note(at: float, name: str, before: int) -> None:
        assert name not in told
        told[name] = at
        places[name] = before

    places: dict[str, int] = {}
    served, _ = _virtual(spec, _config(), on_first=note)
    watched, _ = _virtual(spec, _config(), on_result=lambda at, ids: results.update({at: ids}))

    assert told == pytest.approx({one.id: one.first_token_at for one in served})
    assert {one.id for one in watched} == set(told)
    for one in watched:
        assert results[one.first_token_at].index(one.id) == places[one.id]
