"""A model scales by the same numbers here as in the trigger that asks Prometheus."""

from __future__ import annotations

import pytest

from penstock.operate.scaling.policy import LEAD_S_MAX, Policy, policies_of
from plan.manifests.sites import OPEN, site_from

MODELS = """\
  models:
    - {name: plain, source: Qwen/Qwen3-8B, hardware: {gpu: H100}, autoscaling: {maxReplicas: 4}}
    - name: ours
      source: Qwen/Qwen3-8B
      hardware: {gpu: H100}
      scheduling: {spot: allowed, onDemandReplicas: 1}
      autoscaling: {via: penstock, maxReplicas: 4, targetConcurrency: 12}
    - name: sleepy
      source: Qwen/Qwen3-8B
      hardware: {gpu: H100}
      autoscaling: {via: penstock, minReplicas: 0, maxReplicas: 4}
  kubernetes: {controller: true}
"""


def test_only_models_that_ask_for_it_are_forecast() -> None:
    found = policies_of(site_from(MODELS + OPEN))

    assert list(found) == ["ours", "sleepy"]
    assert (found["ours"].target, found["ours"].floor, found["ours"].may_sleep) == (12.0, 1, False)
    assert (found["sleepy"].floor, found["sleepy"].may_sleep) == (0, True)
    assert all(0 < policy.lead_s <= LEAD_S_MAX for policy in found.values())


@pytest.mark.parametrize(("requests", "replicas"), [(0, 0), (1, 1), (8, 1), (8.1, 2), (80, 10)])
def test_replicas_are_reckoned_as_an_hpa_does(requests: float, replicas: int) -> None:
    assert Policy(model="chat", target=8.0).replicas_for(requests) == replicas
