"""Runs a throw-away pod that asks a GPU how it is. Leaves nothing behind, also when it is cancelled."""

from __future__ import annotations

import asyncio
import contextlib

from penstock.operate.apply.objects import Object, Ref, at, ref_of
from penstock.operate.apply.port import KubeApi
from penstock.operate.preflight.case import failed
from penstock.operate.preflight.smi import answer_of, gpu_test_pod, trouble_of
from penstock.operate.preflight.survey import Check
from penstock.plan.manifests import ModelNeeds, Site

__all__ = ["run_gpu_test"]

_ENDED = ("Succeeded", "Failed")


async def run_gpu_test(api: KubeApi, site: Site, needs: ModelNeeds, resource: str, *, timeout_s: float) -> Check:
    """Asks one GPU of the kind that a model runs on.

    Raises:
        ApiFailure: the cluster does not take the pod, or cannot be asked.
    """
    model = needs.spec.name
    pod = (await api.apply(gpu_test_pod(site, needs, resource))).object
    ref = ref_of(pod)
    try:
        try:
            async with asyncio.timeout(timeout_s):
                phase = await _ended(api, ref, pod)
        except TimeoutError:
            now = await api.get(ref)
            why = trouble_of(now) if now is not None else ""
            message = (
                f"the pod that asks for {resource} did not run within {timeout_s:.0f} s: {why or 'it says nothing'}"
            )
            return failed("gpu-test", model, message, hint="see the questions above on GPUs and images")
        log = await api.log_tail(site.namespace, ref.name, "smi", lines=60)
        if phase != "Succeeded" and not log:
            return failed("gpu-test", model, f"the pod ended as {phase} without a word")
        return answer_of(model, log, site.engine_image(needs))
    finally:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.shield(api.delete(ref, uid=pod["metadata"]["uid"], propagation="Background"))


async def _ended(api: KubeApi, ref: Ref, pod: Object) -> str:
    """Waits until the pod has ended; its phase. One that a killed run left behind may have ended already."""
    if (left := str(at(pod, "status", "phase", default=""))) in _ENDED:
        return left
    version = str(pod["metadata"]["resourceVersion"])
    chosen = {"app.kubernetes.io/component": "preflight"}
    async for event in api.watch("v1", "Pod", namespace=ref.namespace, since=version, labels=chosen):
        if event.type == "BOOKMARK" or event.object["metadata"]["name"] != ref.name:
            continue
        phase = str(at(event.object, "status", "phase", default=""))
        if phase in _ENDED or event.type == "DELETED":
            return phase
    return ""
