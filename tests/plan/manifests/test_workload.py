"""What the gateway's and the controller's pods share."""

from __future__ import annotations

from penstock.plan.manifests import plain
from penstock.plan.manifests.workload import container_security, pod_settings, probes, spread
from plan.manifests.sites import CHAT, OPEN, site_from


def test_a_pod_runs_as_a_numbered_user_that_is_not_root() -> None:
    security = plain(pod_settings(site_from(), "gateway", reads_api=True))["securityContext"]

    assert security["runAsNonRoot"] is True
    assert security["runAsUser"] > 0
    assert security["seccompProfile"] == {"type": "RuntimeDefault"}
    assert plain(container_security())["capabilities"] == {"drop": ["ALL"]}


def test_engines_never_take_the_place_of_what_is_in_front_of_them() -> None:
    assert plain(pod_settings(site_from(), "gateway", reads_api=True))["priorityClassName"] == "penstock-serving"


def test_pull_secrets_are_named_only_where_there_are_any() -> None:
    with_one = site_from(CHAT + OPEN + "  kubernetes: {imagePullSecrets: [registry]}\n")

    assert pod_settings(with_one, "gateway", reads_api=True)["imagePullSecrets"] == [{"name": "registry"}]
    assert "imagePullSecrets" not in pod_settings(site_from(), "gateway", reads_api=True)


def test_replicas_are_spread_over_hosts_and_zones_but_start_without_them() -> None:
    found = plain(spread(site_from(), "gateway"))

    assert [entry["topologyKey"] for entry in found] == ["kubernetes.io/hostname", "topology.kubernetes.io/zone"]
    assert {entry["whenUnsatisfiable"] for entry in found} == {"ScheduleAnyway"}


def test_a_start_is_given_a_minute_and_silence_another() -> None:
    found = plain(probes())

    start, live = found["startupProbe"], found["livenessProbe"]
    assert start["periodSeconds"] * start["failureThreshold"] == 60
    assert live["periodSeconds"] * live["failureThreshold"] == 60
    assert {probe["httpGet"]["port"] for probe in found.values()} == {"admin"}
