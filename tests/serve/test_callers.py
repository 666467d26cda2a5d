"""The store's keys beside the file's: one look-up, no further reach than the tenant's, nothing opened by revoking."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from penstock.serve.callers import tenants_shown, with_store_keys
from penstock.serve.config import digest_key
from penstock.serve.keys import KeyRecord, KeyRequest, new_record, standing
from penstock.spec import TenantSpec
from serve.gateways import KEY, config

STORED = "a-key-of-the-store"


def record(key: str = STORED, *, tenant: str = "gamma", models: tuple[str, ...] | None = None) -> KeyRecord:
    return new_record(KeyRequest(tenant=tenant, name="laptop", models=models), key, now=0)


def models_of(record: KeyRecord) -> frozenset[str] | None:
    caller = with_store_keys(config(), [record], has_keys=True, now=1).caller_of(STORED.encode())
    assert caller is not None
    assert (caller.tenant, caller.key) == (record.tenant, "laptop")
    return caller.models


def test_a_key_of_the_store_is_known_beside_those_of_the_file() -> None:
    compiled = with_store_keys(config(), [record()], has_keys=True, now=1)

    assert set(compiled.callers) == {*config().callers, digest_key(STORED)}
    assert compiled.caller_of(KEY.encode()) == config().caller_of(KEY.encode())
    assert STORED not in repr(compiled)


def test_the_file_wins_where_both_have_a_key() -> None:
    compiled = with_store_keys(config(), [record(KEY)], has_keys=True, now=1)

    assert compiled.callers == config().callers


def test_a_key_reaches_its_own_models_within_its_tenants() -> None:
    """In the file `beta` may call `embed` alone, `acme` all."""
    assert models_of(record(tenant="gamma")) is None
    assert models_of(record(tenant="gamma", models=("embed", "gone"))) == {"embed"}
    assert models_of(record(tenant="beta")) == {"embed"}
    assert models_of(record(tenant="beta", models=("chat",))) == set()
    assert models_of(record(tenant="acme")) is None


@given(st.none() | st.integers(0, 20), st.none() | st.integers(0, 20), st.integers(0, 20))
def test_a_key_is_known_exactly_while_it_is_valid(expires: int | None, revoked: int | None, now: int) -> None:
    one = replace(record(), expires=expires, revoked=revoked)
    compiled = with_store_keys(config(), [one], has_keys=True, now=now)

    assert (compiled.caller_of(STORED.encode()) is not None) == (standing(one, now) == "valid")


def test_calls_without_a_key_end_with_the_first_key_and_do_not_begin_again_with_the_last() -> None:
    open_ = config("")
    assert open_.is_anonymous_served

    assert with_store_keys(open_, [], has_keys=False, now=1).is_anonymous_served
    assert not with_store_keys(open_, [record()], has_keys=True, now=1).is_anonymous_served
    assert not with_store_keys(open_, [], has_keys=True, now=1).is_anonymous_served


def test_calls_without_a_key_go_on_where_the_file_says_so_and_nowhere_else() -> None:
    meant = config("    auth: {anonymous: true}\n")

    assert with_store_keys(meant, [record()], has_keys=True, now=1).is_anonymous_served
    assert not with_store_keys(config(), [], has_keys=False, now=1).is_anonymous_served


def test_tenants_are_those_of_the_file_and_then_those_of_the_store_with_their_valid_keys() -> None:
    tenant = TenantSpec.model_validate({"name": "zeta", "keys": [{"value": "long-enough"}], "models": ["chat"]})
    records = [record(tenant="beta"), record(tenant="beta"), record(tenant="zeta"), replace(record(), revoked=1)]

    assert [tuple(row.values()) for row in tenants_shown([tenant], records, 1)] == [
        ("zeta", 1, 1, ["chat"]),
        ("beta", 0, 2, None),
    ]
