"""Who is scraped: the monitors find what the fleet renders, and name it as the queries ask."""

from __future__ import annotations

import re
from typing import Any

from penstock.plan.manifests import Site
from penstock.plan.manifests.controller import render_controller
from penstock.plan.manifests.engine import render_engines
from penstock.plan.manifests.gateway import render_gateway
from penstock.plan.manifests.monitoring.monitors import DROPPED, monitors
from plan.manifests.monitoring.worlds import FLEET, site
from plan.manifests.sites import OPEN, found, site_from
from plan.manifests.validation import problems_of

SITE = site()


def monitor(kind: str, name: str, where: Site = SITE) -> dict[str, Any]:
    return found(list(monitors(where)), kind, name)["spec"]  # type: ignore[no-any-return]


def selects(selector: dict[str, str], labels: dict[str, str]) -> bool:
    return selector.items() <= labels.items()


def test_the_api_server_takes_them_as_they_are() -> None:
    assert problems_of([m.object for m in monitors(SITE)]) == []


def test_every_engine_pod_is_found_and_has_the_port() -> None:
    spec = monitor("PodMonitor", "demo-engines")
    pods = [m.object["spec"]["template"] for m in render_engines(SITE) if m.kind == "Deployment"]

    assert len(pods) == 2
    (endpoint,) = spec["podMetricsEndpoints"]
    for pod in pods:
        assert selects(spec["selector"]["matchLabels"], pod["metadata"]["labels"])
        ports = [port["name"] for container in pod["spec"]["containers"] for port in container["ports"]]
        assert endpoint["port"] in ports


def test_of_a_replica_on_several_nodes_only_the_leader_has_the_port() -> None:
    where = site_from(
        "  monitoring: {}\n  hardware: {classes: [{gpu: H100, gpusPerNode: 2}]}\n"
        "  models: [{name: big, source: Qwen/Qwen3-32B, hardware: {gpu: H100, count: 4}}]\n" + OPEN
    )
    group = found(list(render_engines(where)), "LeaderWorkerSet")["spec"]["leaderWorkerTemplate"]

    def ports(template: str) -> list[str]:
        containers = group[template]["spec"]["containers"]
        return [port["name"] for container in containers for port in container.get("ports", ())]

    assert "http" in ports("leaderTemplate")
    assert "http" not in ports("workerTemplate")


def test_the_gateways_service_is_found_and_has_the_port() -> None:
    spec = monitor("ServiceMonitor", "demo-gateway")
    service = found(list(render_gateway(SITE)), "Service")

    assert selects(spec["selector"]["matchLabels"], service["metadata"]["labels"])
    (endpoint,) = spec["endpoints"]
    assert endpoint["port"] in [port["name"] for port in service["spec"]["ports"]]


def test_no_monitor_finds_what_is_anothers() -> None:
    engines = monitor("PodMonitor", "demo-engines")["selector"]["matchLabels"]
    gateway = found(list(render_gateway(SITE)), "Deployment")["spec"]["template"]["metadata"]["labels"]

    assert not selects(engines, gateway)


def test_the_controller_is_scraped_where_there_is_one() -> None:
    names = [m.name for m in monitors(site(FLEET + "  kubernetes: {controller: true}\n"))]

    assert names == ["demo-engines", "demo-gateway", "demo-controller"]
    assert [m.name for m in monitors(SITE)] == ["demo-engines", "demo-gateway"]


def test_the_controllers_pod_has_the_port_that_is_scraped() -> None:
    where = site(FLEET + "  kubernetes: {controller: true}\n")
    pod = found(list(render_controller(where)), "Deployment")["spec"]["template"]
    spec = monitor("PodMonitor", "demo-controller", where)

    assert selects(spec["selector"]["matchLabels"], pod["metadata"]["labels"])
    (endpoint,) = spec["podMetricsEndpoints"]
    assert endpoint["port"] in [port["name"] for port in pod["spec"]["containers"][0]["ports"]]


def relabelled(target: dict[str, str], endpoint: dict[str, Any]) -> dict[str, str]:
    """What Prometheus makes of a target's labels: the two actions that we use."""
    labels = dict(target)
    for step in endpoint["relabelings"]:
        if step["action"] == "labeldrop":
            labels = {name: value for name, value in labels.items() if not re.fullmatch(step["regex"], name)}
            continue
        value = ";".join(labels.get(name, "") for name in step.get("sourceLabels", ()))
        if re.fullmatch(step.get("regex", "(.*)"), value):
            labels[step["targetLabel"]] = step["replacement"]
    return {name: value for name, value in labels.items() if not name.startswith("__")}


def test_series_of_an_engine_carry_the_models_name_however_its_objects_are_called() -> None:
    where = site_from(
        "  monitoring: {}\n  models:\n"
        "    - {name: Qwen/Qwen3-8B, hardware: {gpu: H100}}\n"
        "    - {name: other, source: Qwen/Qwen3-8B, hardware: {gpu: H100}}\n" + OPEN
    )
    (endpoint,) = monitor("PodMonitor", "demo-engines", where)["podMetricsEndpoints"]
    target = {"namespace": "default", "pod": "p", "endpoint": "http"}

    for model in ("Qwen/Qwen3-8B", "other"):
        pod = {"__meta_kubernetes_pod_label_penstock_dev_model": where.names[model]}
        assert relabelled(target | pod, endpoint) == {
            "namespace": "default",
            "pod": "p",
            "fleet": "demo",
            "component": "engine",
            "model": model,
        }


def test_the_ports_name_does_not_hide_the_gateways_own_endpoints() -> None:
    (endpoint,) = monitor("ServiceMonitor", "demo-gateway")["endpoints"]

    assert "endpoint" not in relabelled({"endpoint": "admin", "pod": "g"}, endpoint)


def test_series_that_nobody_asks_for_are_dropped_and_no_other() -> None:
    dropped = ("vllm:num_preemptions_created", "python_gc_objects_collected_total")
    kept = ("vllm:num_requests_running", "process_start_time_seconds", "penstock_build_info", "up")

    assert all(re.fullmatch(DROPPED, name) for name in dropped)
    assert not any(re.fullmatch(DROPPED, name) for name in kept)


def test_scrapes_are_as_often_as_the_file_says_and_end_in_time() -> None:
    where = site(FLEET.replace("monitoring: {}", "monitoring: {intervalS: 5, labels: {release: prom}}"))
    (endpoint,) = monitor("PodMonitor", "demo-engines", where)["podMetricsEndpoints"]

    assert (endpoint["interval"], endpoint["scrapeTimeout"]) == ("5s", "5s")
    assert {m.object["metadata"]["labels"]["release"] for m in monitors(where)} == {"prom"}
