"""The gateway in a cluster: never fewer than were ready, never a stream cut short of what the file allows."""

from __future__ import annotations

from typing import Any

import pytest

from penstock.plan.manifests.gateway import drain_s, gateway_notes, grace_s, render_gateway
from plan.manifests.sites import CHAT, DATABASE, OPEN, TENANT, found, site_from

SCALE = "  gateway: {auth: {anonymous: true}, scale: {%s}, timeouts: {drainS: %s}}\n"


def _pod(spec: str = CHAT + OPEN) -> dict[str, object]:
    pod: dict[str, object] = found(render_gateway(site_from(spec)), "Deployment")["spec"]["template"]["spec"]
    return pod


def test_it_listens_where_probes_and_the_service_look() -> None:
    objects = list(render_gateway(site_from()))
    container = found(objects, "Deployment")["spec"]["template"]["spec"]["containers"][0]

    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    service = {port["targetPort"]: port["port"] for port in found(objects, "Service")["spec"]["ports"]}
    assert ports == service == {"http": 8080, "admin": 8081}
    assert container["args"][:2] == ["gateway", "/etc/penstock/fleet.yaml"]
    assert "0.0.0.0:8080" in container["args"]
    assert "0.0.0.0:8081" in container["args"]


@pytest.mark.parametrize(("drain", "grace"), [("30", 50), ("600", 620), ("0", 20), ("90.5", 111)])
def test_the_kill_comes_after_the_signal_delay_and_the_drain(drain: str, grace: int) -> None:
    site = site_from(CHAT + SCALE % ("minReplicas: 2", drain))
    pod = found(render_gateway(site), "Deployment")["spec"]["template"]["spec"]

    assert pod["terminationGracePeriodSeconds"] == grace_s(site) == grace
    sleep_s = pod["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert sleep_s + float(drain) < grace


@pytest.mark.parametrize(("close_delay_s", "sleeps_s"), [(0, 10), (4, 6), (10, None), (25.5, None)])
def test_proxies_are_waited_for_once(close_delay_s: float, sleeps_s: int | None) -> None:
    """The pod before the signal, or the gateway after it: never both for the whole time."""
    timeouts = f"timeouts: {{drainS: 30, closeDelayS: {close_delay_s}}}"
    site = site_from(CHAT + f"  gateway: {{auth: {{anonymous: true}}, {timeouts}}}\n")
    pod = found(render_gateway(site), "Deployment")["spec"]["template"]["spec"]

    container = pod["containers"][0]
    assert container.get("lifecycle") == (
        {"preStop": {"sleep": {"seconds": sleeps_s}}} if sleeps_s is not None else None
    )
    assert pod["terminationGracePeriodSeconds"] >= (sleeps_s or 0) + close_delay_s + 30 + 5


ENGINE = "  models: [{name: chat, source: Qwen/Qwen3-8B, hardware: {gpu: H100}, engine: {stopTimeoutS: %s}}]\n"


def test_a_gateway_drains_as_long_as_the_engines_behind_it() -> None:
    """A stream needs both: one that its engine would finish must not be cut by its gateway."""
    site = site_from(ENGINE % 240 + OPEN)
    container = found(render_gateway(site), "Deployment")["spec"]["template"]["spec"]["containers"][0]

    assert container["args"][container["args"].index("--drain") + 1] == "240"
    assert grace_s(site) == 260
    assert list(gateway_notes(site)) == []


def test_a_stated_drain_holds_and_what_it_cuts_is_told() -> None:
    site = site_from(ENGINE % 240 + SCALE % ("minReplicas: 2", "60"))

    assert drain_s(site) == (60, "as `timeouts.drainS` says")
    assert "drainS: 240" in next(iter(gateway_notes(site)))


def test_quick_engines_leave_the_default() -> None:
    assert drain_s(site_from(ENGINE % 5 + OPEN))[0] == 30


def test_a_roll_starts_one_before_it_ends_one() -> None:
    strategy = found(render_gateway(site_from()), "Deployment")["spec"]["strategy"]
    assert strategy["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}


def test_the_count_is_left_to_the_autoscaler_where_there_is_one() -> None:
    objects = list(render_gateway(site_from()))

    assert "replicas" not in found(objects, "Deployment")["spec"]
    scaler = found(objects, "HorizontalPodAutoscaler")["spec"]
    assert (scaler["minReplicas"], scaler["maxReplicas"]) == (2, 10)
    assert scaler["scaleTargetRef"]["name"] == found(objects, "Deployment")["metadata"]["name"]


def test_a_fixed_count_has_no_autoscaler() -> None:
    objects = list(render_gateway(site_from(CHAT + SCALE % ("minReplicas: 3, maxReplicas: 3", "30"))))

    assert found(objects, "Deployment")["spec"]["replicas"] == 3
    assert not [m for m in objects if m.kind == "HorizontalPodAutoscaler"]


def test_memory_is_bounded_and_cpu_is_not() -> None:
    resources = found(render_gateway(site_from()), "Deployment")["spec"]["template"]["spec"]["containers"][0][
        "resources"
    ]
    assert resources == {"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"memory": "1Gi"}}


def test_the_file_and_the_keys_lie_in_one_volume_that_only_its_group_reads() -> None:
    spec = CHAT + TENANT
    volume = next(v for v in _pod(spec)["volumes"] if v["name"] == "configuration")["projected"]  # type: ignore[attr-defined]

    assert volume["defaultMode"] == 0o440
    config, secret = volume["sources"]
    assert config["configMap"]["name"] == "demo-fleet"
    assert secret["secret"] == {"name": "keys", "items": [{"key": "acme", "path": "secrets/keys/acme"}]}


def test_a_change_of_limits_leaves_the_pods_as_they_are_and_a_change_of_the_log_does_not() -> None:
    def template(gateway: str) -> object:
        site = site_from(f"{CHAT}  gateway: {{auth: {{anonymous: true}}, {gateway}}}\n")
        return found(render_gateway(site), "Deployment")["spec"]["template"]

    assert template("limits: {inFlightMax: 5}") == template("limits: {inFlightMax: 6}")
    assert template("accessLog: stdout") != template("accessLog: 'off'")


def test_keys_from_the_environment_come_from_a_secret_of_the_fleet() -> None:
    spec = CHAT + "  gateway: {tenants: [{name: a, keys: [{valueFrom: {env: A_KEY}}]}]}\n"
    env = _pod(spec)["containers"][0]["env"]  # type: ignore[index]

    assert {"name": "A_KEY", "valueFrom": {"secretKeyRef": {"name": "demo-env", "key": "A_KEY"}}} in env


def test_the_token_and_the_password_come_as_keys_do() -> None:
    pod: Any = _pod(CHAT + DATABASE)
    volume = next(v for v in pod["volumes"] if v["name"] == "configuration")["projected"]

    items = [{"key": key, "path": f"secrets/db/{key}"} for key in ("ca.crt", "password")]
    assert volume["sources"][1:] == [{"secret": {"name": "db", "items": items}}]
    token = {"name": "ADMIN_TOKEN", "valueFrom": {"secretKeyRef": {"name": "demo-env", "key": "ADMIN_TOKEN"}}}
    assert token in pod["containers"][0]["env"]


@pytest.mark.parametrize("gateway", [DATABASE, OPEN], ids=["store", "no store"])
def test_what_a_gateway_must_remember_outlives_its_process(gateway: str) -> None:
    """Keys that it knows of the store, and requests that the store has not got yet."""
    pod: Any = _pod(CHAT + gateway)
    (container,) = pod["containers"]

    folder = next(v["value"] for v in container["env"] if v["name"] == "PENSTOCK_STATE_DIR")
    mount = next(m for m in container["volumeMounts"] if m["mountPath"] == folder)
    assert not mount.get("readOnly")
    assert "emptyDir" in next(v for v in pod["volumes"] if v["name"] == mount["name"])


def test_another_store_restarts_the_pods_because_it_is_opened_at_the_start() -> None:
    annotations = [
        found(render_gateway(site_from(CHAT + text)), "Deployment")["spec"]["template"]["metadata"]["annotations"]
        for text in (DATABASE, DATABASE.replace("db.example", "db2.example"), DATABASE.replace("password}", "pass}"))
    ]

    assert annotations[0] != annotations[1]
    assert annotations[0] == annotations[2]


def test_the_file_is_carried_as_it_was_read() -> None:
    site = site_from()
    assert found(render_gateway(site), "ConfigMap")["data"] == {"fleet.yaml": site.text}
