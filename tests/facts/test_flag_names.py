"""The list of flags: what 0.32 takes, and how a flag may be written."""

from __future__ import annotations

import pytest

from penstock.facts.flag_names import SERVE_FLAGS, SWITCHES, is_serve_flag, long_name
from penstock.facts.flags import ADDED_FLAGS, GONE_FLAGS


@pytest.mark.parametrize(
    "flag", ["--max-model-len", "--max_model_len=8", "-tp", "--no-enable-prefix-caching", "--logging-config.level"]
)
def test_a_flag_is_known_in_each_of_its_forms(flag: str) -> None:
    assert is_serve_flag(flag)


@pytest.mark.parametrize("flag", ["--max-modle-len", "--no-max-model-len", "--swap-space"])
def test_what_it_does_not_take_is_not_known(flag: str) -> None:
    assert not is_serve_flag(flag)


def test_the_two_tables_of_flags_agree() -> None:
    gone = {f.name.removeprefix("--") for f in GONE_FLAGS if f.gone_in <= "0.32.0"}

    assert gone & SERVE_FLAGS == set()
    assert {name.removeprefix("--") for name in ADDED_FLAGS} <= SERVE_FLAGS
    assert SWITCHES < SERVE_FLAGS


def test_short_and_underscored_names_become_long_ones() -> None:
    assert long_name("-tp") == "--tensor-parallel-size"
    assert long_name("--max_num_seqs=4") == "--max-num-seqs"
