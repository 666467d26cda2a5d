"""Flags on a command line."""

from __future__ import annotations

import pytest

from penstock.operate.doctor.findings import Where
from penstock.operate.doctor.flags import Arg, Flags, is_distinctive, parse_flags, substituted, texts


def flags(*words: str) -> Flags:
    return parse_flags([Arg(text=word, where=Where(file="a", line=n)) for n, word in enumerate(words, 1)])


@pytest.mark.parametrize(
    "words", [("--max-model-len", "8"), ("--max-model-len=8",), ("--max_model_len", "8"), ("--max_model_len=8",)]
)
def test_a_flag_is_the_same_however_it_is_written(words: tuple[str, ...]) -> None:
    assert flags(*words).number("max-model-len") == 8


def test_a_switch_takes_no_word_after_it() -> None:
    found = flags("a/b", "--enforce-eager", "c", "--disable-log-requests", "-tp", "4")

    assert texts(found.words) == ["a/b", "c"]
    assert found.find("enforce-eager") is not None
    assert found.size("tensor-parallel-size") == 4


def test_a_negative_number_and_json_are_values() -> None:
    found = flags("--seed", "-1", "--compilation-config", '{"level": 3}', "--logging-config.level=DEBUG")

    assert found.text("seed") == "-1"
    assert found.text("compilation-config") == '{"level": 3}'
    assert [f.items for f in found] == [2, 2, 1]


def test_the_last_of_a_name_holds() -> None:
    assert flags("--seed", "1", "--seed", "2").text("seed") == "2"


def test_lengths_may_be_short() -> None:
    assert flags("--max-model-len", "80k").number("max-model-len") == 80_000
    assert flags("--max-model-len", "1K").number("max-model-len") == 1024
    assert flags("--max-model-len", "auto").number("max-model-len") is None


def test_only_vllm_has_these() -> None:
    assert is_distinctive("--gpu-memory-utilization=0.9")
    assert is_distinctive("--disable-log-requests")
    assert not is_distinctive("--port")
    assert not is_distinctive("gpu-memory-utilization")


def test_known_variables_are_put_in() -> None:
    values = {"A": "1"}

    assert substituted("$(A) ${A} $A ${B:-2} $B $(B)", values) == "1 1 1 2 $B $(B)"
