"""What differs between two fleet files: which fields, and never their values."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from penstock.spec.changes import CHANGES_MAX, changed_fields
from penstock.spec.loader import load_fleet

HEAD = "apiVersion: penstock.dev/v1alpha1\nkind: Fleet\nmetadata: {name: demo}\nspec:\n"


def changed(before: str, after: str) -> list[str]:
    return changed_fields(*(load_fleet(HEAD + text, "fleet.yaml") for text in (before, after)))


def test_the_same_file_changes_nothing() -> None:
    text = "  models: [{name: chat, replicas: 2}]\n  gateway: {queue: {}}\n"
    assert changed(text, text) == []


def test_fields_that_change_come_and_go_are_named_by_their_path() -> None:
    before = "  models: [{name: chat, replicas: 1}, {name: old}]\n"
    after = "  models: [{name: new}, {name: chat, replicas: 2}]\n  gateway: {timeouts: {drainS: 5}}\n"
    assert changed(before, after) == [
        "spec.gateway",
        "spec.models[chat].replicas",
        "spec.models[new]",
        "spec.models[old]",
    ]


def test_a_list_without_names_is_told_by_place() -> None:
    before = "  models: [{name: chat, endpoints: ['http://a:1', 'http://b:1']}]\n"
    after = "  models: [{name: chat, endpoints: ['http://a:1', 'http://c:1']}]\n"
    assert changed(before, after) == ["spec.models[chat].endpoints[1]"]


def test_a_secret_that_changes_is_not_told() -> None:
    text = "  models: [{{name: chat}}]\n  gateway: {{tenants: [{{name: a, keys: [{{name: k, value: {}}}]}}]}}\n"
    told = changed(text.format("first-secret-1"), text.format("second-secret-2"))
    assert told == ["spec.gateway.tenants[a].keys[k].value"]


def test_what_is_told_is_bounded() -> None:
    many = "".join(f"{{name: m{n}}}, " for n in range(CHANGES_MAX + 50))
    assert len(changed("  models: [{name: chat}]\n", f"  models: [{many}]\n")) == CHANGES_MAX


@given(st.lists(st.integers(1, 5), min_size=3, max_size=3), st.lists(st.integers(1, 5), min_size=3, max_size=3))
def test_exactly_what_differs_is_told(before: list[int], after: list[int]) -> None:
    texts = [
        "  models: [" + ", ".join(f"{{name: m{n}, replicas: {count}}}" for n, count in enumerate(counts)) + "]\n"
        for counts in (before, after)
    ]
    expected = [f"spec.models[m{n}].replicas" for n in range(3) if before[n] != after[n]]
    assert changed(*texts) == expected
