"""On which nodes a replica runs."""

from __future__ import annotations

import pytest

from penstock.spec import GpuClassSpec, TolerationSpec
from penstock.spec.loader import load_fleet
from spec.fleets import fleet_text, the_problem


def with_classes(text: str) -> str:
    return fleet_text().replace("spec:\n", f"spec:\n  hardware: {{classes: {text}}}\n")


def test_nodes_have_eight_gpus_and_none_to_spare_unless_said() -> None:
    entry = GpuClassSpec(gpu="H100")

    assert (entry.resource, entry.gpus_per_node, entry.spare_gpus) == ("nvidia.com/gpu", 8, 0)


@pytest.mark.parametrize(
    ("text", "field", "words"),
    [
        ("[{gpu: H100}, {gpu: h100}]", "classes[1].gpu", "classes[0] already"),
        ("[{gpu: H100, draClass: gpu.nvidia.com, timeSlices: 4}]", "classes[0].timeSlices", "draClass"),
        ("[{gpu: H100, tolerations: [{key: spot, value: yes}]}]", "classes[0].tolerations[0].value", "Exists"),
        (
            "[{gpu: H100, tolerations: [{key: spot, operator: Equal}]}]",
            "classes[0].tolerations[0]",
            "without a `value`",
        ),
        ("[{gpu: H100, nodeSelector: {pool: 'a b'}}]", "classes[0].nodeSelector.pool", "letters"),
    ],
)
def test_a_class_that_cannot_be_is_told(text: str, field: str, words: str) -> None:
    problem = the_problem(with_classes(text))

    assert problem.field == f"spec.hardware.{field}"
    assert words in problem.message


def test_a_taint_is_stood_whatever_its_value() -> None:
    fleet = load_fleet(with_classes("[{gpu: H100, tolerations: [{key: cloud.google.com/gke-spot}]}]"), "f")

    assert fleet.spec.hardware.classes[0].tolerations == [TolerationSpec(key="cloud.google.com/gke-spot")]


def test_a_floor_off_spot_nodes_needs_spot_nodes() -> None:
    problem = the_problem(fleet_text(model="scheduling: {onDemandReplicas: 2}"))

    assert problem.field == "spec.models[0].scheduling.onDemandReplicas"
