"""Each name means one thing across the fleet."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from penstock.spec.names import ModelNames, TenantNames, clashes, unknown_models


def model(*names: str) -> ModelNames:
    return ModelNames(names=[(("name",), names[0]), *((("aliases", n), name) for n, name in enumerate(names[1:]))])


def test_two_models_cannot_answer_to_one_name() -> None:
    (finding,) = clashes([model("chat", "gpt"), model("embed", "gpt")], [])

    assert finding.at == ("models", 1, "aliases", 0)
    assert "'gpt' already names models[0]" in finding.message


def test_two_tenants_cannot_have_one_name() -> None:
    (finding,) = clashes([], [TenantNames(name="a"), TenantNames(name="a"), TenantNames(name=None)])

    assert finding.at == ("gateway", "tenants", 1, "name")


def test_two_keys_cannot_be_the_same_and_the_key_is_not_shown() -> None:
    key = "the-secret-itself"
    first = TenantNames(name="a", keys=[(("keys", 0, "value"), key)])
    second = TenantNames(name="b", keys=[(("keys", 0, "value"), "another"), (("keys", 1, "value"), key)])

    (finding,) = clashes([], [first, second])

    assert finding.at == ("gateway", "tenants", 1, "keys", 1, "value")
    assert "tenants[0].keys[0]" in finding.message
    assert key not in f"{finding.message}{finding.hint}"


def test_a_tenant_cannot_be_given_a_model_that_nothing_answers_to() -> None:
    tenant = TenantNames(name="a", models=[(("models", 0), "chat"), (("models", 1), "embd"), (("models", 2), "zzz")])

    near, far = unknown_models([model("chat"), model("embed", "e5")], [tenant])

    assert near.at == ("gateway", "tenants", 0, "models", 1)
    assert near.hint == "did you mean 'embed'?"
    assert far.hint == "models here: chat, e5, embed"


@given(st.lists(st.lists(st.sampled_from("abcdef"), min_size=1, max_size=3, unique=True), max_size=5))
def test_there_is_a_clash_for_each_name_that_an_earlier_model_has(fleet: list[list[str]]) -> None:
    found = list(clashes([model(*names) for names in fleet], []))

    repeated = sum(
        name in {n for before in fleet[:place] for n in before} for place, m in enumerate(fleet) for name in m
    )
    assert len(found) == repeated
