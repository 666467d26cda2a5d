"""Policies by name: those of the fleet file, each fresh."""

from __future__ import annotations

from typing import get_args

import pytest

from penstock.errors import UsageError
from penstock.serve.routing import POLICY_NAMES, make_policy
from penstock.spec.traffic import RoutingSpec


def test_each_name_of_the_fleet_file_is_made() -> None:
    names = get_args(RoutingSpec.model_fields["policy"].annotation)
    assert set(names) == set(POLICY_NAMES)
    assert [make_policy(name).name for name in names] == list(names)
    assert RoutingSpec().policy == POLICY_NAMES[0]


def test_an_unknown_name_is_told_with_the_nearest() -> None:
    with pytest.raises(UsageError, match="no routing policy 'costs'") as caught:
        make_policy("costs")
    assert "did you mean cost?" in str(caught.value)
