"""Limits of tenants and keys: what is left out does not limit, 0 allows none, and a key has no more than its tenant."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from penstock.spec import QuotaSpec
from penstock.spec.quota import CLASS_ORDER, beyond
from spec.fleets import fleet_text, the_problem

FIELDS = sorted(QuotaSpec.model_fields)


def quotas() -> st.SearchStrategy[dict[str, int]]:
    return st.dictionaries(st.sampled_from(FIELDS), st.integers(0, 5))


def test_what_is_left_out_does_not_limit_and_zero_is_a_limit() -> None:
    quota = QuotaSpec.model_validate({"requestsPerMinute": 0, "costPerMonth": 0})

    assert (quota.requests_per_minute, quota.cost_per_month) == (0, 0)
    assert quota.tokens_per_minute is None


@pytest.mark.parametrize("field", [QuotaSpec.model_fields[name].alias for name in FIELDS])
def test_no_limit_is_negative_and_the_line_is_told(field: str) -> None:
    problem = the_problem(
        fleet_text(gateway=f"tenants: [{{name: a, keys: [{{valueFrom: {{env: K}}}}], limits: {{{field}: -1}}}}]")
    )

    assert (problem.line, problem.field) == (7, f"spec.gateway.tenants[0].limits.{field}")
    assert "from 0 to 1000000000000, not -1" in problem.message


def test_the_classes_are_ordered_from_the_highest() -> None:
    assert CLASS_ORDER == ("interactive", "batch", "experimental")


@given(quotas(), quotas())
def test_a_key_is_beyond_its_tenant_in_each_limit_that_both_have_and_where_its_own_is_larger(
    key: dict[str, Any], tenant: dict[str, Any]
) -> None:
    found = {finding.at[0] for finding in beyond(QuotaSpec(**key), QuotaSpec(**tenant))}

    aliases = {name: QuotaSpec.model_fields[name].alias for name in FIELDS}
    assert found == {aliases[name] for name in key if name in tenant and key[name] > tenant[name]}


def test_a_limit_is_a_whole_number_but_for_money() -> None:
    assert QuotaSpec(cost_per_month=0.5).cost_per_month == 0.5
    with pytest.raises(ValidationError):
        QuotaSpec.model_validate({"requestsPerMinute": 0.5})
