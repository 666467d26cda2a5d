"""Names, labels and annotations as the server takes them."""

from __future__ import annotations

import re
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operate.testing.api import MAPS, Api, config_map
from penstock.operate.testing.kinds import BUILT_IN
from penstock.operate.testing.names import generated_name, metadata_causes

SERVICE = next(resource for resource in BUILT_IN if resource.plural == "services")
ROLE = next(resource for resource in BUILT_IN if resource.plural == "roles")
MAP = next(resource for resource in BUILT_IN if resource.plural == "configmaps")


def test_names_are_refused_in_the_servers_words() -> None:
    refused = Api().refused("POST", MAPS, config_map("Bad_Name"))

    words = (
        'Invalid value: "Bad_Name": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '
        "'-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for "
        "validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
    )
    assert (refused["code"], refused["reason"]) == (422, "Invalid")
    assert refused["details"]["causes"] == [{"reason": "FieldValueInvalid", "message": words, "field": "metadata.name"}]
    assert refused["message"] == f'ConfigMap "Bad_Name" is invalid: metadata.name: {words}'


def test_labels_are_refused_in_the_servers_words() -> None:
    body = config_map() | {"metadata": {"name": "a", "labels": {"ok": "not ok!", "a/b/c": "x"}}}

    refused = Api().refused("POST", MAPS, body)

    fields = {cause["field"] for cause in refused["details"]["causes"]}
    assert fields == {"metadata.labels"}
    assert "a valid label must be an empty string or consist of alphanumeric characters" in refused["message"]
    assert len(refused["details"]["causes"]) == 2


def test_an_object_has_a_name() -> None:
    refused = Api().refused("POST", MAPS, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {}})

    assert refused["details"]["causes"][0] == {
        "reason": "FieldValueRequired",
        "message": "Required value: name or generateName is required",
        "field": "metadata.name",
    }


@pytest.mark.parametrize(
    ("resource", "name", "is_good"),
    [
        (SERVICE, "web", True),
        (SERVICE, "1web", False),
        (SERVICE, "a.b", False),
        (ROLE, "system:node", True),
        (ROLE, "a/b", False),
        (MAP, "a.b-c", True),
        (MAP, "a" * 254, False),
    ],
)
def test_each_kind_has_its_own_names(resource: object, name: str, is_good: bool) -> None:
    assert (metadata_causes(resource, {"name": name}) == []) is is_good


def test_an_object_has_one_controller_at_most() -> None:
    reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "x", "uid": "1", "controller": True}

    causes = metadata_causes(MAP, {"name": "a", "ownerReferences": [reference, reference | {"uid": "2"}]})

    assert "Only one reference can have Controller set to true" in causes[0].message


@given(st.text(max_size=80), st.integers(0, 5))
def test_generated_names_fit(prefix: str, seed: int) -> None:
    name = generated_name(prefix, Random(seed))

    assert len(name) <= 63
    assert re.fullmatch(r"[b-z2-9]{5}", name[-5:])
