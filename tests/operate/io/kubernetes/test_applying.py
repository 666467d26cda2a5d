"""An apply comes to the same end whatever happens on the way, and the second one writes nothing."""

from __future__ import annotations

import asyncio

import pytest

from operate.io.kubernetes.clusters import (
    Json,
    autoscaler,
    claim,
    config,
    deployment,
    job,
    machines,
    moving,
    namespace,
    priority,
    run,
    serving,
    small_fleet,
    substance_of,
    target,
    writes,
)
from penstock.operate.apply.adjustment import USED_BY
from penstock.operate.apply.failures import Busy
from penstock.operate.apply.objects import Object, Ref
from penstock.operate.apply.planning import Action, Options, Step
from penstock.operate.apply.port import Applied
from penstock.operate.io.kubernetes.applying import Outcome, Silent, apply_bundle, carry_out
from penstock.operate.io.kubernetes.client import Client
from penstock.operate.io.kubernetes.gathering import Target, plan_apply
from penstock.operate.testing import Cluster


async def applied(api: Client, wanted: Target, *, wait_s: float | None = None, **options: bool) -> Outcome:
    return await apply_bundle(
        api,
        wanted.bundle,
        fleet=wanted.fleet,
        namespace=wanted.namespace,
        options=Options(**options),
        wait_s=wait_s,
    )


def cluster_with_machines() -> Cluster:
    cluster = Cluster(seed=1)
    machines(cluster)
    return cluster


def ready_cluster() -> Cluster:
    cluster = cluster_with_machines()
    cluster.create(namespace())
    return cluster


def actions(outcome: Outcome) -> dict[str, str]:
    return {step.ref.short: step.action.value for step in outcome.plan.steps}


class Order(Silent):
    """What was written, in order, and the states of what was waited for."""

    def __init__(self) -> None:
        self.kinds: list[str] = []

    def wrote(self, step: Step) -> None:
        self.kinds.append(step.ref.kind)


def test_waves_are_written_in_order_each_ready_before_the_next() -> None:
    async def work() -> None:
        cluster = cluster_with_machines()
        async with serving(cluster) as (server, api), moving(cluster):
            seen = Order()
            wanted = small_fleet()
            plan = await plan_apply(api, wanted, Options())

            outcome = await carry_out(api, wanted, plan, observer=seen, wait_s=30.0)

            assert outcome.is_ready
            assert set(seen.kinds[:2]) == {"Namespace", "PriorityClass"}
            assert set(seen.kinds[2:4]) == {"ConfigMap", "PersistentVolumeClaim"}
            assert seen.kinds[4:] == ["Job", "Deployment"]
            done = cluster.get("batch/v1", "Job", "fetch", "llm")
            assert done is not None
            assert done["status"]["succeeded"] == 1
            assert len(writes(server)) == len(seen.kinds)

    run(work)


def test_the_second_apply_says_nothing_to_change_and_writes_nothing() -> None:
    async def work() -> None:
        cluster = cluster_with_machines()
        async with serving(cluster) as (server, api), moving(cluster):
            await applied(api, small_fleet(), wait_s=30.0)
            count = len(writes(server))
            versions = {str(ref): version for ref, version in _versions(cluster)}

            again = await applied(api, small_fleet(), wait_s=30.0)

            assert set(actions(again).values()) == {"unchanged"}
            assert again.written == ()
            assert again.is_ready
            assert len(writes(server)) == count
            assert {str(ref): version for ref, version in _versions(cluster)} == versions

    run(work)


def _versions(cluster: Cluster) -> list[tuple[str, str]]:
    return [
        (f"{kind} {obj['metadata']['name']}", obj["metadata"]["resourceVersion"])
        for version, kind in (("v1", "ConfigMap"), ("apps/v1", "Deployment"), ("batch/v1", "Job"))
        for obj in cluster.list(version, kind)
    ]


def test_a_change_writes_only_what_changed() -> None:
    async def work() -> None:
        cluster = ready_cluster()
        async with serving(cluster) as (server, api):
            await applied(api, target(config(), deployment()))
            count = len(writes(server))

            outcome = await applied(api, target(config(), deployment(image="engine:2")))

            assert actions(outcome) == {"ConfigMap settings": "unchanged", "Deployment chat": "change"}
            (changed,) = outcome.written
            assert changed.fields == (".spec.template.spec.containers[0].image",)
            assert len(writes(server)) == count + 1

    run(work)


def test_what_is_asked_for_no_more_goes_but_volumes_and_others_objects_stay() -> None:
    async def work() -> None:
        cluster = ready_cluster()
        cluster.create(config("theirs"))  # our label, but not our field manager
        cluster.create(config("copy") | {"metadata": {"name": "other", "namespace": "llm"}})
        async with serving(cluster) as (_, api):
            await applied(api, target(config(), config("old"), claim(), deployment()))

            outcome = await applied(api, target(config()))

            assert actions(outcome) == {
                "ConfigMap settings": "unchanged",
                "ConfigMap old": "prune",
                "Deployment chat": "prune",
                "PersistentVolumeClaim models": "keep",
            }
            assert {obj["metadata"]["name"] for obj in cluster.list("v1", "ConfigMap", "llm")} == {
                "settings",
                "theirs",
                "other",
            }
            assert cluster.get("v1", "PersistentVolumeClaim", "models", "llm") is not None

            with_volumes = await applied(api, target(config()), prunes_volumes=True)
            assert actions(with_volumes)["PersistentVolumeClaim models"] == "prune"

    run(work)


def test_without_pruning_leftovers_are_only_told() -> None:
    async def work() -> None:
        cluster = ready_cluster()
        async with serving(cluster) as (_, api):
            await applied(api, target(config(), config("old")))

            outcome = await applied(api, target(config()), is_pruning=False)

            assert actions(outcome)["ConfigMap old"] == "keep"
            assert cluster.get("v1", "ConfigMap", "old", "llm") is not None

    run(work)


def test_a_conflict_stops_everything_before_the_first_write() -> None:
    async def work() -> None:
        cluster = ready_cluster()
        cluster.apply(config(value="theirs"), manager="kubectl-client-side-apply")
        async with serving(cluster) as (server, api):
            outcome = await applied(api, target(config(), deployment()))

            assert actions(outcome) == {"ConfigMap settings": "conflict", "Deployment chat": "create"}
            assert "'kubectl-client-side-apply' owns .data.value" in outcome.plan.problems[0].reason
            assert writes(server) == []

            forced = await applied(api, target(config(), deployment()), is_forced=True)
            assert actions(forced)["ConfigMap settings"] == "change"
            found = cluster.get("v1", "ConfigMap", "settings", "llm")
            assert found is not None
            assert found["data"]["value"] == "1"

    run(work)


async def scale(cluster: Cluster, replicas: int, manager: str) -> None:
    """What an autoscaler does: writes the number alone."""
    live = cluster.get("apps/v1", "Deployment", "chat", "llm")
    assert live is not None
    cluster.update({**live, "spec": {**live["spec"], "replicas": replicas}}, manager=manager)


def replicas_of(cluster: Cluster) -> int:
    live = cluster.get("apps/v1", "Deployment", "chat", "llm")
    assert live is not None
    return int(live["spec"]["replicas"])


def test_replicas_that_an_autoscaler_set_are_left_to_it() -> None:
    async def work() -> None:
        cluster = ready_cluster()
        async with serving(cluster) as (_, api):
            await applied(api, target(deployment(replicas=2), autoscaler()))
            await scale(cluster, 4, "kube-controller-manager")

            outcome = await applied(api, target(deployment(replicas=2, image="engine:2"), autoscaler()))

            assert actions(outcome)["Deployment chat"] == "change"
            assert replicas_of(cluster) == 4

    run(work)


def test_a_person_who_scaled_by_hand_is_a_conflict() -> None:
    async def work() -> None:
        cluster = ready_cluster()
        async with serving(cluster) as (_, api):
            await applied(api, target(deployment(replicas=2)))
            await scale(cluster, 4, "kubectl")

            outcome = await applied(api, target(deployment(replicas=2)))

            (problem,) = outcome.plan.problems
            assert problem.action is Action.CONFLICT
            assert "'kubectl' owns .spec.replicas" in problem.reason

    run(work)


def test_a_file_that_says_replicas_again_gets_them_when_its_scaler_goes() -> None:
    """The scaler goes before the number is written, else it would write its own over it."""

    async def work() -> None:
        cluster = ready_cluster()
        async with serving(cluster) as (server, api):
            await applied(api, target(deployment(replicas=None), autoscaler()))
            await scale(cluster, 4, "kube-controller-manager")
            server.requests.clear()

            outcome = await applied(api, target(deployment(replicas=2)))

            assert replicas_of(cluster) == 2
            assert [(r.method, r.path.rsplit("/", 1)[1]) for r in writes(server)] == [
                ("DELETE", "chat"),
                ("PATCH", "chat"),
            ]
            assert not outcome.plan.problems
            again = await applied(api, target(deployment(replicas=2)))
            assert not again.plan.writes

    run(work)


def test_stopped_after_the_scaler_went_the_next_apply_still_takes_its_replicas() -> None:
    async def work() -> None:
        cluster = ready_cluster()
        async with serving(cluster) as (_, api):
            await applied(api, target(deployment(replicas=None), autoscaler()))
            await scale(cluster, 4, "kube-controller-manager")
            cluster.delete("autoscaling/v2", "HorizontalPodAutoscaler", "chat", "llm")

            await applied(api, target(deployment(replicas=2)))

            assert replicas_of(cluster) == 2

    run(work)


def test_handing_replicas_to_an_autoscaler_keeps_them() -> None:
    """To let a field go would have the server set its default, one replica."""

    async def work() -> None:
        cluster = ready_cluster()
        async with serving(cluster) as (_, api):
            await applied(api, target(deployment(replicas=5)))

            await applied(api, target(deployment(replicas=None), autoscaler()))
            assert replicas_of(cluster) == 5

            await scale(cluster, 3, "kube-controller-manager")
            outcome = await applied(api, target(deployment(replicas=None), autoscaler()))
            assert replicas_of(cluster) == 3
            assert set(actions(outcome).values()) <= {"unchanged", "change"}
            assert set(actions(await applied(api, target(deployment(replicas=None), autoscaler()))).values()) == {
                "unchanged"
            }

    run(work)


def test_two_fleets_share_what_belongs_to_the_cluster_and_the_last_one_takes_it_along() -> None:
    async def work() -> None:
        cluster = ready_cluster()
        async with serving(cluster) as (_, api):
            one, two = target(priority()), target(priority(), fleet="other")
            await applied(api, one)
            await applied(api, two)
            shared = cluster.get("scheduling.k8s.io/v1", "PriorityClass", "penstock-serving")
            assert shared is not None
            assert shared["metadata"]["annotations"][USED_BY] == "llm/demo,llm/other"
            for each in (one, two):
                assert set(actions(await applied(api, each)).values()) == {"unchanged"}

            left = await applied(api, target())
            assert actions(left) == {"PriorityClass penstock-serving": "release"}
            last = await applied(api, target(fleet="other"))
            assert actions(last) == {"PriorityClass penstock-serving": "prune"}
            assert cluster.get("scheduling.k8s.io/v1", "PriorityClass", "penstock-serving") is None

    run(work)


def test_an_object_of_another_fleet_is_not_taken() -> None:
    async def work() -> None:
        cluster = ready_cluster()
        async with serving(cluster) as (server, api):
            theirs = config()
            theirs["metadata"]["labels"] = {"penstock.dev/fleet": "other"}
            await applied(api, target(theirs, fleet="other"))
            count = len(writes(server))

            outcome = await applied(api, target(config()))

            assert actions(outcome) == {"ConfigMap settings": "refused"}
            assert "fleet 'other'" in outcome.plan.problems[0].reason
            assert len(writes(server)) == count

    run(work)


def test_a_job_that_is_done_is_replaced_only_when_asked_for() -> None:
    async def work() -> None:
        cluster = ready_cluster()
        async with serving(cluster) as (_, api), moving(cluster):
            await applied(api, target(job()), wait_s=30.0)
            before = cluster.get("batch/v1", "Job", "fetch", "llm")

            refused = await applied(api, target(job(image="fetch:2")))
            assert actions(refused) == {"Job fetch": "refused"}
            assert "--replace" in refused.plan.problems[0].hint

            outcome = await applied(api, target(job(image="fetch:2")), wait_s=30.0, may_replace=True)
            after = cluster.get("batch/v1", "Job", "fetch", "llm")
            assert actions(outcome) == {"Job fetch": "replace"}
            assert before is not None
            assert after is not None
            assert after["metadata"]["uid"] != before["metadata"]["uid"]
            assert outcome.is_ready

    run(work)


def test_a_selector_that_cannot_change_is_told_before_anything_is_written() -> None:
    async def work() -> None:
        cluster = ready_cluster()
        async with serving(cluster) as (server, api):
            await applied(api, target(deployment()))
            count = len(writes(server))
            other = deployment()
            other["spec"]["selector"] = {"matchLabels": {"app": "chat", "v": "2"}}
            other["spec"]["template"]["metadata"]["labels"]["v"] = "2"

            outcome = await applied(api, target(other, config()))

            assert outcome.plan.problems[0].action is Action.REFUSED
            assert "--cascade=orphan" in outcome.plan.problems[0].hint
            assert len(writes(server)) == count

    run(work)


def test_a_failed_download_ends_the_apply_with_its_reason_and_the_next_waves_are_not_written() -> None:
    async def work() -> None:
        cluster = ready_cluster()
        failing = job()
        failing["spec"]["template"]["metadata"]["annotations"] = {"testing.penstock.dev/fails": "Error"}
        async with serving(cluster) as (_, api), moving(cluster):
            wanted = target(failing, deployment())
            outcome = await applied(api, wanted, wait_s=30.0)
            (row,) = [row for row in outcome.unready if row.ref.kind == "Job"]
            assert row.readiness.state == "failed"
            assert cluster.get("apps/v1", "Deployment", "chat", "llm") is None

    run(work)


def test_time_that_is_up_is_told_with_the_reasons() -> None:
    async def work() -> None:
        cluster = Cluster(seed=1)
        cluster.create(namespace())
        async with serving(cluster) as (_, api), moving(cluster):  # no nodes
            outcome = await applied(api, target(deployment()), wait_s=0.5)

            assert outcome.is_ready is False
            assert outcome.is_timeout
            assert "no node" in outcome.unready[0].readiness.reason

    run(work)


class KilledError(Exception):
    """The process is gone."""


class Cut(Client):
    """A client whose process dies at the n-th write: before it is sent, or before its answer is heard."""

    def __init__(self, inner: Client, at_write: int, *, is_sent: bool) -> None:
        super().__init__(inner._session)
        self._left = at_write
        self._is_sent = is_sent

    async def apply(self, obj: Object, *, is_dry_run: bool = False, is_forced: bool = False) -> Applied:
        if not is_dry_run:
            await self._cut(super().apply(obj, is_forced=is_forced))
        return await super().apply(obj, is_dry_run=is_dry_run, is_forced=is_forced)

    async def delete(self, ref: Ref, **options: object) -> bool:
        await self._cut(super().delete(ref, **options))  # type: ignore[arg-type]
        return await super().delete(ref, **options)  # type: ignore[arg-type]

    async def _cut(self, sending: object) -> None:
        self._left -= 1
        if self._left == 0 and self._is_sent:
            await sending  # type: ignore[misc]
        else:
            sending.close()  # type: ignore[attr-defined]
        if self._left <= 0:
            raise KilledError


def old_and_new() -> tuple[Target, Target]:
    """A fleet and what it becomes: something new, something changed, something that goes."""
    old = target(namespace(), priority(), config(), config("old"), deployment(), deployment("gone"))
    new = target(namespace(), priority(), config(value="2"), config("more"), deployment(image="engine:2"), autoscaler())
    return old, new


@pytest.mark.parametrize("is_sent", [False, True])
def test_stopped_at_any_write_and_started_again_it_comes_to_the_same_end(is_sent: bool) -> None:
    async def end_of(stops: list[int]) -> tuple[list[tuple[str, object]], int]:
        cluster = Cluster(seed=1)
        old, new = old_and_new()
        async with serving(cluster) as (server, api):
            await applied(api, old)
            for stop in stops:
                with pytest.raises((KilledError, ExceptionGroup)):
                    await applied(Cut(api, stop, is_sent=is_sent), new)
            await applied(api, new)
            count = len(writes(server))
            again = await applied(api, new)
            assert {step.action for step in again.plan.steps} == {Action.UNCHANGED}
            assert len(writes(server)) == count
            return sorted(substance_of(cluster, old, new), key=repr), count

    async def work() -> None:
        whole, _ = await end_of([])
        for stop in (1, 3, 4, 6):  # four objects are written and two deleted
            assert (await end_of([stop]))[0] == whole
        assert (await end_of([1, 1, 2]))[0] == whole

    run(work)


def test_an_api_server_that_fails_on_and_off_changes_nothing_of_the_end() -> None:
    async def work() -> None:
        cluster = cluster_with_machines()
        async with serving(cluster) as (server, api), moving(cluster):
            for code in (500, 429, 503):
                server.faults.fail(1, code=code, method="PATCH")
            server.faults.reset(2, method="GET", path="deployments")
            server.faults.fail(1, code=410, method="GET", path="jobs")

            outcome = await applied(api, small_fleet(), wait_s=30.0)

            assert outcome.is_ready
            server.faults.clear()
            assert set(actions(await applied(api, small_fleet())).values()) == {"unchanged"}

    run(work)


def test_a_server_that_stays_away_is_told_and_the_rest_follows_later() -> None:
    async def work() -> None:
        cluster = ready_cluster()
        async with serving(cluster) as (server, api):
            server.faults.fail(500, code=503, method="PATCH", path="deployments")
            with pytest.raises(Busy):
                await applied(api, target(config(), deployment()))
            server.faults.clear()

            assert (await applied(api, target(config(), deployment()))).written

    run(work)


def test_two_applies_at_once_come_to_the_same_end() -> None:
    async def work() -> None:
        cluster = cluster_with_machines()
        async with serving(cluster) as (_, api), moving(cluster):
            wanted = small_fleet()
            async with asyncio.TaskGroup() as group:
                both = [group.create_task(applied(api, wanted, wait_s=30.0)) for _ in range(2)]

            assert [task.result().is_ready for task in both] == [True, True]
            assert set(actions(await applied(api, wanted)).values()) == {"unchanged"}

    run(work)


def test_a_definition_is_served_before_its_first_object_is_written() -> None:
    from penstock.spec.crd import fleet_crd, fleet_resource
    from penstock.spec.loader import load_fleet

    async def work() -> None:
        text = (
            "apiVersion: penstock.dev/v1alpha1\nkind: Fleet\nmetadata: {name: demo}\nspec: {models: [{name: chat}]}\n"
        )
        body: Json = fleet_resource(load_fleet(text, "f"), "llm")
        body["metadata"]["labels"] = {"penstock.dev/fleet": "demo"}
        cluster = ready_cluster()
        async with serving(cluster) as (_, api):
            wanted = target(fleet_crd(), body)

            outcome = await applied(api, wanted)

            assert actions(outcome) == {
                "CustomResourceDefinition fleets.penstock.dev": "create",
                "Fleet demo": "create",
            }
            assert cluster.get("penstock.dev/v1alpha1", "Fleet", "demo", "llm") is not None
            assert set(actions(await applied(api, wanted)).values()) == {"unchanged"}
            gone = await applied(api, target())
            assert actions(gone) == {"Fleet demo": "prune"}  # with the definition every fleet would go

    run(work)
