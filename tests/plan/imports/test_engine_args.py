"""An engine's command line read as flags."""

from __future__ import annotations

import pytest

from penstock.plan.imports.engine_args import read_flags


@pytest.mark.parametrize(
    ("words", "flags"),
    [
        (["--gpu-memory-utilization", "0.8"], {"gpu-memory-utilization": "0.8"}),
        (["--gpu-memory-utilization=0.8"], {"gpu-memory-utilization": "0.8"}),
        (["--max_model_len 4096"], {"max-model-len": "4096"}),
        (["--disable-log-requests", "--seed", 7], {"disable-log-requests": True, "seed": "7"}),
        (["--served-model-name", "a", "b"], {"served-model-name": ["a", "b"]}),
        (['--config={"a": "b c"}'], {"config": '{"a": "b c"}'}),
        (["--seed", "1", "--seed", "2"], {"seed": "2"}),
    ],
)
def test_flags_are_read_however_they_are_written(words: list[object], flags: dict[str, object]) -> None:
    assert read_flags(words) == (flags, [])


def test_what_belongs_to_no_flag_is_told() -> None:
    assert read_flags(["serve", "--a=1", "stray"]) == ({"a": "1"}, ["serve", "stray"])
