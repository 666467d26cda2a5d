"""Text to token ids and back for the simulated engine: tokenizer, incremental detokenizer, chat template.

Guarantees: `decode(encode(s)) == s` for every text that UTF-8 can write; ids are the same in every process; what the
simulated model generates is encoded to the very ids it was generated from, so that a text cut at any complete
character continues as if it had not been cut. It is nobody's real vocabulary: token counts are like those of an
English tokenizer, not equal to any.
"""

from __future__ import annotations

import codecs
import functools
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from penstock.simulate.engine.vocabulary import PIECES, SPECIALS

__all__ = ["Detokenizer", "Tokenizer", "chat_template", "chat_text", "tokenizer"]

_SPLIT = re.compile(r" ?[A-Za-z]+|\d{1,3}| ?[^\sA-Za-z\d]+| +(?= )|[^\S ]+|\s")
"""Covers every character exactly once. No piece spans two matches, so each distinct match is encoded once and kept."""
_CACHE_MAX = 65_536
"""Distinct matches kept: some 10 MB; English text needs a tenth of it. Past it the cache starts anew."""
_CACHED_CHARS_MAX = 64
"""A longer match is hardly seen twice, and would make the cache's memory unbounded."""


class Tokenizer:
    """Ids 0 to 255 are the bytes, then the pieces, then the special tokens. Its cache is its only state."""

    def __init__(self) -> None:
        pieces = [bytes([b]) for b in range(256)] + [p.encode() for p in PIECES] + [s.encode() for s in SPECIALS]
        self.bytes_of: tuple[bytes, ...] = tuple(pieces)
        """Bytes of each token id."""
        self.vocab_size = len(pieces)
        self.special_start = 256 + len(PIECES)
        """First id of the special tokens; they are the last ids."""
        self.special_ids: dict[str, int] = {s: self.special_start + i for i, s in enumerate(SPECIALS)}
        self.end_of_text_id = self.special_ids["<|endoftext|>"]
        self.eos_id = self.special_ids["<|im_end|>"]
        self._id_of = {p: i for i, p in enumerate(PIECES, start=256)} | {chr(b): b for b in range(128)}
        self._longest = max(map(len, PIECES))
        self._cache: dict[str, tuple[int, ...]] = {}
        self._special_split = re.compile("(" + "|".join(re.escape(s) for s in SPECIALS) + ")")

    def encode(self, text: str, *, allow_special: bool = False) -> list[int]:
        """Token ids of `text`. `allow_special`: `<|im_start|>` and its like become one id, as real tokenizers do."""
        if allow_special and "<|" in text:
            ids: list[int] = []
            for part in self._special_split.split(text):
                special = self.special_ids.get(part)
                ids.extend(self.encode(part) if special is None else (special,))
            return ids
        cache = self._cache
        if len(cache) > _CACHE_MAX:
            cache.clear()
        ids = []
        for match in _SPLIT.findall(text):
            found = cache.get(match)
            if found is None:
                found = tuple(self._encode_piece(match))
                if len(match) <= _CACHED_CHARS_MAX:
                    cache[match] = found
            ids.extend(found)
        return ids

    def _encode_piece(self, text: str) -> Iterable[int]:
        """Greedy: the longest known piece at each place, else the bytes of one character."""
        id_of, at, end = self._id_of, 0, len(text)
        while at < end:
            for size in range(min(self._longest, end - at), 0, -1):
                found = id_of.get(text[at : at + size])
                if found is not None:
                    yield found
                    at += size
                    break
            else:
                yield from text[at].encode("utf-8", "surrogatepass")
                at += 1

    def decode(self, ids: Iterable[int], *, skip_special: bool = True) -> str:
        """Text of token ids; bytes that are no UTF-8 become U+FFFD."""
        limit, bytes_of = (self.special_start if skip_special else self.vocab_size), self.bytes_of
        return b"".join([bytes_of[i] for i in ids if i < limit]).decode("utf-8", "replace")

    def token_text(self, token_id: int) -> str:
        """One token as text, as logprobs show it."""
        return self.bytes_of[token_id].decode("utf-8", "replace")

    def is_special(self, token_id: int) -> bool:
        return token_id >= self.special_start


@functools.cache
def tokenizer() -> Tokenizer:
    """The one tokenizer of this process."""
    return Tokenizer()


class Detokenizer:
    """Text of a stream of tokens, as far as its characters are complete. One per stream."""

    __slots__ = ("_bytes_of", "_decoder", "_limit")

    def __init__(self, *, skip_special: bool = True) -> None:
        known = tokenizer()
        self._bytes_of = known.bytes_of
        self._limit = known.special_start if skip_special else known.vocab_size
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def push(self, ids: Iterable[int]) -> str:
        """Text that became complete with these tokens; empty inside a character."""
        limit, bytes_of = self._limit, self._bytes_of
        return self._decoder.decode(b"".join([bytes_of[i] for i in ids if i < limit]))

    @property
    def is_inside_character(self) -> bool:
        """True while bytes wait for the rest of their character; at the end of a generation they are dropped."""
        return bool(self._decoder.getstate()[0])


def _content_text(content: Any) -> str:
    """Text of a message's content: a string, or the text parts of a list; other parts stand as a short mark."""
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    parts: list[str] = []
    for part in content:
        if isinstance(part, str):
            parts.append(part)
        elif isinstance(part, Mapping):
            text = part.get("text", part.get("refusal"))
            parts.append(text if isinstance(text, str) else f"[{part.get('type', 'part')}]")
    return "\n".join(parts)


def _dump(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(", ", ": "), sort_keys=True, default=str)


def _message_text(message: Mapping[str, Any]) -> str:
    text = _content_text(message.get("content"))
    calls = message.get("tool_calls")
    if not calls:
        return text
    return "\n".join([*([text] if text else []), *("<tool_call>" + _dump(c.get("function", c)) for c in calls)])


def _turns(
    messages: Sequence[Mapping[str, Any]],
    tools: Sequence[Mapping[str, Any]] | None,
    add_generation_prompt: bool,
    continue_final_message: bool,
) -> list[tuple[str, bool]]:
    """Text of each turn after its start mark, and whether the turn is closed."""
    turns: list[tuple[str, bool]] = []
    if tools:
        listed = "\n".join(_dump(tool.get("function", tool)) for tool in tools)
        turns.append((f"system\nYou may call these tools:\n{listed}", True))
    last = len(messages) - 1
    for index, message in enumerate(messages):
        is_open = continue_final_message and index == last
        turns.append((f"{message.get('role', 'user')}\n{_message_text(message)}", not is_open))
    if add_generation_prompt and not continue_final_message:
        turns.append(("assistant\n", False))
    return turns


def chat_template(
    messages: Sequence[Mapping[str, Any]],
    *,
    tools: Sequence[Mapping[str, Any]] | None = None,
    add_generation_prompt: bool = True,
    continue_final_message: bool = False,
) -> list[int]:
    """Token ids of a conversation. Marks such as `<|im_start|>` inside a message stay plain text."""
    known = tokenizer()
    start, end = known.special_ids["<|im_start|>"], known.special_ids["<|im_end|>"]
    ids: list[int] = []
    for text, is_closed in _turns(messages, tools, add_generation_prompt, continue_final_message):
        ids.append(start)
        ids.extend(known.encode(text))
        if is_closed:
            ids.append(end)
            ids.extend(known.encode("\n"))
    return ids


def chat_text(
    messages: Sequence[Mapping[str, Any]],
    *,
    tools: Sequence[Mapping[str, Any]] | None = None,
    add_generation_prompt: bool = True,
    continue_final_message: bool = False,
) -> str:
    """What `chat_template` encodes, as text with its marks."""
    return "".join(
        f"<|im_start|>{text}" + ("<|im_end|>\n" if is_closed else "")
        for text, is_closed in _turns(messages, tools, add_generation_prompt, continue_final_message)
    )
