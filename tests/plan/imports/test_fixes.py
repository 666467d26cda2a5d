"""What sizing finds in an imported fleet: proposed, or mended."""

from __future__ import annotations

from typing import Any

from penstock.facts import find_model
from penstock.plan.fleet import size_fleet
from penstock.plan.imports import Imported, mend
from plan.imports.stacks import loaded, model_in, read

LARGE = {"modelURL": "Qwen/Qwen3-VL-235B-A22B-Instruct", "requestGPU": 4, "vllmConfig": {"tensorParallelSize": 4}}


def mended(model: dict[str, Any], *, is_fixing: bool = True) -> Imported:
    return mend(read(model, is_fixing=is_fixing), architecture_of=find_model, is_fixing=is_fixing)


def found(imported: Imported) -> list[tuple[str, str]]:
    return [(note.path, note.outcome) for note in imported.notes if note.path.startswith("spec.models")]


def test_weights_that_do_not_fit_are_made_to_with_the_least_change() -> None:
    imported = mended(LARGE)

    assert model_in(imported)["quantization"] == "fp8"
    assert found(imported) == [("spec.models[0].hardware.count", "fixed")]
    assert size_fleet(loaded(imported), architecture_of=find_model).refusals == ()


def test_nothing_is_touched_that_was_not_asked_to_be_mended() -> None:
    imported = mended(LARGE, is_fixing=False)

    assert "quantization" not in model_in(imported)
    assert found(imported) == [("spec.models[0].hardware.count", "proposed")]


def test_gpus_that_a_model_has_no_use_for_are_given_back() -> None:
    config = {"tensorParallelSize": 4, "gpuMemoryUtilization": 0.85}
    imported = mended({"modelURL": "openai/gpt-oss-120b", "requestGPU": 4, "vllmConfig": config})

    assert model_in(imported)["hardware"]["count"] == 2
    assert "at a fraction of the cost" in imported.text


def test_memory_below_what_the_engine_takes_is_left_to_the_plan() -> None:
    imported = mended({"requestGPU": 1, "requestMemory": "4Gi"})

    assert "resources" not in model_in(imported)


def test_memory_that_holds_the_engine_and_not_its_files_is_enough() -> None:
    imported = mended({"requestGPU": 1, "requestMemory": "12Gi"})

    assert model_in(imported)["resources"]["memory"] == "12Gi"


def test_a_volume_smaller_than_the_model_is_left_to_the_plan() -> None:
    imported = mended({"requestGPU": 1, "pvcStorage": "10Gi", "pvcAccessMode": ["ReadWriteMany"]})

    assert model_in(imported)["storage"] == {"mode": "shared"}


def test_a_model_that_nobody_knows_is_said_and_stays() -> None:
    imported = mended({"modelURL": "nobody/knows"})

    assert model_in(imported)["source"] == "nobody/knows"
    assert found(imported) == [("spec.models[0].source", "left out")]


def test_mending_twice_changes_nothing_more() -> None:
    once = mended(LARGE)

    assert mend(once, architecture_of=find_model, is_fixing=True).body == once.body
