"""The word lists behind tokenizer and generator."""

from __future__ import annotations

from penstock.simulate.engine.vocabulary import AFTER, PIECES, SPECIALS, SPELLED, WORDS


def test_a_word_has_one_part_of_speech() -> None:
    words = [w for group in WORDS.values() for w in group]
    assert len(words) == len(set(words)) > 500


def test_every_word_is_a_piece_bare_spaced_and_capitalized() -> None:
    pieces = set(PIECES) | set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
    for group in WORDS.values():
        for word in group:
            assert {word, " " + word, word.capitalize(), " " + word.capitalize()} <= pieces


def test_pieces_are_distinct_and_some_thousand() -> None:
    assert len(PIECES) == len(set(PIECES))
    assert 3000 < len(PIECES) + 256 + len(SPECIALS) < 8000


def test_grammar_leads_only_to_what_it_knows() -> None:
    known = set(WORDS) | {"stop", "comma", "spelled", "opening", "break", "end"}
    for ways in AFTER.values():
        assert len(ways) == 16
        assert set(ways) <= known


def test_some_words_need_bytes_inside_a_character() -> None:
    assert sum(not text.isascii() for text in SPELLED) >= 10
    assert not set(SPELLED) & set(PIECES)
