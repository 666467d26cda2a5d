"""Any fleet that loads is refused in words or rendered; what is rendered, an API server takes as it is."""

from __future__ import annotations

import json
from typing import Any

import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from penstock.errors import SpecError
from penstock.facts import find_model
from penstock.plan.manifests import emit_all
from penstock.plan.manifests.formats import plain_files
from penstock.plan.manifests.render import Settled, render, settle
from penstock.spec.loader import load_fleet
from plan.manifests.validation import problems_of

LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_names = st.sampled_from(["chat", "Chat.v2", "acme/chat", "a" * 70, "gateway", "fleet", "x:y", "1st", "embed_2"])
_sources = st.sampled_from(["Qwen/Qwen3-8B", "Qwen/Qwen3-Embedding-0.6B", "openai/gpt-oss-20b", "Qwen/Qwen3-32B"])
_words = st.sampled_from(
    ["yes", "1e3", "0x1F", "null", "it's: a {test} # here", "ünï", "~", "-", "{{ x }}", "two\nlines"]
)


def _some(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Any of the fields, or none."""
    return st.fixed_dictionaries({}, optional=fields)


_autoscaling = st.fixed_dictionaries(
    {"via": st.sampled_from(["keda", "hpa", "penstock"]), "maxReplicas": st.integers(1, 9)},
    optional={"minReplicas": st.integers(0, 3), "targetConcurrency": st.sampled_from([0.5, 3.25, 40.0])},
)
_models = st.fixed_dictionaries(
    {"name": _names, "source": _sources},
    optional={
        "replicas": st.integers(0, 5),
        "contextLength": st.sampled_from([4096, 32768]),
        "hardware": st.sampled_from(
            [{"gpu": "H100"}, {"gpu": "H100", "count": 2}, {"gpu": "L4"}, {"gpu": "H100", "mig": "1g.10gb"}]
        ),
        "autoscaling": _autoscaling,
        "storage": _some(mode=st.sampled_from(["shared", "readOnlyMany", "node", "none"]), size=st.just("200000Mi")),
        "resources": _some(cpu=st.sampled_from(["1.5", "2500m"]), memory=st.sampled_from(["64Gi", "65536Mi"])),
        "scheduling": _some(
            priority=st.just("batch"),
            spot=st.sampled_from(["allowed", "only"]),
            spread=st.sampled_from(["zone", "none"]),
        ),
        "adapters": st.sampled_from([[{"name": f"tone-{n}", "source": "acme/tone"}] for n in range(9)]),
        "engine": _some(
            type=st.sampled_from(["auto", "simulated"]), env=st.dictionaries(st.sampled_from(["A", "B_C"]), _words)
        ),
        "objectives": st.just({"ttftMs": 5000, "itlMs": 200}),
    },
)
_far = st.just({"name": "far", "endpoints": ["http://10.0.0.1:8000", "http://engine.example"]})
_exposes = st.sampled_from(
    [
        {"host": "a.example", "gateway": "infra/public"},
        {"host": "*.a.example", "gateway": "public", "path": "/llm"},
        {"kind": "ingress", "host": "a.example", "className": "nginx", "tlsSecret": "cert"},
        {"kind": "virtualService", "host": "a.example", "gateway": "public", "path": "/llm/"},
    ]
)
_tenants = st.sampled_from(
    [
        [{"name": "a", "keys": [{"valueFrom": {"secretKeyRef": {"name": "keys", "key": "a"}}}]}],
        [{"name": "a", "keys": [{"valueFrom": {"env": "A_KEY"}}]}],
    ]
)
_good_gateways = st.fixed_dictionaries(
    {"auth": st.just({"anonymous": True})},
    optional={
        "tenants": _tenants,
        "expose": _exposes,
        "timeouts": _some(drainS=st.sampled_from([0, 45.5, 900])),
        "accessLog": st.sampled_from(["off", "stdout"]),
        "scale": st.sampled_from([{"minReplicas": 1, "maxReplicas": 1}, {"cpu": "0.5", "memory": "1536Mi"}]),
    },
)
_bad_gateways = st.sampled_from(
    [
        {},
        {"auth": {"anonymous": True}, "accessLog": "/var/log/a"},
        {"tenants": [{"name": "a", "keys": [{"value": "in-clear-text"}]}]},
    ]
)
_gateways = st.one_of(_good_gateways, _good_gateways, _good_gateways, _bad_gateways)
_clusters = _some(
    networkPolicies=st.booleans(),
    priorityClasses=st.booleans(),
    controller=st.booleans(),
    labels=st.just({"team": "search", "example.com/tier": "1"}),
    imagePullSecrets=st.just(["registry"]),
    huggingFaceToken=st.just({"name": "hf", "key": "token"}),
    externalSecrets=st.just({"store": "vault", "refreshS": 90}),
)
_fleets = st.fixed_dictionaries(
    {
        "models": st.lists(_models | _far, min_size=1, max_size=3, unique_by=lambda model: model["name"]),
        "gateway": _gateways,
    },
    optional={
        "kubernetes": _clusters,
        "monitoring": _some(labels=st.just({"release": "prom"}), alerts=st.booleans(), dashboards=st.booleans()),
        "storage": st.just({"storageClass": "efs"}),
    },
)
_metadata = st.fixed_dictionaries(
    {"name": st.sampled_from(["demo", "f" * 63, "1", "a-b"])},
    optional={"namespace": st.sampled_from(["llm", "default"])},
)


def _settled(metadata: dict[str, Any], spec: dict[str, Any]) -> Settled | None:
    """None where the file does not load."""
    body = {"apiVersion": "penstock.dev/v1alpha1", "kind": "Fleet", "metadata": metadata, "spec": spec}
    text = json.dumps(body, ensure_ascii=False)
    try:
        fleet = load_fleet(text, "fleet.yaml")
    except SpecError:
        return None
    return settle(fleet, text, architecture_of=find_model)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(_metadata, _fleets)
def test_a_fleet_is_refused_in_words_or_taken_by_an_api_server(metadata: dict[str, Any], spec: dict[str, Any]) -> None:
    settled = _settled(metadata, spec)
    if settled is None:
        return
    if settled.site is None:
        assert settled.findings
        assert all(finding.message and "in-clear-text" not in repr(finding) for finding in settled.findings)
        return
    bundle = render(settled.site)
    assert problems_of(bundle.objects) == []
    text = emit_all(bundle.manifests)
    assert list(yaml.load_all(text, LOADER)) == bundle.objects
    assert text == emit_all(render(settled.site).manifests)
    assert sum(len(list(yaml.load_all(t, LOADER))) for t in plain_files(bundle).values()) == len(bundle.objects)
    assert "in-clear-text" not in text


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(_metadata, _fleets)
def test_what_is_rendered_is_whole(metadata: dict[str, Any], spec: dict[str, Any]) -> None:
    """What holds of every rendered fleet, quickly: names fit, everything has its place, nothing is there twice."""
    settled = _settled(metadata, spec)
    if settled is None or settled.site is None:
        return
    manifests = render(settled.site).manifests
    keys = [(m.body["apiVersion"], m.kind, m.namespace, m.name) for m in manifests]

    assert len(set(keys)) == len(keys)
    assert {m.namespace for m in manifests} <= {settled.site.namespace, None}
    assert [m.wave for m in manifests] == sorted(m.wave for m in manifests)
