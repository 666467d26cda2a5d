"""From the command line and the file to asks: what holds over what, and where it was said."""

from __future__ import annotations

from pathlib import Path

import pytest

from penstock.cli.plan_asks import PlanOptions, fleet_asks, model_asks
from penstock.errors import SpecError, UsageError
from penstock.plan import Ask, Refusal

HEAD = "apiVersion: penstock.dev/v1alpha1\nkind: Fleet\nmetadata: {name: a}\nspec:\n"


def of_model(**options: object) -> Ask:
    return model_asks(PlanOptions(**{"model": "Qwen/Qwen3-8B", **options})).models[0].ask  # type: ignore[arg-type]


def of_file(tmp_path: Path, text: str, **options: object) -> Ask:
    (tmp_path / "f.yaml").write_text(HEAD + text, encoding="utf-8")
    return fleet_asks(str(tmp_path / "f.yaml"), PlanOptions(**options)).models[0].ask  # type: ignore[arg-type]


MODEL = (
    "  models: [{name: m, source: Qwen/Qwen3-8B, hardware: {gpu: L4}, demand: {requestsPerS: 2, inputTokens: 300}}]\n"
)


def test_gpus_that_need_a_licence_or_another_image_are_not_chosen_unasked() -> None:
    names = {gpu.name for gpu in of_model().gpus}

    assert "H100" in names
    assert not {name for name in names if name.startswith(("RTX", "MI"))}
    assert [gpu.name for gpu in of_model(gpus=("MI300X",)).gpus] == ["MI300X"]


def test_an_option_holds_over_the_file_and_is_where_a_refusal_points(tmp_path: Path) -> None:
    ask = of_file(tmp_path, MODEL, gpus=("H100", "h200"), context=4096)

    assert [gpu.name for gpu in ask.gpus] == ["H100", "H200"]
    assert ask.places["gpu"] == ("--gpu",)
    assert ask.places["context"] == ("--context",)
    assert ask.places["count"] == ("hardware", "count")


def test_the_files_lengths_stay_when_only_the_rate_is_given(tmp_path: Path) -> None:
    demand = of_file(tmp_path, MODEL, rate=9.0).demand

    assert (demand.requests_per_s, demand.prompt_tokens) == (9.0, 300)


def test_a_rate_alone_assumes_lengths() -> None:
    assert "(assumed)" in of_model(rate=3.0).demand.words
    assert of_model(rate=3.0, output_tokens=9).demand.output_tokens == 9


@pytest.mark.parametrize(("text", "ms"), [("ttft=500ms", 500), ("ttft=0.5s", 500), ("TTFT = 500", 500)])
def test_an_objective_reads_with_its_unit(text: str, ms: float) -> None:
    assert of_model(objectives=(text,)).objectives.ttft_ms == ms


def test_any_quantization_frees_the_choice() -> None:
    ask = of_model(quantization="any")

    assert (ask.quantization, ask.is_any_quantization) == (None, True)


def test_the_files_gpus_and_prices_are_the_market(tmp_path: Path) -> None:
    text = "  hardware: {gpus: [H200, a100], usdPerGpuHour: {A100: 1.5}}\n  models: [{name: Qwen/Qwen3-8B}]\n"
    ask = of_file(tmp_path, text)

    assert [gpu.name for gpu in ask.gpus] == ["H200", "A100-80GB"]
    assert ask.prices["A100-80GB"] == 1_500_000


def test_an_unknown_gpu_of_the_fleet_is_told_at_its_place(tmp_path: Path) -> None:
    with pytest.raises(SpecError) as caught:
        of_file(tmp_path, "  hardware: {gpus: [H100, H900]}\n  models: [{name: Qwen/Qwen3-8B}]\n")

    assert caught.value.problems[0].field == "spec.hardware.gpus[1]"


def test_a_trace_contradicts_a_rate(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("t_ms,input_tokens,output_tokens\n0,1,1\n", encoding="utf-8")

    with pytest.raises(UsageError, match="its own rate"):
        of_model(trace=tmp_path / "t.csv", rate=3.0)


def test_a_trace_of_rates_takes_lengths_from_options(tmp_path: Path) -> None:
    (tmp_path / "r.csv").write_text("t_s,a,b\n0,1,2\n600,3,8\n", encoding="utf-8")
    demand = of_model(trace=tmp_path / "r.csv", column="b", input_tokens=77).demand

    assert (demand.requests_per_s, demand.prompt_tokens) == (8.0, 77)


def test_problems_of_options_have_no_line() -> None:
    asked = model_asks(PlanOptions(model="Qwen/Qwen3-8B")).models[0]
    problem = asked.problem(Refusal(about="tensor", message="m", hint="h", at=("--tp",)))

    assert (problem.line, problem.field) == (0, "--tp")
