"""The choice: laws that a person would take for granted, and what is refused."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.facts import find_model, mig_slice
from penstock.plan import ModelPlan, Objectives, plain_demand, size
from plan.asks import PRICES, a_plan, an_ask

MODELS = st.sampled_from(
    ["Qwen/Qwen3-8B", "meta-llama/Llama-3.2-1B", "openai/gpt-oss-20b", "Qwen/Qwen3-Embedding-0.6B"]
)
OBJECTIVES = st.sampled_from([Objectives(), Objectives(ttft_ms=800), Objectives(ttft_ms=1000, itl_ms=60)])


def test_the_choice_is_the_cheapest_of_what_holds() -> None:
    plan = a_plan(rate=20, objectives=Objectives(ttft_ms=500, itl_ms=50))

    assert plan.choice.price is not None
    for option in plan.runners_up:
        is_own = option.layout.quantization == plan.choice.layout.quantization
        if is_own and option.capacity > 0:
            assert option.price is not None
            assert option.price >= plan.choice.price


def test_the_choice_keeps_its_promise_at_the_demand() -> None:
    plan = a_plan(rate=20, objectives=Objectives(ttft_ms=500, itl_ms=30))

    assert plan.choice.missed(plan.choice.at_demand) == ()
    assert plan.choice.replicas * plan.choice.capacity >= 20 * 0.95


def test_the_same_ask_gives_the_same_plan() -> None:
    first, second = (a_plan(rate=7, objectives=Objectives(itl_ms=40)) for _ in range(2))

    assert first.choice.layout == second.choice.layout
    assert [o.layout for o in first.runners_up] == [o.layout for o in second.runners_up]
    assert first.curve == second.curve


def test_quantization_is_not_chosen_unless_it_is_left_to_us() -> None:
    assert a_plan(rate=20).choice.quantization == "none"
    free = a_plan(rate=20, is_any_quantization=True)
    assert free.choice.price is not None
    assert free.choice.price <= (a_plan(rate=20).choice.price or 0)
    assert free.choice.quantization != "awq"  # the source has no such weights
    assert {"fp8", "awq"} & {option.quantization for option in a_plan(rate=20).runners_up}


def test_a_named_gpu_is_kept_and_compared() -> None:
    ask = an_ask(gpus="H100")
    plan = size(replace(ask, is_gpu_given=True, rivals=an_ask(gpus="L40S H200").gpus))

    assert isinstance(plan, ModelPlan)
    assert plan.choice.layout.gpu.name == "H100"
    assert {"L40S", "H200"} & {option.layout.gpu.name for option in plan.runners_up}


def test_where_hardware_is_fixed_nothing_else_is_worked_out_before_it_is_asked_for() -> None:
    ask = replace(an_ask(gpus="H100"), is_gpu_given=True, count=1, rivals=an_ask(gpus="L40S H200").gpus)
    plan = size(ask)

    assert isinstance(plan, ModelPlan)
    assert len(plan.allowed) == plan.considered == 1
    assert not {"runners_up", "curve", "impossible"} & set(vars(plan))
    assert {option.layout.gpu.name for option in plan.runners_up} >= {"H100", "H200"}
    assert plan.runners_up is plan.runners_up


def test_a_slice_runs_alone_and_a_larger_one_is_offered_where_it_is_too_small() -> None:
    part, larger = mig_slice("H100", "1g.10gb"), mig_slice("H100", "3g.40gb")
    prices = {**PRICES, part.name: 500_000, larger.name: 2_000_000}
    ask = replace(an_ask(gpus="H100", prices=prices), gpus=(part,), rivals=(larger,), is_gpu_given=True, count=1)

    found = size(ask)
    assert isinstance(found, list)
    assert (found[0].about, found[0].hint) == ("mig", "1× H100-3g.40gb would do")
    plan = size(replace(ask, model=find_model("Qwen/Qwen3-0.6B")))
    assert isinstance(plan, ModelPlan)
    assert plan.choice.layout.words == "1× H100-1g.10gb"
    spans = [o for o in (*plan.runners_up, *plan.impossible) if o.layout.gpu.slice_of and o.layout.gpus > 1]
    assert spans
    assert not any(option.is_possible for option in spans)


def test_without_a_rate_the_files_replicas_stand() -> None:
    plan = a_plan(rate=0, replicas=3)

    assert plan.choice.replicas == 3


def test_a_price_of_ones_own_changes_the_choice() -> None:
    dear = {**PRICES, "H200": 50_000_000}
    cheap = {**PRICES, "H200": 100_000}

    assert a_plan(rate=20, prices=dear).choice.layout.gpu.name != "H200"
    assert a_plan(rate=20, prices=cheap).choice.layout.gpu.name == "H200"


def test_a_gpu_without_a_price_is_planned_when_it_is_asked_for() -> None:
    plan = a_plan(gpus="MI300X", is_gpu_given=True)

    assert plan.choice.price is None


@pytest.mark.parametrize(
    ("changes", "about", "message", "hint"),
    [
        ({"objectives": Objectives(ttft_ms=2)}, "ttft", "TTFT of 2 ms cannot be promised", "or more"),
        ({"objectives": Objectives(itl_ms=0.5)}, "itl", "ITL of 0.5 ms cannot be promised", "or more"),
        (
            {"model": "meta-llama/Llama-3.1-70B", "gpus": "H100", "count": 1, "is_gpu_given": True},
            "count",
            "weights take 131",
            "4× H100 (TP 4) would do",
        ),
        (
            {"model": "meta-llama/Llama-3.1-8B", "gpus": "L4", "count": 1, "is_gpu_given": True, "context": 80_000},
            "context",
            "no room for one",
            "would fit",
        ),
        ({"model": "deepseek-ai/DeepSeek-V3", "gpus": "T4", "is_gpu_given": True}, "gpu", "T4", ""),
    ],
)
def test_what_cannot_work_is_refused_with_what_could(
    changes: dict[str, object], about: str, message: str, hint: str
) -> None:
    found = size(an_ask(**changes))  # type: ignore[arg-type]

    assert isinstance(found, list)
    assert found[0].about == about
    assert message in found[0].message
    assert hint in found[0].hint


@settings(deadline=None, max_examples=25)
@given(MODELS, OBJECTIVES, st.floats(0.1, 200), st.floats(0.1, 200))
def test_more_demand_is_never_fewer_replicas_or_cheaper(
    model: str, objectives: Objectives, one: float, other: float
) -> None:
    less, more = (
        a_plan(model, rate, objectives=objectives, gpus="H100", count=1).choice for rate in sorted((one, other))
    )
    assert less.replicas <= more.replicas
    everywhere = [a_plan(model, rate, objectives=objectives).choice.price or 0 for rate in sorted((one, other))]
    assert everywhere[0] <= everywhere[1]


@settings(deadline=None, max_examples=15)
@given(MODELS, st.floats(0.1, 100), st.integers(100, 2000), st.integers(100, 2000))
def test_a_looser_promise_is_never_dearer(model: str, rate: float, one: int, other: int) -> None:
    loose, tight = (
        a_plan(model, rate, objectives=Objectives(ttft_ms=ms + 100)).choice.price or 0
        for ms in sorted((one, other), reverse=True)
    )
    assert loose <= tight


@settings(deadline=None, max_examples=15)
@given(st.floats(0.1, 50), st.integers(50, 3000), st.integers(50, 3000))
def test_longer_prompts_are_never_fewer_replicas(rate: float, one: int, other: int) -> None:
    short, long = (
        a_plan(gpus="H100", count=1, demand=plain_demand(rate, prompt, 100)).choice.replicas
        for prompt in sorted((one, other))
    )
    assert short <= long
