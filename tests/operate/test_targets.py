"""From the fleet file to what the supervisor wants."""

from __future__ import annotations

import pytest

from penstock.errors import SpecError
from penstock.operate.engines import EngineFacts
from penstock.operate.events import ModelTarget
from penstock.operate.targets import fleet_targets
from penstock.serve.config import compile_gateway
from penstock.spec import ModelSpec
from penstock.spec.document import parse_document
from penstock.spec.loader import load_fleet

HEAD = "apiVersion: penstock.dev/v1alpha1\nkind: Fleet\nmetadata: {name: demo}\nspec:\n  models:\n"


def nothing_here(_: ModelSpec) -> EngineFacts:
    return EngineFacts(python="python", vllm_command=None, vllm_absence="no vllm", source_path=None)


def targets_of(models: str) -> tuple[ModelTarget, ...]:
    text = HEAD + models
    fleet = load_fleet(text, "fleet.yaml")
    report = parse_document(text, "fleet.yaml").problem
    return fleet_targets(fleet, compile_gateway(fleet, {}).models, survey=nothing_here, report=report)


def test_a_model_is_wanted_with_its_replicas_and_time_limits() -> None:
    (chat,) = targets_of("  - {name: chat, replicas: 3, engine: {startTimeoutS: 5.0, stopTimeoutS: 6.0}}\n")
    assert chat.plan is not None
    assert (chat.name, chat.replicas, chat.start_timeout_s, chat.stop_timeout_s) == ("chat", 3, 5.0, 6.0)
    assert chat.plan.kind == "simulated"


def test_a_model_that_runs_elsewhere_needs_no_engine_and_keeps_the_gateways_names() -> None:
    (far,) = targets_of("  - {name: far, endpoints: ['http://10.0.0.1:9001', 'http://10.0.0.2']}\n")
    assert far.plan is None
    assert [(a.id, a.host, a.port) for a in far.addresses] == [("far-0", "10.0.0.1", 9001), ("far-1", "10.0.0.2", 80)]


def test_every_missing_path_is_told_with_its_line() -> None:
    with pytest.raises(SpecError) as caught:
        targets_of("  - name: a\n    source: ./gone\n  - name: b\n  - name: c\n    source: /gone\n")
    found = [(p.line, p.column, p.field) for p in caught.value.problems]
    assert found == [(7, 13, "spec.models[0].source"), (10, 13, "spec.models[2].source")]
