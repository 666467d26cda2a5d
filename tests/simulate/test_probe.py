"""A probe asks what tells speeds apart, reads steps off answers, and finds the calibration that made them."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.errors import PenstockError
from penstock.facts import find_gpu, find_model
from penstock.perf import Calibration, StepTime, default_calibration
from penstock.simulate.probe import (
    Measured,
    Probed,
    Round,
    Seen,
    calibrate,
    measure,
    plan_rounds,
    prompt_ids,
)

PROBED = Probed(
    model=find_model("meta-llama/Llama-3.1-8B"), gpu=find_gpu("H100"), made_on="2026-11-20", engine="vLLM 0.32.0"
)
WARM_UP = (Round(kind="prefill", requests=1, prompt_tokens=8, output_tokens=1), [])


def engine_rounds(truth: Calibration) -> list[Measured]:
    """What an engine of this calibration would show."""
    times = StepTime(PROBED.model, PROBED.gpu, calibration=truth)
    decodes = [(1, 111), (4, 111), (16, 111), (48, 111), (96, 111), (8, 3120)]
    rows = [Measured(kind="decode", requests=n, tokens=c, seconds=times.decode_s(n, c)) for n, c in decodes]
    front = truth.front_end
    for tokens in (128, 512, 2048, 6144):
        seconds = times.prefill_s(tokens) + front.before(tokens) + front.after(tokens)
        rows.append(Measured(kind="prefill", requests=1, tokens=tokens, seconds=seconds))
    return rows


def slower(factor: float) -> Calibration:
    """An H100 whose every part is slower than the default says."""
    default = default_calibration(PROBED.gpu)
    o = default.overheads
    return replace(
        default,
        overheads=replace(
            o,
            bandwidth_share=o.bandwidth_share / factor,
            kv_bandwidth_share=o.kv_bandwidth_share / factor,
            matmul_share=o.matmul_share / factor,
            attention_share=o.attention_share / factor,
            layer_s=o.layer_s * factor,
        ),
        host=default.host.scaled(factor),
        front_end=default.front_end.scaled(factor),
    )


@pytest.mark.parametrize("factor", [0.8, 1.0, 1.3, 1.6])
def test_the_engine_that_was_measured_is_found_again(factor: float) -> None:
    fit = calibrate(engine_rounds(slower(factor)), PROBED, name="ours")

    assert fit.error_after < 0.05
    assert fit.error_after <= fit.error_before + 0.01


def test_a_calibration_says_where_it_is_from_and_survives_its_file() -> None:
    calibration = calibrate(engine_rounds(slower(1.2)), PROBED, name="ours").calibration

    assert calibration.name == "ours"
    assert "h100-data-sheet" in calibration.source
    assert (calibration.engine, calibration.made_on) == ("vLLM 0.32.0", "2026-11-20")
    assert Calibration.from_json(calibration.to_json()) == calibration


def test_the_same_measurements_give_the_same_calibration() -> None:
    rows = engine_rounds(slower(1.2))

    assert calibrate(rows, PROBED, name="a") == calibrate(rows, PROBED, name="a")


@pytest.mark.parametrize("factor", [30.0, 1000.0])
def test_a_machine_far_from_the_data_sheet_is_found_too_and_told(factor: float) -> None:
    """As a CPU that is calibrated as a GPU: each rate lower by another factor, the host as it was."""
    default = default_calibration(PROBED.gpu)
    o = default.overheads
    truth = replace(
        default,
        overheads=replace(
            o,
            bandwidth_share=o.bandwidth_share / factor,
            kv_bandwidth_share=o.kv_bandwidth_share / factor,
            matmul_share=o.matmul_share / factor / 4,
            attention_share=o.attention_share / factor,
        ),
    )
    fit = calibrate(engine_rounds(truth), PROBED, name="far")

    assert fit.is_far
    assert fit.slowness > factor / 4
    assert fit.error_after < 0.03
    other = StepTime(PROBED.model, PROBED.gpu, calibration=fit.calibration)
    true = StepTime(PROBED.model, PROBED.gpu, calibration=truth)
    for requests, context in ((2, 500), (32, 700)):  # that were not probed
        assert other.decode_s(requests, context) == pytest.approx(true.decode_s(requests, context), rel=0.15)
    assert other.prefill_s(1000) == pytest.approx(true.prefill_s(1000), rel=0.15)


def test_a_gpu_that_is_only_somewhat_slower_is_not_far() -> None:
    assert not calibrate(engine_rounds(slower(1.8)), PROBED, name="ours").is_far


def test_what_stays_unexplained_widens_the_interval() -> None:
    rows = engine_rounds(slower(1.0))
    odd = [*rows, Measured(kind="decode", requests=32, tokens=111, seconds=0.5)]

    plain, wide = (calibrate(r, PROBED, name="a").calibration.errors["itl"] for r in (rows, odd))
    assert wide[1] > 3 * plain[1]


def test_rounds_fit_the_engine() -> None:
    for asked in plan_rounds(600, max_num_seqs=16):
        assert asked.prompt_tokens + asked.output_tokens <= 600
        assert asked.requests <= 16
    assert max(r.prompt_tokens for r in plan_rounds(2048)) == 2047  # the longest that there is
    long = plan_rounds(131072)
    assert max(r.requests for r in long) == 96
    assert {r.prompt_tokens for r in long if r.kind == "prefill"} == {128, 512, 2048, 6144}


def answers(step_s: float, requests: int, tokens: int, late_s: float = 0.0) -> list[Seen]:
    """A group that decodes in step; each request begins a little after the one before."""
    return [
        Seen(sent_s=0.0, first_s=1.0 + n * late_s, gaps_s=(step_s,) * (tokens - 1), prompt_tokens=64)
        for n in range(requests)
    ]


def test_a_step_is_read_while_all_decode() -> None:
    single = Round(kind="prefill", requests=1, prompt_tokens=64, output_tokens=1)
    group = Round(kind="decode", requests=8, prompt_tokens=64, output_tokens=96)
    slow_start = [Seen(sent_s=0.0, first_s=0.5, gaps_s=(0.3, *(0.01,) * 94), prompt_tokens=64)]

    found = measure([WARM_UP, (single, answers(0.01, 1, 1)), (group, [*answers(0.01, 7, 96, 0.001), *slow_start])])

    (decode,) = [m for m in found if m.kind == "decode"]
    assert decode.requests == 8
    assert decode.seconds == pytest.approx(0.01, rel=0.05)
    assert 64 < decode.tokens < 160


def test_a_prefill_is_the_median_of_its_repeats() -> None:
    single = Round(kind="prefill", requests=1, prompt_tokens=512, output_tokens=1)
    group = Round(kind="decode", requests=1, prompt_tokens=64, output_tokens=96)
    repeats = [(single, [Seen(sent_s=0.0, first_s=t, gaps_s=(), prompt_tokens=512)]) for t in (9.0, 0.2, 0.3, 0.25)]

    found = measure([WARM_UP, *repeats, (group, answers(0.01, 1, 96))])

    assert [m.seconds for m in found if m.kind == "prefill"] == [pytest.approx(0.275)]


def test_too_little_is_no_measurement() -> None:
    group = Round(kind="decode", requests=2, prompt_tokens=64, output_tokens=4)

    with pytest.raises(PenstockError, match="showed too little"):
        measure([WARM_UP, (group, answers(0.01, 2, 4))])


@given(st.integers(0, 2**32), st.integers(1, 300), st.sampled_from([512, 30522, 152064]))
def test_prompts_are_tokens_of_the_vocabulary_and_repeat_with_their_seed(seed: int, tokens: int, vocab: int) -> None:
    ids = prompt_ids(Random(seed), tokens, vocab)

    assert len(ids) == tokens
    assert all(0 <= i < vocab for i in ids)
    assert ids == prompt_ids(Random(seed), tokens, vocab)
