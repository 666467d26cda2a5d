"""Which object scales which model, and what the cluster must have for it."""

from __future__ import annotations

import pytest

from penstock.plan.manifests.scaling import scaling, scaling_notes
from plan.manifests.sites import OPEN, site_from
from plan.manifests.validation import problems_of

MIXED = """\
  models:
    - {name: fixed, source: Qwen/Qwen3-8B, hardware: {gpu: H100}}
    - {name: keda, source: Qwen/Qwen3-8B, hardware: {gpu: H100}, autoscaling: {maxReplicas: 4}}
    - {name: hpa, source: Qwen/Qwen3-8B, hardware: {gpu: H100}, autoscaling: {via: hpa, maxReplicas: 4}}
    - {name: hpa2, source: Qwen/Qwen3-8B, hardware: {gpu: H100}, autoscaling: {via: hpa, maxReplicas: 4}}
    - {name: ours, source: Qwen/Qwen3-8B, hardware: {gpu: H100}, autoscaling: {via: penstock, maxReplicas: 4}}
  kubernetes: {controller: true}
"""


def test_each_model_that_scales_has_one_object_that_scales_it_and_no_other() -> None:
    objects = [manifest.object for manifest in scaling(site_from(MIXED + OPEN))]

    scalers = [body for body in objects if body["kind"] != "ConfigMap"]
    targets = [body["spec"]["scaleTargetRef"]["name"] for body in scalers]
    assert targets == ["demo-keda", "demo-hpa", "demo-hpa2", "demo-ours"]
    assert [body["kind"] for body in scalers] == [
        "ScaledObject",
        "HorizontalPodAutoscaler",
        "HorizontalPodAutoscaler",
        "ScaledObject",
    ]
    assert problems_of(objects) == []


def test_the_adapters_rule_is_there_once_and_only_where_it_is_needed() -> None:
    mixed = [m.name for m in scaling(site_from(MIXED + OPEN)) if m.kind == "ConfigMap"]

    assert mixed == ["demo-adapter-rule"]
    assert list(scaling(site_from())) == []


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (MIXED, ["KEDA", "prometheus-adapter", "no `monitoring`"]),
        (MIXED + "  monitoring: {}\n", ["KEDA", "prometheus-adapter"]),
        ("  models: [{name: a, source: Qwen/Qwen3-8B, hardware: {gpu: H100}}]\n", []),
    ],
)
def test_a_person_is_told_what_the_cluster_must_have(spec: str, words: list[str]) -> None:
    notes = list(scaling_notes(site_from(spec + OPEN)))

    assert len(notes) == len(words)
    assert all(word in note for word, note in zip(words, notes, strict=True))
