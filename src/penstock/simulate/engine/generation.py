"""What the simulated model says next: a function of every token before it, and of the seed. Nothing else.

So a generation that is continued elsewhere, from the prompt's ids and those generated so far, gives the same rest, at
any cut. The function keeps 32 bits of hash, the last token and a place in a small trie: each token costs the same,
however long the context.
"""

from __future__ import annotations

import array
import functools
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from zlib import crc32

from penstock.simulate.engine.text import tokenizer
from penstock.simulate.engine.vocabulary import AFTER, SPELLED, WORDS

__all__ = ["Continuation", "context_hash", "mix"]

_MASK = (1 << 64) - 1
_ODD = 0xD6E8FEB86659FD93


class _Node:
    """A place inside a text that is spelled over several tokens."""

    __slots__ = ("choices", "next")

    def __init__(self) -> None:
        self.next: dict[int, _Node] = {}
        self.choices: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class _Language:
    """Tables by token id or part of speech, made once."""

    id_bytes: tuple[bytes, ...]
    after: tuple[tuple[str, ...], ...]
    """By token id: what may follow it, sixteen ways."""
    is_break: tuple[bool, ...]
    """By token id: a word that opens a sentence needs no space after it."""
    words: dict[str, tuple[int, ...]]
    """Ids of the words of a part of speech, with a leading space."""
    openings: tuple[int, ...]
    spaced_openings: tuple[int, ...]
    root: _Node
    eos_id: int
    break_id: int
    comma_id: int
    stops: tuple[int, ...]


def _one_id(text: str) -> int:
    (found,) = tokenizer().encode(text)
    return found


def _parts_of_speech() -> list[str]:
    """Part of speech of each token id."""
    known = tokenizer()
    part = ["other"] * known.vocab_size
    for name, group in WORDS.items():
        for word in group:
            for form in (word, " " + word, word.capitalize(), " " + word.capitalize()):
                part[_one_id(form)] = name
    for token_id, raw in enumerate(known.bytes_of):
        if known.is_special(token_id) or raw.isspace():
            part[token_id] = "break" if raw != b" " else "other"
        elif raw[0] >= 0x80 or raw.isdigit():
            part[token_id] = "spelled"
    for mark in ".?!":
        part[_one_id(mark)] = "stop"
    for mark in ",:;":
        part[_one_id(mark)] = "comma"
    return part


def _spelled_trie() -> _Node:
    root = _Node()
    for text in SPELLED:
        node = root
        for token_id in tokenizer().encode(text):
            node = node.next.setdefault(token_id, _Node())
    todo = [root]
    while todo:
        node = todo.pop()
        node.choices = tuple(node.next)
        todo.extend(node.next.values())
    return root


@functools.cache
def _language() -> _Language:
    known = tokenizer()
    parts = _parts_of_speech()
    openers = [w.capitalize() for w in (*WORDS["determiner"], *WORDS["adverb"][:12], *WORDS["noun"][:8])]
    return _Language(
        id_bytes=tuple(i.to_bytes(4, "little") for i in range(known.vocab_size)),
        after=tuple(AFTER[part] for part in parts),
        is_break=tuple(part == "break" for part in parts),
        words={name: tuple(_one_id(" " + w) for w in group) for name, group in WORDS.items()},
        openings=tuple(_one_id(w) for w in openers),
        spaced_openings=tuple(_one_id(" " + w) for w in openers),
        root=_spelled_trie(),
        eos_id=known.eos_id,
        break_id=_one_id("\n\n"),
        comma_id=_one_id(","),
        stops=tuple(_one_id(m) for m in "............?!.."),
    )


def context_hash(ids: Sequence[int]) -> int:
    """32-bit hash of a whole token sequence; `Continuation` extends it token by token."""
    packed = array.array("I", ids)
    if sys.byteorder == "big":
        packed.byteswap()
    return crc32(packed.tobytes())


def mix(value: int) -> int:
    """Scrambles a number of 64 bits, so that each bit depends on all."""
    value = (value * _ODD) & _MASK
    value ^= value >> 32
    value = (value * _ODD) & _MASK
    return value ^ (value >> 32)


class Continuation:
    """A context that grows. `next_id` looks, `append` moves on. Owned by one request."""

    __slots__ = ("_crc", "_language", "_last", "_node", "_seed", "eos_id")

    def __init__(self, ids: Sequence[int] = (), seed: int = 0) -> None:
        self._language = language = _language()
        self.eos_id = language.eos_id
        self._seed = (seed & _MASK) * 0x9E3779B97F4A7C15 & _MASK
        self._crc = context_hash(ids)
        last = ids[-1] if len(ids) else language.eos_id
        self._last = last if last < len(language.after) else language.eos_id
        self._node = language.root
        for token_id in ids[-16:]:
            self._move(token_id)

    @staticmethod
    def eos() -> int:
        """The token that ends a generation."""
        return tokenizer().eos_id

    def _move(self, token_id: int) -> None:
        root = self._language.root
        self._node = self._node.next.get(token_id) or root.next.get(token_id) or root

    def append(self, token_id: int) -> None:
        """Adds a token to the context: the one that `next_id` gave, or any other."""
        language = self._language
        self._crc = crc32(language.id_bytes[token_id], self._crc)
        self._last = token_id
        root = language.root
        node = self._node
        if node is not root or token_id in root.next:
            self._node = node.next.get(token_id) or root.next.get(token_id) or root

    def next_id(self, *, allow_eos: bool = True) -> int:
        """The token that follows the context; never end of sequence unless `allow_eos`."""
        return self._choose(mix(self._crc ^ self._seed), allow_eos)

    def _choose(self, draw: int, allow_eos: bool) -> int:
        language = self._language
        choices = self._node.choices
        if choices and self._node is not language.root:
            return choices[(draw >> 8) % len(choices)]
        part = language.after[self._last][draw & 15]
        words = language.words.get(part)
        if words is not None:
            place = (draw >> 8) & 0xFFFF
            return words[place * place * len(words) >> 32]
        return self._punctuate(part, draw, allow_eos)

    def _punctuate(self, part: str, draw: int, allow_eos: bool) -> int:
        language = self._language
        match part:
            case "stop":
                return language.stops[(draw >> 8) & 15]
            case "comma":
                return language.comma_id
            case "break":
                return language.break_id
            case "spelled":
                choices = language.root.choices
                return choices[(draw >> 8) % len(choices)]
            case "end" if allow_eos:
                return language.eos_id
        openings = language.openings if language.is_break[self._last] else language.spaced_openings
        place = (draw >> 8) & 0xFFFF
        return openings[place * place * len(openings) >> 32]

    def logprob(self, token_id: int, *, allow_eos: bool = True) -> float:
        """Natural-log probability that a model as sure as this one would report for a token here."""
        draw = mix(self._crc ^ self._seed)
        sure = -0.02 - 1.2 * ((draw >> 40) & 0xFFFF) / 65536
        if token_id == self._choose(draw, allow_eos):
            return sure
        return math.log1p(-math.exp(sure)) - 1.0 - 8.0 * (mix(draw ^ token_id) & 0xFFFF) / 65536

    def ranked(self, count: int, *, allow_eos: bool = True) -> tuple[tuple[int, float], ...]:
        """The `count` likeliest next tokens with their log probabilities, the chosen one first, then falling."""
        draw = mix(self._crc ^ self._seed)
        chosen = self._choose(draw, allow_eos)
        others: dict[int, None] = {}
        vocabulary = len(self._language.id_bytes)
        for i in range(1, 4 * count):
            token_id = self._choose(mix(draw + i), allow_eos) if i < 3 * count else mix(draw + i) % vocabulary
            if token_id != chosen:
                others[token_id] = None
        scored = sorted(((self.logprob(t, allow_eos=allow_eos), -t) for t in others), reverse=True)
        top = [(-negative, value) for value, negative in scored[: max(0, count - 1)]]
        return tuple([(chosen, self.logprob(chosen, allow_eos=allow_eos)), *top][:count])
