"""Each object gets one step, decided from what is there and what a dry run made of ours."""

from __future__ import annotations

from copy import deepcopy

from operate.apply.made import Json, condition, deployment, live
from penstock.operate.apply.adjustment import USED_BY
from penstock.operate.apply.failures import ApiFailure, FieldConflict, Invalid
from penstock.operate.apply.objects import ref_of
from penstock.operate.apply.planning import Action, ApplyPlan, Options, Step, decide, leftovers, propagation_of
from penstock.operate.apply.port import Applied


def step_of(
    there: Json | None, outcome: Json | ApiFailure | None, options: Options | None = None, wanted: Json | None = None
) -> Step:
    made = Applied(object=outcome, is_new=there is None) if isinstance(outcome, dict) else outcome
    sent = wanted or there or deployment()
    return decide(sent, there, made, wave=5, fleet="demo", options=options or Options())


def test_what_is_not_there_is_created_known_before_or_not() -> None:
    assert step_of(None, deployment()).action is Action.CREATE
    assert step_of(None, None).action is Action.CREATE


def test_what_is_the_same_is_unchanged_and_what_differs_is_changed() -> None:
    other = deepcopy(deployment())
    other["spec"]["replicas"] = 3

    assert step_of(deployment(), deployment()).action is Action.UNCHANGED
    changed = step_of(deployment(), other)
    assert (changed.action, changed.fields) == (Action.CHANGE, (".spec.replicas",))


def test_an_object_of_another_fleet_is_refused() -> None:
    theirs = deployment()
    theirs["metadata"]["labels"]["penstock.dev/fleet"] = "other"

    assert step_of(theirs, deployment()).action is Action.REFUSED


def test_an_object_of_nobody_is_taken_in() -> None:
    nobodys = deployment()
    nobodys["metadata"]["labels"] = {}

    assert step_of(nobodys, deployment()).action is Action.CHANGE


def test_a_refusal_is_told_and_a_done_job_is_replaced_when_asked_for() -> None:
    job = live("Job", api_version="batch/v1", status={"conditions": [condition("Complete")]})
    refusal = Invalid("spec.template: field is immutable")

    refused = step_of(job, refusal)
    assert (refused.action, "--replace" in refused.hint) == (Action.REFUSED, True)
    assert step_of(job, refusal, Options(may_replace=True)).action is Action.REPLACE
    assert step_of(deployment(), refusal, Options(may_replace=True)).action is Action.REFUSED


def test_a_failed_job_that_did_not_change_is_made_again_when_asked_for() -> None:
    job = live("Job", api_version="batch/v1", status={"conditions": [condition("Failed")]})

    assert step_of(job, job).action is Action.UNCHANGED
    assert step_of(job, job, Options(may_replace=True)).action is Action.REPLACE


def test_a_conflict_is_a_problem_of_the_plan() -> None:
    plan = ApplyPlan(steps=(step_of(deployment(), FieldConflict("no")), step_of(deployment(), deployment())))

    assert [step.action for step in plan.problems] == [Action.CONFLICT]
    assert plan.writes == ()
    assert plan.count(Action.UNCHANGED) == 1


def left(*observed: Json, options: Options | None = None, wanted: tuple[Json, ...] = ()) -> list[tuple[str, str]]:
    steps = leftovers(
        observed,
        [ref_of(obj) for obj in wanted],
        fleet="demo",
        user="llm/demo",
        options=options or Options(),
    )
    return [(step.ref.kind, step.action.value) for step in steps]


def test_leftovers_go_scalers_first_then_what_they_scale_then_what_that_needs() -> None:
    kinds = ("ServiceAccount", "ConfigMap", "Deployment", "HorizontalPodAutoscaler", "Service")

    assert [kind for kind, _ in left(*(live(kind) for kind in kinds))] == [
        "HorizontalPodAutoscaler",
        "Deployment",
        "Service",
        "ConfigMap",
        "ServiceAccount",
    ]


def test_what_is_asked_for_still_stays_whatever_its_version() -> None:
    there = live("HorizontalPodAutoscaler", api_version="autoscaling/v1")
    asked = live("HorizontalPodAutoscaler", api_version="autoscaling/v2")

    assert left(there, wanted=(asked,)) == []


def test_volumes_stay_unless_they_are_meant_and_namespaces_always() -> None:
    volume = live("PersistentVolumeClaim")

    assert left(volume, live("Namespace")) == [("PersistentVolumeClaim", "keep"), ("Namespace", "keep")]
    assert left(volume, options=Options(prunes_volumes=True)) == [("PersistentVolumeClaim", "prune")]


def test_what_others_made_or_another_fleet_owns_is_not_ours_to_prune() -> None:
    theirs = live("ConfigMap", metadata={"managedFields": [{"manager": "kubectl", "operation": "Apply"}]})
    other = live("ConfigMap", metadata={"labels": {"penstock.dev/fleet": "other"}})

    assert left(theirs, other) == []


def test_shared_objects_go_with_their_last_user_and_definitions_never() -> None:
    def shared(kind: str, users: str) -> Json:
        return live(kind, namespace=None, metadata={"annotations": {USED_BY: users}})

    assert left(shared("PriorityClass", "llm/demo")) == [("PriorityClass", "prune")]
    assert left(shared("PriorityClass", "llm/demo,x/y")) == [("PriorityClass", "release")]
    assert left(shared("PriorityClass", "x/y")) == []
    assert left(live("CustomResourceDefinition", namespace=None)) == [("CustomResourceDefinition", "keep")]


def test_a_question_is_asked_before_something_goes_but_not_for_a_job_that_is_done() -> None:
    done = live("Job", "j", status={"conditions": [condition("Complete")]})
    steps = leftovers([done, live("ConfigMap")], [], fleet="demo", user="llm/demo", options=Options())

    plan = ApplyPlan(steps=tuple(steps))
    assert len(plan.writes) == 2
    assert [step.ref.kind for step in plan.endings] == ["ConfigMap"]


def test_what_others_hang_on_goes_with_them_and_a_fleet_lets_go() -> None:
    assert propagation_of(ref_of(live("Deployment"))) == "Foreground"
    assert propagation_of(ref_of(live("ConfigMap"))) == "Background"
    assert propagation_of(ref_of(live("Fleet"))) == "Orphan"
