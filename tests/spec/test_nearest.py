"""Nearest names: slips are found, strangers are not, and the work is bounded."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.spec.nearest import fold, nearest, similarity

names = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=40)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("replica", "replicas"),
        ("max_replicas", "maxReplicas"),
        ("Chat", "chat"),
        ("gpt4o-mini", "gpt-4o-mini"),
        ("qwen3-8b", "Qwen/Qwen3-8B"),
    ],
)
def test_a_slip_finds_what_was_meant(written: str, meant: str) -> None:
    assert nearest(written, ["source", "embed", meant]) == [meant]


def test_a_stranger_finds_nothing() -> None:
    assert nearest("zebra", ["chat", "embed"]) == []


def test_an_empty_name_finds_nothing() -> None:
    assert nearest("", ["chat"]) == []
    assert nearest("--", ["chat"]) == []


def test_the_best_comes_first_and_ties_are_alphabetical() -> None:
    assert nearest("chat", ["chats", "chat", "chat-b", "chat-a"]) == ["chat", "chat-a", "chat-b"]


def test_the_whole_name_beats_the_last_part() -> None:
    assert nearest("qwen3-8b", ["Qwen/Qwen3-8B", "Qwen3-8B"]) == ["Qwen3-8B", "Qwen/Qwen3-8B"]


def test_only_the_start_of_a_huge_name_is_compared() -> None:
    assert similarity("a" * 10_000_000, "a" * 200) == 1.0


@given(names, st.lists(names, max_size=8), st.integers(-1, 4))
def test_the_answer_is_a_bounded_choice_of_the_candidates(name: str, candidates: list[str], limit: int) -> None:
    found = nearest(name, candidates, limit)

    assert len(found) <= max(0, limit)
    assert set(found) <= set(candidates)
    assert found == nearest(name, reversed(candidates), limit)


@given(names, st.lists(names, max_size=8))
def test_a_known_name_is_nearest_to_itself(name: str, others: list[str]) -> None:
    if not fold(name):
        return
    best = nearest(name, [*others, name], 1)

    assert similarity(name, best[0]) == similarity(name, name) == 1.0


@given(names, names)
def test_similarity_is_a_share(name: str, candidate: str) -> None:
    assert 0.0 <= similarity(name, candidate) <= 1.0
