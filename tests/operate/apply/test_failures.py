"""A refusal of the API server, in words a person can act on."""

from __future__ import annotations

from typing import Any

import pytest

from penstock.operate.apply.failures import (
    Absent,
    ApiFailure,
    Asked,
    Busy,
    Denied,
    FieldConflict,
    Invalid,
    Stale,
    failure_of,
    kind_absent,
)
from penstock.operate.apply.objects import Ref

REF = Ref(api_version="apps/v1", kind="Deployment", name="chat", namespace="llm")
ASKED = Asked(verb="patch", resource="deployments.apps", ref=REF, namespace="llm", context="prod", url="https://k")


def told(code: int, message: str = "", causes: list[dict[str, str]] | None = None, asked: Asked = ASKED) -> ApiFailure:
    body: dict[str, Any] = {"message": message, "details": {"causes": causes or []}}
    return failure_of(code, body, asked)


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (401, Denied),
        (404, Absent),
        (409, Stale),
        (410, Stale),
        (422, Invalid),
        (400, Invalid),
        (429, Busy),
        (503, Busy),
    ],
)
def test_each_code_is_a_failure_of_its_kind(code: int, kind: type[ApiFailure]) -> None:
    found = told(code, "no")

    assert type(found) is kind
    assert found.code == code
    assert "llm/chat" in found.message


def test_rights_that_are_missing_are_told_with_the_way_to_check() -> None:
    found = told(403, 'deployments.apps "chat" is forbidden: User "ann" cannot patch resource "deployments"')

    assert found.message == "'ann' may not patch deployments.apps in namespace llm in the cluster of context 'prod'"
    assert "kubectl auth can-i patch deployments.apps -n llm" in (found.hint or "")


def test_a_quota_is_no_missing_right() -> None:
    found = told(403, 'pods "p" is forbidden: exceeded quota: gpus')

    assert isinstance(found, Invalid)
    assert "exceeded quota: gpus" in found.message


def test_a_conflict_lists_managers_with_their_fields() -> None:
    found = told(
        409,
        causes=[
            {"reason": "FieldManagerConflict", "message": 'conflict with "b" using apps/v1', "field": ".spec.replicas"},
            {"reason": "FieldManagerConflict", "message": 'conflict with "a"', "field": ".spec.paused"},
            {"reason": "FieldManagerConflict", "message": 'conflict with "b"', "field": ".metadata.labels.x"},
        ],
    )

    assert isinstance(found, FieldConflict)
    assert found.message == "Deployment llm/chat: 'a' owns .spec.paused; 'b' owns .spec.replicas, .metadata.labels.x"


def test_an_invalid_object_tells_every_cause_with_its_field() -> None:
    found = told(422, "is invalid", [{"field": "spec.replicas", "message": "must be 0 or more"}])

    assert "spec.replicas: must be 0 or more" in found.message


def test_an_unknown_field_is_no_trouble_of_the_server() -> None:
    found = told(500, "failed to create typed patch object: .spec.x: field not declared in schema")

    assert isinstance(found, Invalid)


def test_an_answer_that_is_no_status_is_told_all_the_same() -> None:
    assert "HTTP 502" in failure_of(502, {}, ASKED).message


def test_a_kind_that_is_absent_says_what_brings_it() -> None:
    assert "LeaderWorkerSet controller" in (kind_absent("leaderworkerset.x-k8s.io/v1", "L", "it").hint or "")
    assert "kubectl api-resources --api-group=x.y" in (kind_absent("x.y/v1", "L", "it").hint or "")


def test_a_cluster_without_a_context_is_told_by_its_address() -> None:
    assert "the cluster at https://k" in told(404, asked=Asked(verb="get", resource="pods", url="https://k")).message
