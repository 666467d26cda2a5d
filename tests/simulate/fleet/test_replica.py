"""A replica alone: the engine's own times, with the API server's before and after them."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.perf import FrontEndTime, default_calibration
from penstock.simulate.engine import EngineConfig, LengthRequest, TokenGaps, VirtualEngine, replay_open_loop
from penstock.simulate.fleet.replica import Answer, Replica
from penstock.simulate.fleet.report import draw_up
from penstock.simulate.fleet.run import simulate
from penstock.simulate.workload import generate
from penstock.simulate.workload.report import percentile
from simulate.fleet.rig import H200, NO_QUEUE, engine, scenario, traffic

FREE = replace(
    default_calibration(H200),
    front_end=FrontEndTime(
        before_s=0,
        before_per_prompt_token_s=0,
        after_s=0,
        after_per_prompt_token_s=0,
        per_token_s=0,
        transit_token_s=0,
    ),
)
REQUESTS = st.lists(st.tuples(st.integers(1, 900), st.integers(1, 60), st.floats(0, 2)), min_size=1, max_size=12)


def _alone(config: EngineConfig, spec: list[tuple[int, int, float]]) -> list[Answer]:
    one, answers = Replica("chat-0", config, TokenGaps()), []
    for number, (prompt, output, at) in enumerate(sorted(spec, key=lambda item: item[2])):
        answers += one.advance(at)
        assert one.receive(prompt, at) == at
        one.submit(LengthRequest(id=str(number), prompt_tokens=prompt, output_tokens=output), at)
    return answers + one.advance(1e6)


@settings(max_examples=40, deadline=None)
@given(spec=REQUESTS)
def test_with_a_free_api_server_its_times_are_the_engines(spec: list[tuple[int, int, float]]) -> None:
    config = engine(calibration=FREE, num_gpu_blocks=300, max_num_seqs=4)
    alone, expected = VirtualEngine(config), []
    for number, (prompt, output, at) in enumerate(sorted(spec, key=lambda item: item[2])):
        expected += alone.advance(at)
        alone.submit(LengthRequest(id=str(number), prompt_tokens=prompt, output_tokens=output), at)
    expected += alone.drain()

    answers = _alone(config, spec)

    assert [(a.id, a.output_tokens) for a in answers] == [(s.id, s.output_tokens) for s in expected]
    for answer, served in zip(answers, expected, strict=True):
        assert answer.first_at == pytest.approx(served.first_token_at)
        assert answer.done_at == pytest.approx(served.finished_at)
        assert answer.queue_s == pytest.approx(served.scheduled_at - served.arrival, abs=1e-9)


@pytest.mark.parametrize(("rate", "within"), [(3.0, 0.02), (14.0, 0.05)])
def test_its_api_server_adds_what_one_that_streams_each_token_does(rate: float, within: float) -> None:
    requests = [session.turns[0] for session in islice(generate("chat", seed=3, rate=rate), 500)]
    config = engine(max_model_len=16_384, num_gpu_blocks=None)
    lengths = [
        LengthRequest(id=str(n), prompt_tokens=r.prompt_tokens, output_tokens=r.output_tokens)
        for n, r in enumerate(requests)
    ]
    exact = replay_open_loop([(r.at_s, one) for r, one in zip(requests, lengths, strict=True)], config, phase=0.0)

    report = draw_up(simulate(traffic(requests), scenario(engine=config, replicas=1, queue=NO_QUEUE)))

    ttft = sorted(one.ttft_s * 1000 for one in exact.answered)
    e2e = sorted(one.e2e_s * 1000 for one in exact.answered)
    gaps = sorted(gap * 1000 for one in exact.answered for gap in one.gaps_s)
    assert report.ttft_ms.p50 == pytest.approx(percentile(ttft, 50), rel=within)
    assert report.ttft_ms.p95 == pytest.approx(percentile(ttft, 95), rel=within)
    assert report.e2e_ms.p95 == pytest.approx(percentile(e2e, 95), rel=within)
    assert report.itl_ms.p50 == pytest.approx(percentile(gaps, 50), rel=0.03)


def test_requests_are_read_one_after_the_other() -> None:
    one = Replica("chat-0", engine(), TokenGaps())

    first, second = one.receive(1000, 5.0), one.receive(1000, 5.0)

    assert 5.0 < first < second
    assert second - first == pytest.approx(first - 5.0)


def test_a_sample_says_what_metrics_would() -> None:
    one = Replica("chat-0", engine(max_num_seqs=1), TokenGaps())
    for name in "abc":
        one.submit(LengthRequest(id=name, prompt_tokens=64, output_tokens=400), 0.0)
    one.advance(0.5)

    sample, stats = one.sample(0.5)

    assert (sample.at, sample.running, sample.waiting) == (0.5, 1, 2)
    assert sample.generation_tokens_total == stats.generation_tokens > 0
    assert one.has_first_token("a")
    assert not one.has_first_token("b")
    one.abort("b")
    assert one.sample(0.6)[0].waiting == 1
