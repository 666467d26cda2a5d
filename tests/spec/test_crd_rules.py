"""The API server refuses what the loader refuses across fields, and no rule costs it more than it allows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import cel
import pytest
from ruamel.yaml import YAML

from penstock.spec.crd_rules import RULES
from spec.crd_checks import problems, schema
from spec.fleets import fleet_text, problems_of

REFUSED = {
    "alias of another's name": fleet_text(models="{name: b, aliases: [chat]}"),
    "alias of its own name": fleet_text(model="aliases: [chat]"),
    "alias of two models": fleet_text(model="aliases: [x]", models="{name: b, aliases: [x]}"),
    "alias twice": fleet_text(model="aliases: [x, x]"),
    "name twice": fleet_text(models="{name: chat}"),
    "endpoints and hardware": fleet_text(model="endpoints: ['http://h:1'], hardware: {gpu: H100}"),
    "endpoints and replicas": fleet_text(model="endpoints: ['http://h:1'], replicas: 2"),
    "endpoint twice": fleet_text(model="endpoints: ['http://h:1', 'http://h:1']"),
    "code unpinned": fleet_text(model="trustRemoteCode: true, source: a/b"),
    "slices": fleet_text(model="hardware: {gpu: H100, mig: 1g.10gb, count: 2}"),
    "max under min": fleet_text(model="autoscaling: {minReplicas: 3, maxReplicas: 2}"),
    "hpa to zero": fleet_text(model="autoscaling: {via: hpa, minReplicas: 0, maxReplicas: 2}"),
    "hpa by time": fleet_text(
        model="autoscaling: {via: hpa, maxReplicas: 2, schedule: [{name: d, start: 0 8 * * *, end: 0 9 * * *, "
        "replicas: 2}]}"
    ),
    "time over max": fleet_text(
        model="autoscaling: {maxReplicas: 2, schedule: [{name: d, start: 0 8 * * *, end: 0 9 * * *, replicas: 3}]}"
    ),
    "trace and rate": fleet_text(model="demand: {trace: t.jsonl, requestsPerS: 1}"),
    "floor without spot": fleet_text(model="scheduling: {onDemandReplicas: 1}"),
    "value without Equal": fleet_text(model="scheduling: {tolerations: [{key: a, value: b}]}"),
    "Equal without value": fleet_text(model="scheduling: {tolerations: [{key: a, operator: Equal}]}"),
    "gateways": fleet_text(gateway="scale: {maxReplicas: 1}"),
    "route without gateway": fleet_text(gateway="expose: {host: a.b}"),
    "ingress with gateway": fleet_text(gateway="expose: {kind: ingress, host: a.b, gateway: g}"),
    "route with class": fleet_text(gateway="expose: {host: a.b, gateway: g, className: nginx}"),
    "key of nothing": fleet_text(gateway="tenants: [{name: a, keys: [{name: k}]}]"),
    "key twice said": fleet_text(gateway="tenants: [{name: a, keys: [{value: abcdefgh, valueFrom: {env: E}}]}]"),
    "from nowhere": fleet_text(gateway="tenants: [{name: a, keys: [{valueFrom: {}}]}]"),
    "from two places": fleet_text(
        gateway="tenants: [{name: a, keys: [{valueFrom: {env: E, secretKeyRef: {name: s, key: k}}}]}]"
    ),
    "tenant twice": fleet_text(
        gateway="tenants: [{name: a, keys: [{value: abcdefgh}]}, {name: a, keys: [{value: abcdefgi}]}]"
    ),
    "class twice": fleet_text() + "  hardware: {classes: [{gpu: H100}, {gpu: H100}]}\n",
    "provider that is not there": fleet_text(model="fallbacks: [{provider: p}]"),
    "fallback to nobody": fleet_text(model="fallbacks: [{when: [error]}]"),
    "fallback to two": fleet_text(
        model="fallbacks: [{model: b, provider: p}]",
        models="{name: b}",
        gateway="providers: [{name: p, url: 'https://h/v1'}]",
    ),
    "a model's name there without a provider": fleet_text(
        model="fallbacks: [{model: b, providerModel: x}]", models="{name: b}"
    ),
    "provider twice": fleet_text(gateway="providers: [{name: p, url: 'https://h/v1'}, {name: p, url: 'https://i/v1'}]"),
    "provider's key from nowhere": fleet_text(gateway="providers: [{name: p, url: 'https://h/v1', keyFrom: {}}]"),
    "CAs of plain HTTP": fleet_text(gateway="providers: [{name: p, url: 'http://h/v1', caFile: a.pem}]"),
    "rule's name twice": fleet_text(
        gateway="rules: [{name: r, match: {hasTools: true}}, {name: r, match: {hasTools: false}}]"
    ),
    "no prompt fits": fleet_text(gateway="rules: [{name: r, match: {promptTokensMin: 2, promptTokensMax: 1}}]"),
    "default over most": fleet_text(gateway="requests: {outputTokensMax: 1, outputTokensDefault: 2}"),
    "a model's default over most": fleet_text(model="requests: {outputTokensMax: 1, outputTokensDefault: 2}"),
    "password without Redis": fleet_text(gateway="limits: {passwordFrom: {env: P}}"),
    "Redis's password from two places": fleet_text(
        gateway="limits: {url: 'redis://h', passwordFrom: {env: P, secretKeyRef: {name: s, key: k}}}"
    ),
    "slices of time and claims": fleet_text() + "  hardware: {classes: [{gpu: H100, draClass: g, timeSlices: 2}]}\n",
}


def _plain(text: str) -> dict[str, Any]:
    found: dict[str, Any] = YAML(typ="safe", pure=True).load(text)
    return found


@pytest.mark.parametrize("text", REFUSED.values(), ids=REFUSED)
def test_what_the_loader_refuses_across_fields_the_api_server_refuses(text: str) -> None:
    assert problems_of(text)

    assert problems(_plain(text)) != []


@pytest.mark.parametrize(
    "text",
    [
        fleet_text(),
        fleet_text(model="trustRemoteCode: true, source: /models/a"),
        fleet_text(model="trustRemoteCode: true, source: a/b, revision: abc"),
        fleet_text(model="aliases: [x, y]", models="{name: b, aliases: [z]}"),
        fleet_text(gateway="expose: {kind: ingress, host: a.b, className: nginx}"),
        fleet_text(gateway="scale: {minReplicas: 3}"),
        fleet_text(
            model="fallbacks: [{model: b}, {provider: p, providerModel: x}]",
            models="{name: b}",
            gateway="providers: [{name: p, url: 'https://h/v1', keyFrom: {env: K}}, {name: q, url: 'HTTPS://h/v1', "
            "caFile: a.pem}], limits: {url: 'redis://h', "
            "passwordFrom: {env: P}}, rules: [{name: r, match: {promptTokensMin: 2, promptTokensMax: 2}, to: [{model: "
            "b}]}], requests: {outputTokensMax: 2, outputTokensDefault: 2}",
        ),
    ],
)
def test_what_is_near_and_right_passes(text: str) -> None:
    assert problems(_plain(text)) == []


def test_each_rule_is_broken_by_a_case_above() -> None:
    """A rule that never refuses is not tested."""
    said = " ".join(line for text in REFUSED.values() for line in problems(_plain(text)))

    silent = [message for rules in RULES.values() for _, message, _ in rules if message not in said]
    assert silent == []


def test_every_rule_compiles() -> None:
    for rules in RULES.values():
        for rule, message, _ in rules:
            cel.compile(rule)
            assert message
            assert "\n" not in message


def test_a_rule_names_a_field_that_is_there() -> None:
    for node, path in _nodes(schema(), ""):
        for rule in node.get("x-kubernetes-validations", ()):
            field = rule.get("fieldPath", "").removeprefix(".")
            assert not field or field in node["properties"], path


def test_the_number_of_times_a_rule_can_run_is_bounded() -> None:
    """The API server multiplies a rule's cost by the most entries that every list around it may have."""
    for node, path in _nodes(schema(), ""):
        if "x-kubernetes-validations" in node:
            for around, inner in _around(schema(), path):
                assert "maxItems" in around, f"{path}: {inner} has no maxItems"


def _nodes(node: dict[str, Any], path: str) -> Iterator[tuple[dict[str, Any], str]]:
    yield node, path
    for name, inner in node.get("properties", {}).items():
        yield from _nodes(inner, f"{path}.{name}")
    if "items" in node:
        yield from _nodes(node["items"], f"{path}.[]")


def _around(node: dict[str, Any], path: str) -> Iterator[tuple[dict[str, Any], str]]:
    """The lists on the way to a node."""
    for part in path.split(".")[1:]:
        if part == "[]":
            yield node, part
            node = node["items"]
        else:
            node = node["properties"][part]
