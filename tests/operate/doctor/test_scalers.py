"""HPAs and ScaledObjects in one shape."""

from __future__ import annotations

from operate.doctor.faults import read
from penstock.operate.doctor import evidence_of_text, resource_of
from penstock.operate.doctor.scalers import scaler_of, target_key


def test_a_scaled_object_has_kedas_defaults() -> None:
    resource = resource_of(
        {"kind": "ScaledObject", "spec": {"scaleTargetRef": {"name": "a"}, "triggers": [{"type": "cpu"}]}}
    )
    scaler = scaler_of(resource)

    assert scaler is not None
    assert (scaler.min_replicas, scaler.max_replicas, scaler.key) == (0, 100, ("", "Deployment", "a"))
    assert [s.metrics for s in scaler.signals] == [["cpu"]]


def test_an_hpa_s_metrics_are_its_signals() -> None:
    resources = evidence_of_text(read("small.yaml"), "small.yaml").resources
    (scaler,) = [s for r in resources if (s := scaler_of(r)) is not None]

    assert [(s.type, s.metric) for s in scaler.signals] == [("Pods", "vllm_requests_in_flight")]
    assert scaler.key == target_key(resources[0])


def test_what_keda_made_is_known() -> None:
    made = resource_of({"kind": "HorizontalPodAutoscaler", "metadata": {"name": "keda-hpa-a"}, "spec": {}})
    scaler = scaler_of(made)

    assert scaler is not None
    assert scaler.is_made_by_keda
    assert scaler_of(resource_of({"kind": "Pod"})) is None
