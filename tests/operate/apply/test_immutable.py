"""What cannot be changed is told with what to do instead."""

from __future__ import annotations

import pytest

from operate.apply.made import condition, live
from penstock.operate.apply.immutable import advice, has_failed, is_finished, is_replaceable
from penstock.operate.apply.objects import ref_of

DONE = {"conditions": [condition("Complete")]}
FAILED = {"conditions": [condition("Failed")]}


@pytest.mark.parametrize(
    ("kind", "status", "words"),
    [
        ("Job", DONE, "--replace"),
        ("Job", {}, "wait until it is done"),
        ("Deployment", {}, "--cascade=orphan"),
        ("PersistentVolumeClaim", {}, "only grows"),
        ("RoleBinding", {}, "--replace"),
        ("Service", {}, "kubectl delete service x -n llm"),
    ],
)
def test_each_kind_has_its_way_out(kind: str, status: dict[str, object], words: str) -> None:
    obj = live(kind, status=status)

    assert words in advice(ref_of(obj), obj, "spec.x: Invalid value: field is immutable")
    assert advice(ref_of(obj), obj, "spec.x: Required value") == ""


def test_only_what_holds_nothing_is_replaced() -> None:
    assert is_replaceable(live("Job", status=DONE))
    assert is_replaceable(live("Job", status=FAILED))
    assert not is_replaceable(live("Job"))
    assert not is_replaceable(live("PersistentVolumeClaim"))
    assert not is_replaceable(live("Deployment"))


def test_a_job_that_failed_is_told_from_one_that_is_done() -> None:
    assert is_finished(live("Job", status=FAILED))
    assert has_failed(live("Job", status=FAILED))
    assert not has_failed(live("Job", status=DONE))
    assert not has_failed(live("Pod", status=FAILED))
