"""Names of objects: valid, short, never shared, and the same whatever else the fleet holds."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from penstock.plan.manifests.names import component_labels, dns_name, fleet_labels, model_names, selector

LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
MODELS = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._:/-]{0,60}", fullmatch=True)


def test_a_model_is_named_after_its_fleet_and_the_last_part_of_its_name() -> None:
    names = model_names("prod", ["Qwen/Qwen3-8B", "chat"])

    assert names == {"Qwen/Qwen3-8B": "prod-qwen3-8b", "chat": "prod-chat"}


def test_models_that_come_to_one_name_are_told_apart() -> None:
    names = model_names("prod", ["a/chat", "b/chat", "other"])

    assert len(set(names.values())) == 3
    assert all(name.startswith("prod-chat-") for model, name in names.items() if model != "other")


def test_a_long_name_is_cut_and_kept_apart() -> None:
    first, second = dns_name("f", "x" * 80 + "a"), dns_name("f", "x" * 80 + "b")

    assert first != second
    assert len(first) == len(second) == 40


@given(st.lists(MODELS, min_size=1, max_size=8, unique=True))
def test_every_name_is_a_dns_label_of_its_own(models: list[str]) -> None:
    names = model_names("fleet-1", models)

    assert len(set(names.values())) == len(models)
    assert all(LABEL.fullmatch(name) and len(name) <= 40 for name in names.values())


@given(st.lists(st.text(min_size=1, max_size=70), min_size=1, max_size=3))
def test_anything_gives_a_dns_label(parts: list[str]) -> None:
    name = dns_name(*parts)

    assert LABEL.fullmatch(name)
    assert len(name) <= 40


def test_a_pods_labels_hold_its_selector() -> None:
    labels = component_labels("prod", "engine", "prod-chat", {"team": "a", "penstock.dev/fleet": "theirs"})

    assert selector("prod", "engine", "prod-chat").items() <= labels.items()
    assert labels["team"] == "a"
    assert fleet_labels("prod").items() <= labels.items()


def test_a_model_called_as_one_of_the_fleets_own_objects_gets_a_hash() -> None:
    names = model_names("f", ["gateway", "chat"])

    assert names["gateway"] != "f-gateway"
    assert names["gateway"].startswith("f-gateway-")
    assert names["chat"] == "f-chat"
