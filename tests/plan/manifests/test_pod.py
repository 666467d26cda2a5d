"""The pod of an engine: what it may, what it gets, and what it holds."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.plan.manifests import plain
from penstock.plan.manifests.engine import render_engines
from penstock.plan.manifests.gpu_sharing import pods_of_replica
from penstock.plan.manifests.names import model_names
from penstock.plan.manifests.pod import Role, pod_labels, pod_selector, pod_template
from penstock.plan.manifests.site import Site
from penstock.spec import ModelSpec
from penstock.spec.quantity import parse_quantity
from plan.manifests.engines import objects_of, one, site_from, site_of_text
from plan.manifests.test_engine import FLEETS
from plan.manifests.validation import pod_templates, problems_of


def pod(fields: str = "", gpu: str = "gpu: H100", more: str = "") -> dict[str, Any]:
    model = f"{{name: m, source: Qwen/Qwen3-8B, hardware: {{{gpu}}}{fields}}}"
    spec: dict[str, Any] = one(objects_of(model, more=more), "Deployment")["spec"]["template"]["spec"]
    return spec


def all_pods() -> list[dict[str, Any]]:
    found = []
    for path in FLEETS:
        for manifest in render_engines(site_of_text(path.read_text(encoding="utf-8"))):
            found += [template["spec"] for _, template in pod_templates(manifest.object)]
    return found


PODS = all_pods()


@pytest.mark.parametrize("place", range(len(PODS)))
def test_every_pod_keeps_the_restricted_standard(place: int) -> None:
    spec = PODS[place]
    assert spec["automountServiceAccountToken"] is False
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["runAsUser"] > 0
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not {"hostNetwork", "hostIPC", "hostPID"} & set(spec)
    for container in (*spec.get("initContainers", []), *spec["containers"]):
        security = container["securityContext"]
        assert security["allowPrivilegeEscalation"] is False
        assert security["readOnlyRootFilesystem"] is True
        assert security["capabilities"] == {"drop": ["ALL"]}


@pytest.mark.parametrize("place", range(len(PODS)))
def test_memory_is_one_number_and_cpu_is_never_throttled(place: int) -> None:
    spec = PODS[place]
    for container in (*spec.get("initContainers", []), *spec["containers"]):
        requests, limits = container["resources"]["requests"], container["resources"]["limits"]
        assert requests["memory"] == limits["memory"]
        assert "cpu" in requests
        assert "cpu" not in limits


@pytest.mark.parametrize("place", range(len(PODS)))
def test_every_scratch_volume_has_a_bound(place: int) -> None:
    assert all("sizeLimit" in v["emptyDir"] for v in PODS[place]["volumes"] if "emptyDir" in v)


def test_no_service_sets_variables_of_the_engine() -> None:
    assert pod()["enableServiceLinks"] is False


def test_shm_is_memory_of_the_pod_and_grows_with_its_gpus() -> None:
    def shm(spec: dict[str, Any]) -> int:
        (found,) = [v["emptyDir"] for v in spec["volumes"] if v["name"] == "shm"]
        assert found["medium"] == "Memory"
        return int(parse_quantity(found["sizeLimit"]))

    assert shm(pod()) < shm(pod(gpu="gpu: H100, count: 4"))
    assert shm(pod(", resources: {shm: 8192Mi}")) == 8 << 30
    more = parse_quantity(pod(", resources: {shm: 8Gi}")["containers"][0]["resources"]["limits"]["memory"])
    less = parse_quantity(pod()["containers"][0]["resources"]["limits"]["memory"])
    assert more - less == 6 << 30, "what /dev/shm has more counts as memory"


def test_the_files_numbers_stand_in_canonical_form() -> None:
    resources = pod(", resources: {cpu: 6000m, memory: 65536Mi}")["containers"][0]["resources"]
    assert resources["requests"]["cpu"] == "6"
    assert resources["limits"]["memory"] == "64Gi"


def test_a_node_autoscaler_may_empty_a_node_though_an_engine_has_scratch_there() -> None:
    model = "{name: m, source: Qwen/Qwen3-8B, hardware: {gpu: H100}}"
    annotations = one(objects_of(model), "Deployment")["spec"]["template"]["metadata"]["annotations"]

    assert annotations["cluster-autoscaler.kubernetes.io/safe-to-evict-local-volumes"] == "cache,tmp"


def test_more_replicas_and_another_way_to_count_them_do_not_restart_those_that_run() -> None:
    def template(fields: str) -> Any:
        model = f"{{name: m, source: Qwen/Qwen3-8B, hardware: {{gpu: H100}}{fields}}}"
        return one(objects_of(model), "Deployment")["spec"]["template"]

    assert template("") == template(", replicas: 2") == template(", replicas: 9")
    for scaled in ("maxReplicas: 1", "maxReplicas: 4", "minReplicas: 0, maxReplicas: 2", "via: hpa, maxReplicas: 3"):
        assert template(f", autoscaling: {{{scaled}}}") == template(""), scaled


def test_the_revision_changes_with_what_runs_and_with_nothing_else() -> None:
    def revision(fields: str = "") -> str:
        model = f"{{name: m, source: Qwen/Qwen3-8B, hardware: {{gpu: H100}}{fields}}}"
        template = one(objects_of(model), "Deployment")["spec"]["template"]
        return str(template["metadata"]["annotations"]["penstock.dev/revision"])

    assert revision() == revision(", replicas: 4") == revision(", resources: {cpu: '9'}")
    changes = [
        ", contextLength: 4096",
        ", engine: {image: 'mine:2'}",
        ", engine: {env: {A: b}}",
        f", revision: '{'a' * 40}'",
    ]
    assert len({revision(), *map(revision, changes)}) == 5


BASE = site_from("{name: m, source: Qwen/Qwen3-8B, hardware: {gpu: H100}}")
STORAGES = st.sampled_from(["shared", "readOnlyMany", "node", "none"])


@st.composite
def sites(draw: st.DrawFn) -> Site:
    """One model of any size, split in any way, over nodes of any size."""
    needs = BASE.needs["m"]
    tensor, pipeline = draw(st.sampled_from([1, 2, 4, 8])), draw(st.sampled_from([1, 2, 3, 4]))
    per_node = draw(st.sampled_from([1, 2, 4, 8, 16]))
    gib = draw(st.integers(1, 900))
    spec = ModelSpec.model_validate(
        {
            "name": draw(st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._:/-]{0,80}", fullmatch=True)),
            "source": "Qwen/Qwen3-8B",
            "replicas": draw(st.integers(0, 20)),
            "hardware": {"gpu": "H100", "count": tensor * pipeline, "pipelineParallel": pipeline},
            "engine": {
                "version": draw(st.sampled_from(["0.17.1", "0.18.0", "0.32.0"])),
                "type": draw(st.sampled_from(["vllm", "simulated"])),
                **draw(st.fixed_dictionaries({}, optional={"stopTimeoutS": st.floats(0, 900)})),
            },
            "storage": {"mode": draw(STORAGES)},
            "scheduling": {"spot": draw(st.sampled_from(["never", "allowed", "only"]))},
        }
    )
    cold = replace(needs.host.cold, load_s=float(gib), compile_s=draw(st.floats(0, 300)))
    host = replace(needs.host, cold=cold, probe_failures=int(2 * cold.total_s // 10) + 1, page_cache_bytes=gib << 30)
    drawn = replace(
        needs,
        spec=spec,
        gpus=tensor * pipeline,
        tensor=tensor,
        pipeline=pipeline,
        replicas=spec.replicas,
        source_bytes=gib << 30,
        host=host,
        answer_s=draw(st.floats(0.1, 5000)),
        flags={"tensor-parallel-size": str(tensor), "pipeline-parallel-size": str(pipeline)},
    )
    hardware = {"classes": [{"gpu": "H100", "gpusPerNode": per_node, "spareGpus": draw(st.integers(0, 16))}]}
    fleet_spec = BASE.fleet.spec.model_copy(
        update={"hardware": type(BASE.fleet.spec.hardware).model_validate(hardware), "models": [spec]}
    )
    fleet = BASE.fleet.model_copy(update={"spec": fleet_spec})
    names = model_names(fleet.metadata.name, [spec.name])
    return replace(BASE, fleet=fleet, needs={spec.name: drawn}, names=names)


@settings(max_examples=60, deadline=None)
@given(sites())
def test_the_laws_of_every_pod(site: Site) -> None:
    (needs,) = site.needs.values()
    manifests = list(render_engines(site))
    assert problems_of([manifest.object for manifest in manifests]) == []
    (workload,) = (m.object for m in manifests if m.kind in ("Deployment", "LeaderWorkerSet"))
    templates = [template for _, template in pod_templates(workload)]
    gpus = 0
    for place, template in enumerate(templates):
        spec = template["spec"]
        (engine,) = spec["containers"]
        args = [str(word) for word in engine["args"]]
        stop_s = next((int(word.partition("=")[2]) for word in args if word.startswith("--shutdown-timeout=")), 0)
        sleep_s = engine["lifecycle"]["preStop"]["sleep"]["seconds"]
        assert spec["terminationGracePeriodSeconds"] >= sleep_s + (stop_s if place == 0 else 0)
        if "startupProbe" in engine and not needs.is_simulated:
            probe = engine["startupProbe"]
            assert probe["periodSeconds"] * probe["failureThreshold"] >= 2 * needs.host.cold.total_s
        limits, requests = engine["resources"]["limits"], engine["resources"]["requests"]
        assert limits["memory"] == requests["memory"]
        shm = [v["emptyDir"]["sizeLimit"] for v in spec["volumes"] if v["name"] == "shm"]
        assert all(parse_quantity(size) < parse_quantity(limits["memory"]) for size in shm)
        assert len(site.names[needs.spec.name]) <= 40
        each = int(limits.get("nvidia.com/gpu", 0))
        gpus += each * (1 if place == 0 else pods_of_replica(site, needs) - 1)
    assert gpus == (0 if needs.is_simulated else needs.tensor * needs.pipeline * needs.data)


def test_the_selector_is_a_part_of_the_labels() -> None:
    needs = BASE.needs["m"]
    for pool in ("main", "on-demand"):
        assert pod_selector(BASE, needs, pool).items() <= pod_labels(BASE, needs, pool).items()
        template = plain(pod_template(BASE, needs, Role(pool=pool)))
        assert template["metadata"]["labels"] == pod_labels(BASE, needs, pool)
