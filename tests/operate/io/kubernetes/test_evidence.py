"""Reading a live cluster for doctor: the same findings as from its dump, whatever is refused, slow, old or many."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from operate.doctor.faults import Fault, codes, read
from operate.io.kubernetes.clusters import FAST, T0, run
from operate.io.kubernetes.troubled import FAULTS, pod, put, troubled
from penstock.operate.apply.failures import ApiFailure
from penstock.operate.doctor import Evidence, check, chosen
from penstock.operate.io.kubernetes.evidence import Scope, read_cluster
from penstock.operate.io.kubernetes.session import open_session
from penstock.operate.testing import Cluster, User
from penstock.operate.testing.io.server import ApiServer
from penstock.operate.testing.requests import Answer, Request

EVERYWHERE = Scope(namespace=None)
LLM = Scope(namespace="llm")
CRASHES = {"ready": False, "restartCount": 3, "state": {"waiting": {"reason": "CrashLoopBackOff"}}}
TOKEN_LOG = "huggingface_hub.errors.HfHubHTTPError: 401 Client Error. Invalid credentials hf_abcdefghijklmnop\n"


def looked_at(
    cluster: Cluster,
    tmp_path: object,
    *,
    scope: Scope = EVERYWHERE,
    deadline_s: float = 30.0,
    tokens: dict[str, User] | None = None,
    while_reading: Callable[[ApiServer], None] | None = None,
) -> tuple[Evidence, ApiServer]:
    """The evidence of a cluster, and the server that was asked."""
    found: list[Evidence] = []
    servers: list[ApiServer] = []

    async def work() -> None:
        async with ApiServer(cluster, clock=lambda: T0, tokens=tokens) as server:
            servers.append(server)
            path = server.kubeconfig(f"{tmp_path}/config", "llm")
            async with open_session(kubeconfig=str(path), patience=FAST) as session:
                if while_reading is not None:
                    while_reading(server)
                found.append(await read_cluster(session, scope, now=T0, deadline_s=deadline_s))

    bounded: Callable[[], Awaitable[None]] = work
    run(bounded)
    return found[0], servers[0]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_each_fault_of_a_dump_is_found_in_the_cluster_itself(fault: Fault, tmp_path: object) -> None:
    evidence, _ = looked_at(troubled(fault.text), tmp_path)

    report = check(evidence)

    assert sorted(codes(report)) == sorted([fault.rule, *fault.also])
    assert report.problems == ()
    finding = next(f for f in report.findings if f.rule.code == fault.rule)
    assert finding.where.file == ""
    assert "/" in finding.where.object


def test_a_healthy_cluster_has_no_finding_and_its_reading_changes_nothing(tmp_path: object) -> None:
    evidence, server = looked_at(troubled(read("cluster.yaml")), tmp_path)

    assert codes(check(evidence)) == []
    assert not any(request.is_write for request in server.requests)


def test_places_are_namespace_kind_and_name(tmp_path: object) -> None:
    cluster = troubled(read("cluster.yaml"))
    put(cluster, pod("ill", log=TOKEN_LOG, **CRASHES))

    report = check(looked_at(cluster, tmp_path)[0])

    assert [(f.rule.code, str(f.where)) for f in report.findings] == [
        ("PS209", "llm/Pod/ill log of c before its restart"),
        ("PS227", "llm/Pod/ill status.containerStatuses[0].state.waiting.reason"),
    ]
    assert "hf_" not in report.findings[0].evidence


def test_one_namespace_is_looked_at_with_what_belongs_to_the_cluster(tmp_path: object) -> None:
    cluster = troubled(read("cluster.yaml"))
    put(cluster, pod("ill", namespace="other", **CRASHES))

    evidence, _ = looked_at(cluster, tmp_path, scope=LLM)

    assert codes(check(evidence)) == []
    assert {"Node", "Pod"} <= {resource.kind for resource in evidence.resources}


def test_a_fleet_is_looked_at_with_what_acts_on_it(tmp_path: object) -> None:
    cluster = troubled(read("cluster.yaml"))
    template = {"metadata": {"labels": {"app": "x"}}, "spec": {"containers": [{"name": "c", "image": "a/b:1.0"}]}}

    def workload(name: str, fleet: str) -> dict[str, object]:
        metadata = {"name": name, "namespace": "llm", "labels": {"penstock.dev/fleet": fleet}}
        return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": {"template": template}}

    def scaler(name: str, of: str) -> dict[str, object]:
        spec = {"scaleTargetRef": {"kind": "Deployment", "name": of}, "maxReplicas": 2}
        metadata = {"name": name, "namespace": "llm"}
        return {"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": metadata, "spec": spec}

    put(cluster, workload("mine", "demo"), workload("theirs", "other"), scaler("a", "mine"), scaler("b", "mine"))
    put(cluster, scaler("c", "theirs"), scaler("d", "theirs"))

    evidence, _ = looked_at(cluster, tmp_path, scope=Scope(namespace="llm", fleet="demo"))

    inside = {(r.kind, r.name) for r in evidence.resources if r.namespace}
    assert inside == {("Deployment", "mine"), ("HorizontalPodAutoscaler", "a"), ("HorizontalPodAutoscaler", "b")}
    assert codes(check(evidence)) == ["PS011"]


def test_what_may_not_be_read_is_said_and_the_rest_is_checked(tmp_path: object) -> None:
    cluster = troubled(next(f for f in FAULTS if f.rule == "PS205").text)
    rules = [{"apiGroups": [""], "resources": ["pods", "nodes"], "verbs": ["list"]}]
    role = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "look"}}
    bound = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": "look"}}
    subject = {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "jane"}
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "look"}
    cluster.create({**role, "rules": rules})
    cluster.create({**bound, "roleRef": reference, "subjects": [subject]})
    groups = ("system:authenticated",)

    evidence, _ = looked_at(cluster, tmp_path, tokens={"t": User(name="jane", groups=groups)})
    report = check(evidence)

    assert codes(report) == ["PS205"]
    told = [str(problem) for problem in report.problems]
    assert "Deployment" in told[0]
    assert "may not be listed" in told[0]
    assert "Pod," not in told[0]
    assert "kubectl auth can-i" in told[0]
    assert "may not get pods/log in namespace llm" in told[1]
    assert len(told) == 2


def test_where_nothing_may_be_read_it_fails(tmp_path: object) -> None:
    nobody = {"t": User(name="jane", groups=())}

    with pytest.raises(ApiFailure):
        looked_at(Cluster(seed=1), tmp_path, tokens=nobody)


def test_secrets_are_asked_for_by_name_without_their_values(tmp_path: object) -> None:
    cluster = troubled(read("cluster.yaml"))
    env = [
        {"name": name.upper(), "valueFrom": {"secretKeyRef": {"name": name, "key": "token"}}} for name in ("hf", "gone")
    ]
    needy = pod("needy")
    needy["spec"]["containers"][0]["env"] = env
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "hf", "namespace": "llm"}}
    put(cluster, needy, {**secret, "data": {"token": "c2VjcmV0"}})

    evidence, server = looked_at(cluster, tmp_path)

    assert evidence.absent == {("Secret", "llm", "gone")}
    assert codes(check(evidence)) == ["PS246"]
    asked = [request for request in server.requests if "/secrets" in request.path]
    assert [(r.path.rpartition("/")[2], r.query) for r in asked] == [
        ("gone", {"includeObject": "None"}),
        ("hf", {"includeObject": "None"}),
    ]
    assert not any(resource.kind == "Secret" for resource in evidence.resources)


def test_logs_are_those_of_the_ill_and_bounded(tmp_path: object) -> None:
    cluster = troubled(read("cluster.yaml"))
    put(cluster, pod("well"), *(pod(f"ill-{n:03}", log="x\n", **CRASHES) for n in range(60)))
    put(cluster, *(pod(f"made-{n}", maker="r", log="x\n", **CRASHES) for n in range(5)))

    evidence, server = looked_at(cluster, tmp_path)

    asked = [request for request in server.requests if request.path.endswith("/log")]
    assert len(asked) == 40
    assert {request.query.get("previous") for request in asked} == {"true"}
    assert {request.query["tailLines"] for request in asked} == {"500"}
    logs = [snippet.object for snippet in evidence.snippets if snippet.kind == "log"]
    assert logs == sorted(logs)
    assert "llm/Pod/ill-000 log of c before its restart" in logs


def test_thousands_of_pods_are_read_by_pages_and_said_as_one(tmp_path: object) -> None:
    cluster = troubled(read("cluster.yaml"))
    killed = {"lastState": {"terminated": {"reason": "OOMKilled", "exitCode": 137}}}
    put(cluster, *(pod(f"p-{n:05}", maker="r", **killed) for n in range(3_000)))

    evidence, server = looked_at(cluster, tmp_path)

    pages = [request for request in server.requests if request.path == "/api/v1/pods"]
    assert len(pages) == 7
    assert {request.query["limit"] for request in pages} == {"500"}
    specs = {id(r.value["spec"]["containers"]) for r in evidence.resources if r.kind == "Pod" and r.name[:2] == "p-"}
    assert len(specs) == 1
    (finding,) = check(evidence).findings
    assert finding.message.endswith("(and 2999 more pods of llm/ReplicaSet/r)")


def test_a_list_whose_history_is_gone_is_begun_again(tmp_path: object) -> None:
    cluster = troubled(read("cluster.yaml"))
    put(cluster, *(pod(f"p-{n:05}") for n in range(1200)))

    evidence, _ = looked_at(
        cluster, tmp_path, while_reading=lambda server: server.faults.fail(1, code=410, path="/api/v1/pods")
    )

    assert sum(resource.kind == "Pod" for resource in evidence.resources) == 1201
    assert evidence.problems == ()


def test_a_list_that_is_gone_again_and_again_is_said_and_the_rest_is_there(tmp_path: object) -> None:
    cluster = troubled(read("cluster.yaml"))

    evidence, _ = looked_at(
        cluster, tmp_path, while_reading=lambda server: server.faults.fail(9, code=410, path="/api/v1/pods")
    )

    (problem,) = evidence.problems
    assert "changed faster than it could be read" in problem.message
    assert any(resource.kind == "Node" for resource in evidence.resources)


def test_a_server_that_does_not_answer_for_a_kind_is_waited_for_so_long_and_no_longer(tmp_path: object) -> None:
    cluster = troubled(next(f for f in FAULTS if f.rule == "PS205").text)

    evidence, _ = looked_at(
        cluster, tmp_path, deadline_s=1.0, while_reading=lambda server: server.faults.hold(99, path="/events")
    )

    assert codes(check(evidence)) == ["PS205"]
    assert "Event: reading stopped after 1 s" in str(evidence.problems[0])


def test_the_order_is_the_same_whatever_answers_first(tmp_path: object) -> None:
    def titles(faults: Callable[[ApiServer], None] | None) -> list[str]:
        evidence, _ = looked_at(troubled(FAULTS[-1].text), tmp_path, while_reading=faults)
        return [resource.title for resource in evidence.resources]

    assert titles(None) == titles(lambda server: server.faults.fail(3, code=503, path="/api/v1"))


def test_a_page_of_a_proxy_in_the_place_of_an_answer_is_said(tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = troubled(next(f for f in FAULTS if f.rule == "PS205").text)
    handle = cluster.handle

    def proxied(request: Request, now: float) -> Answer:
        if request.path.endswith("/services"):
            return Answer(code=200, text="<html>log in</html>", content_type="text/html")
        return handle(request, now)

    monkeypatch.setattr(cluster, "handle", proxied)

    report = check(looked_at(cluster, tmp_path)[0])

    assert codes(report) == ["PS205"]
    assert [problem.message.split(":")[:2] for problem in report.problems] == [["Service", " the answer is not JSON"]]


def test_where_deployments_may_not_be_read_their_replica_sets_are_judged(tmp_path: object) -> None:
    cluster = troubled(read("cluster.yaml"))
    owner = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "x", "uid": "u-x", "controller": True}
    template = {"spec": {"containers": [{"name": "c", "image": "vllm/vllm-openai:latest"}]}}
    made = {"apiVersion": "apps/v1", "kind": "ReplicaSet"}
    named = {"namespace": "llm", "ownerReferences": [owner]}
    put(cluster, {**made, "metadata": {"name": "x-1", **named}, "spec": {"replicas": 1, "template": template}})
    put(cluster, {**made, "metadata": {"name": "x-0", **named}, "spec": {"replicas": 0, "template": template}})

    evidence, _ = looked_at(
        cluster,
        tmp_path,
        while_reading=lambda server: server.faults.fail(9, code=403, path="v1/deployments"),
    )
    report = check(evidence, rules=chosen(("PS039",), ()))

    assert [str(finding.where).partition(" ")[0] for finding in report.findings] == ["llm/ReplicaSet/x-1"]
    assert report.problems[0].message == "may not be listed: Deployment; rules on them say nothing"
