"""Every configuration that could serve a model, sized or ruled out."""

from __future__ import annotations

import pytest

from penstock.plan import Objectives, plain_demand
from penstock.plan.options import HEADROOM, Option, context_of, options_of, tuned
from plan.asks import an_ask


def the_option(gpus: str = "H100", **changes: object) -> Option:
    ask = an_ask(gpus=gpus, **{"count": 1, "quantization": "none", "is_gpu_given": True, **changes})  # type: ignore[arg-type]
    (option,) = options_of(ask)
    return option


def test_shapes_divide_the_heads_and_a_second_machine_is_last() -> None:
    shapes = [(o.layout.tensor, o.layout.pipeline) for o in options_of(an_ask("Qwen/Qwen2.5-7B", gpus="H100"))]

    assert shapes[:4] == [(1, 1), (2, 1), (4, 1), (4, 2)]  # 28 heads


def test_what_is_said_is_all_that_is_tried() -> None:
    options = list(options_of(an_ask(gpus="H100", count=8, pipeline=2, data=2, quantization="fp8")))

    assert [(o.layout.tensor, o.layout.pipeline, o.layout.data) for o in options] == [(2, 2, 2)]


def test_a_replica_is_never_planned_beyond_its_headroom() -> None:
    option = the_option()

    assert option.capacity == pytest.approx(HEADROOM * option.saturation)


def test_an_objective_lowers_the_capacity_and_holds_at_it() -> None:
    option = the_option(objectives=Objectives(itl_ms=15))

    assert 0 < option.capacity < HEADROOM * option.saturation
    assert not option.missed(option.at_capacity)


def test_an_objective_that_never_holds_leaves_no_capacity() -> None:
    option = the_option(objectives=Objectives(itl_ms=1))

    assert (option.capacity, option.replicas) == (0, 0)
    assert option.missed(option.alone) == ("ITL",)


def test_weights_that_do_not_fit_rule_it_out() -> None:
    option = the_option(model="meta-llama/Llama-3.1-70B")

    assert not option.is_possible
    assert "does not fit" in option.why_not


def test_no_room_for_one_request_rules_it_out() -> None:
    option = the_option("L4", model="meta-llama/Llama-3.1-8B", context=80_000)

    assert "one request of 80,000 tokens needs" in option.why_not


def test_free_hardware_must_hold_several_requests_of_full_context() -> None:
    free = next(o for o in options_of(an_ask(gpus="L4")) if o.layout.tensor == 1 and o.quantization == "none")
    fixed = the_option("L4")

    assert "is the least that is planned with" in free.why_not
    assert fixed.is_possible


def test_context_follows_the_longest_request_and_the_model() -> None:
    assert context_of(an_ask(context=5000)) == 5000
    assert context_of(an_ask()) == 8192
    assert context_of(an_ask(demand=plain_demand(1, 4000, 1000))) == 32_768
    assert context_of(an_ask("TinyLlama/TinyLlama-1.1B-Chat-v1.0", demand=plain_demand(1, 500, 100))) == 2048


def test_tuning_lets_no_capacity_go() -> None:
    for objectives in (Objectives(), Objectives(itl_ms=20), Objectives(ttft_ms=300)):
        option = the_option(objectives=objectives)
        after = tuned(option)
        assert after.layout.max_num_seqs <= option.layout.max_num_seqs
        assert after.capacity >= 0.95 * option.capacity


def test_tuning_leaves_what_is_said() -> None:
    option = the_option(max_num_seqs=77)

    assert tuned(option) is option
    assert option.layout.max_num_seqs == 77


def test_a_floor_is_below_the_price() -> None:
    for option in options_of(an_ask(objectives=Objectives(ttft_ms=500, itl_ms=30), rate=40)):
        if option.is_possible and option.capacity and option.price is not None:
            assert option.price_floor <= option.price


def test_data_parallel_engines_add_up() -> None:
    one, two = the_option(), the_option(count=2, data=2)

    assert two.capacity == pytest.approx(2 * one.capacity, rel=0.1)
