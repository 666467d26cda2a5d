"""The store's keys beside the file's: one look-up, no further reach than the tenant's, nothing opened by revoking."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from penstock.serve.callers import LiveCallers, refused_key, tenants_shown, with_store_keys
from penstock.serve.config import digest_key
from penstock.serve.keys import KeyRecord, KeyRequest, key_text, limits_of, new_record, standing
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

    names = ("tenant", "keys_in_file", "keys_in_store", "models", "month_tokens")
    assert [tuple(row[name] for name in names) for row in tenants_shown([tenant], records, 1)] == [
        ("zeta", 1, 1, ["chat"], None),
        ("beta", 0, 2, None, None),
    ]


def test_a_tenants_terms_and_this_months_use_are_shown() -> None:
    (row,) = tenants_shown([tenant_of_file()], [], 1, {"t:beta": (1500, 2_500_000), "k:key_1": (9, 9)})

    assert (row["class"], row["weight"]) == ("batch", 3.0)
    assert row["limits"] == {"requestsPerMinute": 10, "outputTokensMax": 50}
    assert (row["month_tokens"], row["month_cost_usd"]) == (1500, 2.5)
    assert tenants_shown([tenant_of_file()], [], 1, {})[0]["month_tokens"] == 0


def tenant_of_file() -> TenantSpec:
    limits = {"requestsPerMinute": 10, "outputTokensMax": 50}
    return TenantSpec.model_validate(
        {"name": "beta", "class": "batch", "weight": 3, "limits": limits, "keys": [{"value": "long-enough"}]}
    )


def test_a_key_has_its_tenants_terms_and_its_own_within_them() -> None:
    own = limits_of({"tokensPerMinute": 5, "outputTokensMax": 80, "promptTokensMax": 7})
    plain, limited = record(tenant="beta"), replace(record("another"), tenant="beta", limits=own, id="key_2")
    live = LiveCallers(config(), [tenant_of_file()], [plain, limited], has_keys=True, now=1)

    one = live.config.callers[plain.digest]
    assert (one.key_id, one.traffic_class, one.weight, one.output_tokens_max) == (plain.id, "batch", 3.0, 50)
    assert [scope.id for scope in one.scopes] == ["t:beta"]
    two = live.config.callers[limited.digest]
    assert [scope.id for scope in two.scopes] == ["t:beta", "k:key_2"]
    assert two.scopes[0] is one.scopes[0]
    assert two.scopes[1].quota.tokens_per_minute == 5
    assert (two.output_tokens_max, two.prompt_tokens_max) == (50, 7)
    live.apply([replace(limited, traffic_class="interactive", limits=None)], has_keys=True, now=1)
    three = live.config.callers[limited.digest]
    assert (three.traffic_class, [scope.id for scope in three.scopes]) == ("interactive", ["t:beta"])


FILE = config()
TIMES = st.none() | st.integers(0, 20)


@given(st.lists(st.tuples(st.integers(0, 3), TIMES, TIMES), max_size=30))
def test_changes_one_by_one_make_what_all_at_once_makes(changes: list[tuple[int, int | None, int | None]]) -> None:
    """Four keys, the first of which stands in the file too; time goes on by one with each change."""
    texts = (KEY, "b-key", "c-key", "d-key")
    known: dict[int, KeyRecord] = {}
    live = LiveCallers(FILE, has_keys=False, now=0)
    for now, (which, expires, revoked) in enumerate(changes):
        ended = [r for r in known.values() if standing(r, now) != "valid"]
        known[which] = replace(record(texts[which]), expires=expires, revoked=revoked, id=f"key_{which}")
        live.apply([*ended, known[which]], has_keys=True, now=now)

        whole = with_store_keys(FILE, known.values(), has_keys=True, now=now)
        assert live.config.callers == whole.callers
        assert set(live.ended.values()) == {r for r in known.values() if standing(r, now) != "valid"}


WHOLE = key_text(bytes(32))


def test_who_shows_a_key_that_ended_is_told_so_and_nobody_else() -> None:
    day = 1_795_273_200  # 2026-11-21T15:00:00Z
    ended = {
        digest_key(WHOLE): replace(record(WHOLE), expires=day),
        digest_key(STORED): replace(record(), expires=day, revoked=day - 86_400),
    }

    def told(key: str) -> str:
        failure = refused_key(key.encode("latin-1", "replace"), ended, day + 1)
        assert (failure.status, failure.code) == (401, "invalid_api_key")
        return failure.message

    assert told(WHOLE).startswith("This API key expired on 2026-11-21.")
    assert told(STORED).startswith("This API key was revoked on 2026-11-20.")
    assert told(WHOLE[:-1]).startswith("This API key is mistyped")
    assert told(WHOLE.replace("0", "1", 1)).startswith("This API key is mistyped")
    assert told(key_text(b"\1" * 32)) == told("sk-another") == told("\xff") != told(WHOLE)
    assert refused_key(WHOLE.encode(), {}, day).message == told("sk-another")
