"""The words of a plan carry the plan's own figures."""

from __future__ import annotations

from dataclasses import replace

import pytest

from penstock.plan import ModelPlan, Objectives, demand_of_requests, plain_demand, size
from penstock.plan.reasons import changes, dollars, figure, gib, notes, reasons, shown_runners_up, verdict
from plan.asks import a_plan, an_ask


@pytest.mark.parametrize(
    ("value", "text"), [(16_500_000_000, "15.4 GiB"), (2 << 30, "2 GiB"), (1536 << 30, "1,536 GiB"), (0, "0 GiB")]
)
def test_bytes_read_as_gib(value: int, text: str) -> None:
    assert gib(value) == text


def test_money_and_figures_are_short() -> None:
    assert [dollars(m) for m in (12_345_678, 1_234_567_890, 36_400)] == ["$12.35", "$1,234.57", "$0.036"]
    assert [figure(v) for v in (1397.2, 14.73, 0.9241)] == ["1,397", "14.7", "0.924"]


def test_reasons_name_memory_capacity_and_count() -> None:
    plan = a_plan(rate=20, gpus="H100", objectives=Objectives(itl_ms=20))
    text = " ".join(reasons(plan))

    assert f"{plan.choice.estimate.memory.kv_tokens:,} tokens" in text
    assert f"{figure(plan.choice.capacity)} requests/s: beyond that ITL ≤ 20 ms would not hold" in text
    assert f"so {plan.choice.replicas} replica" in text
    assert "cheapest that holds the objectives" in text


def test_without_a_rate_nothing_is_claimed_about_load() -> None:
    assert "nothing is sized for load" in " ".join(reasons(a_plan(rate=0)))


def test_a_lower_utilization_is_explained() -> None:
    assert "come on top of it" in " ".join(reasons(a_plan("Qwen/Qwen3-0.6B", gpus="T4")))


def test_too_few_replicas_in_the_file_are_noted() -> None:
    few, many = (" ".join(notes(a_plan(rate=60, gpus="H100", replicas=n))) for n in (1, 60))

    assert "`replicas: 1` is too few" in few
    assert "more than the demand needs" in many
    assert notes(a_plan(rate=60, gpus="H100", replicas=a_plan(rate=60, gpus="H100").choice.replicas)) == ()


def test_a_changed_number_type_is_noted() -> None:
    assert "quantization changes answers" in " ".join(notes(a_plan(gpus="H100", quantization="fp8")))
    assert "no FP8 units" in " ".join(notes(a_plan(gpus="A100", quantization="fp8-weights")))
    assert "FlashInfer" in " ".join(notes(a_plan(gpus="A100", kv_dtype="fp8")))
    assert "float16" in " ".join(notes(a_plan("Qwen/Qwen3-0.6B", gpus="T4")))


def test_a_verdict_says_what_it_would_cost_and_why_not() -> None:
    ask = an_ask(gpus="H100", rate=20, objectives=Objectives(ttft_ms=500))
    plan = size(replace(ask, is_gpu_given=True, rivals=an_ask(gpus="L40S T4").gpus))
    assert isinstance(plan, ModelPlan)
    verdicts = {o.layout.words + o.quantization: verdict(plan, o) for o in (*plan.runners_up, *plan.impossible)}

    assert any("H100 is asked for" in words for words in verdicts.values())
    assert any("changes the weights" in words for words in verdicts.values())
    assert all(words for words in verdicts.values())


def test_a_runner_up_that_misses_a_promise_says_which() -> None:
    plan = a_plan("meta-llama/Llama-3.1-70B", rate=1, objectives=Objectives(itl_ms=40))

    assert any(verdict(plan, o).startswith("misses ITL ≤ 40 ms even") for o in plan.runners_up)


def test_few_runners_up_are_shown_and_none_twice() -> None:
    plan = a_plan(rate=20)
    shown = shown_runners_up(plan)

    assert 1 <= len(shown) <= 9
    assert len({(o.layout.words, o.quantization) for o in shown}) == len(shown)


def test_changes_name_the_demand_that_still_fits() -> None:
    plan = a_plan(rate=20, gpus="H100 L40S")
    text = " ".join(changes(plan))

    assert f"up to {figure(plan.choice.capacity * plan.choice.replicas)} requests/s" in text
    assert "would win below $" in text
    assert "contextLength: 40960" in text


def test_a_promise_that_costs_replicas_is_named() -> None:
    plan = a_plan(rate=100, gpus="H100", objectives=Objectives(itl_ms=18))

    assert any(words.startswith("Objectives: without ITL ≤ 18 ms") for words in changes(plan))


def test_weights_that_would_save_money_are_named() -> None:
    plan = a_plan("meta-llama/Llama-3.1-70B", rate=0.5, gpus="H100")

    assert any("`quantization: fp8`" in words or "`quantization: awq`" in words for words in changes(plan))


def test_recorded_requests_beyond_the_context_are_noted() -> None:
    rows = [(float(n), 60_000 if n % 20 == 0 else 500, 50) for n in range(400)]
    demand = demand_of_requests(rows, words="r")

    assert "they will be refused" in " ".join(notes(a_plan(gpus="H100", demand=demand)))
    assert "refused" not in " ".join(notes(a_plan("meta-llama/Llama-3.1-8B", gpus="H200", demand=demand)))


def test_a_record_tells_what_scaling_would_save() -> None:
    busy = [(n / 50, 1000, 200) for n in range(50 * 600)]
    quiet = [(600 + n * 1.0, 1000, 200) for n in range(3 * 3600)]
    plan = a_plan(gpus="H100", demand=demand_of_requests([*busy, *quiet], words="r"))

    assert any(words.startswith("Scaling: ") and "less than" in words for words in changes(plan))


def test_no_price_is_no_claim_about_cost() -> None:
    assert "No price is known" in " ".join(reasons(a_plan(gpus="MI300X", is_gpu_given=True)))


def test_demand_words_are_kept() -> None:
    assert plain_demand(3).words in a_plan(rate=3).ask.demand.words
