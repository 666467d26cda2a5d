"""Flags by version."""

from __future__ import annotations

import pytest

from penstock.facts.flags import GONE_FLAGS, flag_trouble, version_key


@pytest.mark.parametrize(
    ("flag", "version", "words"),
    [
        ("--disable-log-requests", "0.32.0", "off by default"),
        ("--num_scheduler_steps=8", "0.32.0", "async scheduling"),
        ("--task", "0.32.1", "use --runner and --convert"),
        ("--calculate-kv-scales", "0.32.0", "drop it"),
        ("--disable-cascade-attn", "0.33.0", "does not start"),
        ("--shutdown-timeout=90", "0.17.1", "came with 0.18.0"),
    ],
)
def test_flag_that_stops_an_engine_is_named_with_what_to_do(flag: str, version: str, words: str) -> None:
    said = flag_trouble(flag, version)
    assert said is not None
    assert words in said


@pytest.mark.parametrize(
    ("flag", "version"),
    [
        ("--max-model-len", "0.32.0"),
        ("--disable-cascade-attn", "0.32.0"),
        ("--num-scheduler-steps", "0.6.6"),
        ("--shutdown-timeout", "0.18.0"),
    ],
)
def test_flag_that_works_is_left_alone(flag: str, version: str) -> None:
    assert flag_trouble(flag, version) is None


@pytest.mark.parametrize(
    ("version", "key"),
    [("0.32.0", (0, 32, 0)), ("v0.26.0rc1", (0, 26, 0)), ("0.23.1.dev4+cu130", (0, 23, 1)), ("x", ())],
)
def test_versions_are_read_as_numbers(version: str, key: tuple[int, ...]) -> None:
    assert version_key(version) == key


def test_names_are_unique_and_spelled_as_options() -> None:
    names = [f.name for f in GONE_FLAGS]
    assert len(set(names)) == len(names) > 30
    assert all(n.startswith("--") and "_" not in n for n in names)
