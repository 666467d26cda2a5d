"""Alerts on GPUs: hardware that fails, and GPUs that nobody uses; a busy GPU is no fault."""

from __future__ import annotations

import pytest

from penstock.plan.manifests.monitoring.alerts import alerts
from penstock.plan.manifests.monitoring.gpus import GPU_METRICS, PAGES, gpu_alerts
from plan.manifests.monitoring.worlds import FLEET, World, healthy, site, steady
from plan.manifests.promtool import assert_firing, needs_promtool

SITE = site()


def gpu(metric: str, values: str, *, pod: str = "demo-chat-7c9-abcde", prefix: str = "") -> World:
    own = "" if prefix == "" else ',namespace="gpu-operator",pod="dcgm-exporter-x"'
    labels = f'gpu="0",Hostname="n1",{prefix}namespace="llm",{prefix}pod="{pod}"{own}'
    return {f"{metric}{{{labels}}}": values}


@needs_promtool
@pytest.mark.parametrize("prefix", ["", "exported_"])
@pytest.mark.parametrize(
    ("metric", "values", "fires"),
    [
        ("DCGM_FI_DEV_GPU_TEMP", steady(88), "PenstockGpuHot"),
        ("DCGM_FI_DEV_GPU_TEMP", steady(80), ""),
        ("DCGM_FI_DEV_GPU_TEMP", "80x58 90x60", ""),
        ("DCGM_FI_DEV_XID_ERRORS", steady(79), "PenstockGpuFault"),
        ("DCGM_FI_DEV_XID_ERRORS", steady(31), ""),
        ("DCGM_FI_DEV_XID_ERRORS", steady(0), ""),
        ("DCGM_FI_DEV_ROW_REMAP_FAILURE", steady(1), "PenstockGpuMemoryWorn"),
        ("DCGM_FI_DEV_UNCORRECTABLE_REMAPPED_ROWS", "0x30 1x60", "PenstockGpuMemoryWorn"),
        ("DCGM_FI_DEV_UNCORRECTABLE_REMAPPED_ROWS", steady(4), ""),
        ("DCGM_FI_PROF_GR_ENGINE_ACTIVE", steady(0.999), ""),
        ("DCGM_FI_PROF_GR_ENGINE_ACTIVE", steady(0.0), ""),  # since an hour only
    ],
)
def test_faults_are_told_and_work_is_not_however_the_exporter_is_scraped(
    metric: str, values: str, fires: str, prefix: str
) -> None:
    assert_firing(SITE, healthy() | gpu(metric, values, prefix=prefix), {fires} - {""}, at="60m", only="gpus")


@needs_promtool
@pytest.mark.parametrize(("values", "fires"), [("0x500", {"PenstockGpuIdle"}), ("0x300 0.8x30 0x200", set())])
def test_a_gpu_that_does_nothing_for_hours_is_told(values: str, fires: set[str]) -> None:
    assert_firing(SITE, gpu("DCGM_FI_PROF_GR_ENGINE_ACTIVE", values), fires, at="8h", only="gpus")


@needs_promtool
def test_other_peoples_gpus_are_theirs() -> None:
    assert_firing(SITE, gpu("DCGM_FI_DEV_GPU_TEMP", steady(95), pod="training-1"), set(), at="60m", only="gpus")


def test_no_alert_takes_use_for_a_fault() -> None:
    assert "DCGM_FI_DEV_GPU_UTIL" not in "".join(alert.expr for alert in gpu_alerts(SITE))


def test_without_gpu_metrics_none_is_asked_for() -> None:
    assert "gpus" not in alerts(site(FLEET.replace("monitoring: {}", "monitoring: {gpuMetrics: false}")))


def test_every_page_has_an_alert_and_every_metric_is_listed() -> None:
    assert {alert.page.name for alert in gpu_alerts(SITE)} == {page.name for page in PAGES}
    asked = {word.split("{")[0] for alert in gpu_alerts(SITE) for word in alert.expr.replace("(", " ").split()}
    assert {word for word in asked if word.startswith("DCGM")} <= set(GPU_METRICS)
