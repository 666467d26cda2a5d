"""What of the monitoring is rendered when."""

from __future__ import annotations

import pytest

from penstock.plan.manifests.monitoring import monitoring
from plan.manifests.sites import OPEN, site_from

MODEL = "  models: [{name: a, source: Qwen/Qwen3-8B, hardware: {gpu: H100}%s}]\n"
MONITORS = ["PodMonitor", "ServiceMonitor"]
RULES = ["PrometheusRule"] * 3  # recorded series, the model's own, alerts


@pytest.mark.parametrize(
    ("block", "scales", "kinds"),
    [
        pytest.param("", False, [], id="nobody asked"),
        pytest.param("", True, MONITORS, id="scaling asks Prometheus, which must know"),
        pytest.param("  monitoring: {}\n", False, [*MONITORS, *RULES, "ConfigMap"], id="all of it"),
        pytest.param("  monitoring: {alerts: false}\n", False, [*MONITORS, "ConfigMap"], id="no alerts"),
        pytest.param("  monitoring: {dashboards: false}\n", False, [*MONITORS, *RULES], id="no dashboards"),
    ],
)
def test_what_watches_is_there_when_it_is_asked_for_or_needed(block: str, scales: bool, kinds: list[str]) -> None:
    model = MODEL % (", autoscaling: {maxReplicas: 2}" if scales else "")

    assert [manifest.kind for manifest in monitoring(site_from(block + model + OPEN))] == kinds
