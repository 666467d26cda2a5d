"""A real Prometheus, as our monitors configure it, scrapes real pages of an engine and a gateway: rules and KEDA's
queries are answered by what vLLM 0.32 said. Skips where Prometheus or the recorded pages are absent."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import threading
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from penstock.plan.manifests.keda import scaled_object
from penstock.plan.manifests.monitoring.monitors import monitors
from penstock.plan.manifests.signals import asked, in_flight
from plan.manifests.monitoring.names import RECORDED, gateway_page
from plan.manifests.monitoring.worlds import site
from plan.manifests.promtool import groups_of
from plan.manifests.sites import found

PROMETHEUS = shutil.which("prometheus")
PAGE = RECORDED / "metrics-during-A.txt"  # two running, three waiting
pytestmark = [
    pytest.mark.skipif(PROMETHEUS is None, reason="prometheus is not installed (Debian: package prometheus)"),
    pytest.mark.skipif(not PAGE.exists(), reason="the recorded answers of vLLM are not beside this checkout"),
]
SITE = site()
SCRAPED = threading.Event()
"""Set whenever Prometheus fetches one of the pages."""


@pytest.fixture(scope="module")
def pages() -> Iterator[dict[str, str]]:
    """Addresses of a recorded engine and of a gateway's own page."""
    texts = {"engine": PAGE.read_bytes(), "gateway": gateway_page()}
    servers = {name: _serve(text) for name, text in texts.items()}
    yield {name: f"127.0.0.1:{server.server_port}" for name, server in servers.items()}
    for server in servers.values():
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="module")
def prometheus(pages: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Any]]:
    """Asks the API of a Prometheus that scrapes them."""
    folder = tmp_path_factory.mktemp("prometheus")
    jobs = [
        _job("PodMonitor", "demo-engines", "podMetricsEndpoints", pages["engine"], "demo-chat"),
        _job("ServiceMonitor", "demo-gateway", "endpoints", pages["gateway"], None),
    ]
    (folder / "rules.json").write_text(json.dumps({"groups": [{**g, "interval": "1s"} for g in groups_of(SITE)]}))
    config = {"global": {"evaluation_interval": "1s"}, "rule_files": ["rules.json"], "scrape_configs": jobs}
    (folder / "prometheus.yml").write_text(json.dumps(config))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    process = subprocess.Popen(
        [
            *(str(PROMETHEUS), f"--config.file={folder / 'prometheus.yml'}"),
            *(f"--storage.tsdb.path={folder / 'data'}", f"--web.listen-address={address}", "--log.level=warn"),
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )

    def get(path: str) -> Any:
        with urllib.request.urlopen(f"http://{address}/api/v1/{path}", timeout=5) as answer:
            return json.load(answer)["data"]

    def is_there() -> bool:
        return len(result(get, "up == 1")) == 2 and bool(result(get, "penstock:in_flight:max"))

    try:
        _until(is_there)
        yield get
    finally:
        process.terminate()
        process.wait(timeout=20)


def result(get: Callable[[str], Any], expr: str) -> Any:
    """The elements of a query's answer."""
    return get(f"query?{urllib.parse.urlencode({'query': expr})}")["result"]


def _serve(text: bytes) -> ThreadingHTTPServer:
    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            SCRAPED.set()
            self.send_response(200)
            self.send_header("content-type", "text/plain; version=0.0.4")
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_: object) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Page)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def _job(kind: str, name: str, field: str, address: str, pod_label: str | None) -> dict[str, Any]:
    """What the Prometheus operator makes of a monitor, with the pod's address given instead of looked up."""
    (endpoint,) = found(list(monitors(SITE)), kind, name)["spec"][field]
    labels = {"namespace": "llm", "pod": f"{name}-0", "endpoint": endpoint["port"]}
    if pod_label is not None:
        labels["__meta_kubernetes_pod_label_penstock_dev_model"] = pod_label
    named = {"sourceLabels": "source_labels", "targetLabel": "target_label"}

    def steps(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [{named.get(key, key): value for key, value in entry.items()} for entry in entries]

    return {
        "job_name": f"llm/{name}",
        "scrape_interval": "1s",
        "scrape_timeout": "1s",
        "metrics_path": endpoint["path"],
        "static_configs": [{"targets": [address], "labels": labels}],
        "relabel_configs": steps(endpoint["relabelings"]),
        "metric_relabel_configs": steps(endpoint["metricRelabelings"]),
    }


def _until(is_there: Callable[[], bool]) -> None:
    """Tries after each scrape, of which there are two a second."""
    for _ in range(200):
        SCRAPED.clear()
        assert SCRAPED.wait(60), "Prometheus scrapes nothing"
        with suppress(OSError):  # its API may come after its first scrape
            if is_there():
                return
    raise AssertionError("a hundred seconds were not enough")


def test_a_model_that_scales_has_one_number_from_real_pages(prometheus: Callable[[str], Any]) -> None:
    needs = SITE.needs["chat"]
    assert needs.spec.autoscaling is not None
    (trigger,) = scaled_object(SITE, needs, needs.spec.autoscaling).object["spec"]["triggers"]

    (answer,) = result(prometheus, trigger["metadata"]["query"])
    assert (answer["metric"], answer["value"][1]) == ({}, "5")


def test_a_model_that_sleeps_is_known_to_be_idle_by_the_gateway_alone(prometheus: Callable[[str], Any]) -> None:
    (load,), (wish,) = result(prometheus, in_flight(SITE, "nap")), result(prometheus, asked(SITE, "nap"))

    assert (load["value"][1], wish["value"][1]) == ("0", "0")


def test_series_carry_the_models_name_and_keep_the_gateways_labels(prometheus: Callable[[str], Any]) -> None:
    (running,) = result(prometheus, "vllm:num_requests_running")
    assert {name: running["metric"][name] for name in ("namespace", "fleet", "component", "model", "model_name")} == {
        "namespace": "llm",
        "fleet": "demo",
        "component": "engine",
        "model": "chat",
        "model_name": "tiny",
    }
    endpoints = {entry["metric"]["endpoint"] for entry in result(prometheus, "penstock_endpoint_in_flight_requests")}
    assert endpoints == {"e1"}


def test_every_rule_is_evaluated_without_an_error(prometheus: Callable[[str], Any]) -> None:
    told = [rule for group in prometheus("rules")["groups"] for rule in group["rules"]]
    assert len(told) == sum(len(group["rules"]) for group in groups_of(SITE))
    _until(lambda: all(r["health"] != "unknown" for g in prometheus("rules")["groups"] for r in g["rules"]))
    told = [rule for group in prometheus("rules")["groups"] for rule in group["rules"]]
    assert [rule for rule in told if rule["health"] != "ok"] == []
    (waiting,) = result(prometheus, "penstock:engine_waiting:sum")
    assert waiting["value"][1] == "3"


def test_what_nobody_asks_for_is_not_kept(prometheus: Callable[[str], Any]) -> None:
    assert result(prometheus, '{__name__=~".+_created"}') == []
