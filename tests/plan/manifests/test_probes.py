"""A slow start never loops, a busy engine is never killed, and what runs is let finish."""

from __future__ import annotations

from typing import Any

from penstock.plan.manifests.probes import ending_of, startup_budget_s
from plan.manifests.engines import objects_of, one, site_from


def container(fields: str = "", more: str = "") -> dict[str, Any]:
    return pod(fields, more)["containers"][0]  # type: ignore[no-any-return]


def pod(fields: str = "", more: str = "") -> dict[str, Any]:
    model = f"{{name: m, source: Qwen/Qwen3-8B, hardware: {{gpu: H100}}{fields}}}"
    spec: dict[str, Any] = one(objects_of(model, more=more), "Deployment")["spec"]["template"]["spec"]
    return spec


def budget(found: dict[str, Any]) -> int:
    probe = found["startupProbe"]
    return int(probe["periodSeconds"] * probe["failureThreshold"])


def test_the_start_has_twice_the_time_of_a_cold_start() -> None:
    site = site_from("{name: m, source: Qwen/Qwen3-8B, hardware: {gpu: H100}}")
    cold_s = site.needs["m"].host.cold.total_s
    assert 2 * cold_s <= budget(container()) < 2 * cold_s + 10
    assert startup_budget_s(site, site.needs["m"]) == budget(container())


def test_an_engine_that_downloads_has_time_for_that_too() -> None:
    # 16.4 GB at 100 MB/s, twice, are 328 s more.
    more = budget(container(", storage: {mode: none}")) - budget(container())
    assert 320 <= more <= 340


def test_the_files_word_lengthens_the_start_and_never_shortens_it() -> None:
    assert budget(container(", engine: {startTimeoutS: 1795}")) == 1800
    assert budget(container(", engine: {startTimeoutS: 10}")) == budget(container())


def test_a_simulated_engine_has_a_minute_or_twice_its_delay() -> None:
    assert budget(container(", engine: {type: simulated}")) == 60
    assert budget(container(", engine: {type: simulated, args: {startup-delay-s: 100}}")) == 200


def test_no_probe_waits_before_it_begins_and_liveness_is_the_most_patient() -> None:
    found = container()
    probes = [found[name] for name in ("startupProbe", "readinessProbe", "livenessProbe")]
    assert not any("initialDelaySeconds" in probe for probe in probes)
    ready, alive = found["readinessProbe"], found["livenessProbe"]
    assert (
        alive["periodSeconds"] * alive["failureThreshold"] >= 120 > ready["periodSeconds"] * ready["failureThreshold"]
    )
    assert all(probe["timeoutSeconds"] >= 5 for probe in probes)


def flag(found: dict[str, Any], name: str) -> int | None:
    values = [arg.partition("=")[2] for arg in found["args"] if arg.startswith(f"--{name}=")]
    return int(values[0]) if values else None


def test_the_grace_covers_the_pause_and_what_running_requests_get() -> None:
    spec = pod()
    found = spec["containers"][0]
    stop_s, sleep_s = flag(found, "shutdown-timeout"), found["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert stop_s is not None
    assert spec["terminationGracePeriodSeconds"] >= sleep_s + stop_s + 15
    assert stop_s >= site_from("{name: m, source: Qwen/Qwen3-8B, hardware: {gpu: H100}}").needs["m"].answer_s


def test_the_files_stop_time_is_taken_as_it_is() -> None:
    spec = pod(", engine: {stopTimeoutS: 240}")
    assert flag(spec["containers"][0], "shutdown-timeout") == 240
    assert spec["terminationGracePeriodSeconds"] == 15 + 240 + 30


def test_an_engine_without_a_shutdown_timeout_is_told_late_instead() -> None:
    spec = pod(", engine: {version: 0.17.0, stopTimeoutS: 240}")
    found = spec["containers"][0]
    assert flag(found, "shutdown-timeout") is None
    assert found["lifecycle"]["preStop"]["sleep"]["seconds"] == 15 + 240
    assert spec["terminationGracePeriodSeconds"] == 15 + 240 + 30


def test_no_request_is_waited_for_longer_than_the_gateway_waits() -> None:
    model = "{name: m, source: Qwen/Qwen3-32B, hardware: {gpu: L40S, count: 4}, demand: {outputTokens: 8000}}"
    patient, strict = (
        site_from(model, more=f"gateway: {{timeouts: {{firstByteS: {first}, readS: {read}}}}}")
        for first, read in ((600, 300), (20, 20))
    )
    assert ending_of(strict, strict.needs["m"]).stop_s == 40
    assert ending_of(patient, patient.needs["m"]).stop_s > 40
    assert ending_of(patient, patient.needs["m"]).stop_s <= 600


def test_an_embedding_needs_no_long_answer() -> None:
    site = site_from("{name: m, source: Qwen/Qwen3-Embedding-0.6B, hardware: {gpu: L4}}")
    assert ending_of(site, site.needs["m"]).stop_s == 30
