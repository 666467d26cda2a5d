"""Ways in: no limit that cuts a stream, no retry but the gateway's own."""

from __future__ import annotations

from typing import Any

import pytest

from penstock.plan.manifests.expose import expose_notes, render_expose
from plan.manifests.sites import CHAT, findings_of, found, site_from


def _spec(expose: str) -> str:
    return f"{CHAT}  gateway: {{auth: {{anonymous: true}}, expose: {{{expose}}}}}\n"


def _made(expose: str, kind: str) -> dict[str, Any]:
    return found(render_expose(site_from(_spec(expose), namespace="llm")), kind)


def test_without_the_block_nothing_is_opened() -> None:
    assert list(render_expose(site_from())) == []


def test_an_http_route_has_no_limit_on_a_request() -> None:
    spec = _made("host: llm.example.com, gateway: infra/public", "HTTPRoute")["spec"]

    parent = {"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "public", "namespace": "infra"}
    assert spec["parentRefs"] == [parent]
    assert spec["hostnames"] == ["llm.example.com"]
    assert spec["rules"][0]["timeouts"] == {"request": "0s"}
    backend = {"group": "", "kind": "Service", "name": "demo-gateway", "port": 8080, "weight": 1}
    assert spec["rules"][0]["backendRefs"] == [backend]
    assert "filters" not in spec["rules"][0]


def test_a_path_is_taken_away_before_the_gateway() -> None:
    rule = _made("host: a.example, gateway: public, path: /llm", "HTTPRoute")["spec"]["rules"][0]
    rewrite = rule["filters"][0]["urlRewrite"]["path"]

    assert rule["matches"] == [{"path": {"type": "PathPrefix", "value": "/llm"}}]
    assert rewrite == {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/"}


def test_an_ingress_can_not_take_a_path_away() -> None:
    findings = findings_of(_spec("kind: ingress, host: a.example, path: /llm"))
    assert [finding.at for finding in findings] == [("spec", "gateway", "expose", "path")]


def test_an_nginx_ingress_waits_long_buffers_nothing_and_leaves_the_last_word_to_the_file() -> None:
    own = "annotations: {nginx.ingress.kubernetes.io/proxy-read-timeout: '7200'}"
    made = _made(f"kind: ingress, host: a.example, className: nginx, tlsSecret: cert, {own}", "Ingress")
    annotations = {key.partition("/")[2]: value for key, value in made["metadata"]["annotations"].items()}

    assert annotations["proxy-read-timeout"] == "7200"
    assert annotations["proxy-send-timeout"] == "3600"
    assert annotations["proxy-buffering"] == annotations["proxy-next-upstream"] == "off"
    assert annotations["proxy-body-size"] == "32m"
    assert made["spec"]["tls"] == [{"hosts": ["a.example"], "secretName": "cert"}]


def test_another_ingress_is_left_to_its_own_annotations_and_that_is_said() -> None:
    silent = site_from(_spec("kind: ingress, host: a.example, className: traefik"))
    told = site_from(_spec("kind: ingress, host: a.example, className: traefik, annotations: {a.b/c: d}"))

    assert "timeouts" in next(iter(expose_notes(silent)))
    assert list(expose_notes(told)) == []


def test_a_virtual_service_neither_times_out_nor_retries() -> None:
    rule = _made("kind: virtualService, host: a.example, gateway: istio/public, path: /llm", "VirtualService")["spec"][
        "http"
    ][0]

    assert "timeout" not in rule  # Istio has none by default, and its API refuses 0s
    assert rule["retries"] == {"attempts": 0}
    assert rule["route"][0]["destination"]["host"] == "demo-gateway.llm.svc.cluster.local"
    assert (rule["match"], rule["rewrite"]) == ([{"uri": {"prefix": "/llm/"}}], {"uri": "/"})


@pytest.mark.parametrize("path", ["//", "/a//b", "/a/../b", "/a/.", "/a%2fb", "/ä"])
def test_a_path_that_no_route_takes_is_refused(path: str) -> None:
    findings = findings_of(_spec(f"host: a.example, gateway: public, path: '{path}'"))
    assert [finding.at[-1] for finding in findings] == ["path"]


@pytest.mark.parametrize("gateway", ["a/b/c", "Infra/public", "/public", "infra/"])
def test_a_gateway_that_no_object_can_name_is_refused(gateway: str) -> None:
    findings = findings_of(_spec(f"host: a.example, gateway: {gateway}"))
    assert [finding.at[-1] for finding in findings] == ["gateway"]
