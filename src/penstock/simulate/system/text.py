"""What a simulated model says: the same text for the same prompt and seed, at every engine and each time. Pure.

Words are tokens. Some are several bytes long in UTF-8, some hold what JSON escapes, one looks like the end of a stream.
Token ids carry a whole prompt, so that an engine that was never told a prompt can go on from its tokens.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

__all__ = ["Said", "cut_up", "message_finish", "message_usage", "prompt_ids", "say", "spelled", "token_ids"]

_WORDS = (
    "and ", "then ", "größe ", "日本", "語", "🙂", "a\n\n", 'quo"te ', "[DONE] ", "data: ", "end. ", "x", " usage ",
    '"error" ', "back\\slash ", "finish", "_reason ", "naïve ", "0 ", "long-word-of-many-letters ",
)  # fmt: skip
_TOKENS = (2, 80)


_ID_OF = {word: number for number, word in enumerate(_WORDS)}
_PACKED = 1 << 32
"""From here on an id is four bytes of a prompt, or what is left over of it."""
_FRAME = 4
"""Tokens of a prompt that no text of it stands for."""


@dataclass(frozen=True, slots=True)
class Said:
    """One whole answer."""

    tokens: tuple[str, ...]
    finish: str
    prompt_tokens: int
    given: int = 0
    """Tokens of it that the engine was given, and does not say again."""
    text: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "text", "".join(self.tokens))

    @property
    def usage(self) -> dict[str, Any]:
        """Of the whole answer, whoever said it."""
        return _usage(self.prompt_tokens, len(self.tokens))

    @property
    def own_usage(self) -> dict[str, Any]:
        """As the engine counts it, to which what it was given is prompt."""
        return _usage(self.prompt_tokens + self.given, len(self.tokens) - self.given)


def _usage(prompt: int, output: int) -> dict[str, Any]:
    return {"prompt_tokens": prompt, "completion_tokens": output, "total_tokens": prompt + output}


def token_ids(tokens: Sequence[str]) -> list[int]:
    """The ids of words."""
    return [_ID_OF[token] for token in tokens]


def cut_up(text: str) -> list[int]:
    """The ids that a text is cut into: the longest word at each place."""
    ids = []
    while text:
        word = max((w for w in _WORDS if text.startswith(w)), key=len)
        ids.append(_ID_OF[word])
        text = text[len(word) :]
    return ids


def spelled(ids: Sequence[int]) -> str:
    """The text of words' ids."""
    return "".join(_WORDS[number] for number in ids)


def prompt_ids(fields: dict[str, Any]) -> list[int]:
    """The tokens that a request's prompt comes to: as many as its usage says."""
    data = _prompt(fields).encode()
    whole = len(data) // 4 * 4
    rest = [len(data) - whole, *data[whole:], 0, 0, 0][:_FRAME]
    return [_PACKED + n for n in (*rest, *(int.from_bytes(data[at : at + 4]) for at in range(0, whole, 4)))]


def _prompt_of(ids: Sequence[int]) -> str:
    count, *rest = (n - _PACKED for n in ids[:_FRAME])
    return (b"".join((n - _PACKED).to_bytes(4) for n in ids[_FRAME:]) + bytes(rest[:count])).decode()


def _prompt(fields: dict[str, Any]) -> str:
    return json.dumps(fields.get("messages") or fields.get("prompt"))


def _given(fields: dict[str, Any]) -> list[int]:
    """The tokens that a request begins with; none where it brings messages or a text."""
    ids = (fields.get("kv_transfer_params") or {}).get("prompt_token_ids") or fields.get("prompt")
    return ids if type(ids) is list else []


def say(fields: dict[str, Any], chance: int) -> Said:
    """The answer to a request. `chance` stands for the seed where the request has none and is sampled.

    Raises:
        ValueError: it is to go on from tokens that the model would never have said.
    """
    ids = _given(fields)
    prompt = _prompt_of([n for n in ids if n >= _PACKED]) if ids else _prompt(fields)
    begun = [_WORDS[n] for n in ids if n < _PACKED]
    seed = fields.get("seed")
    if is_greedy := fields.get("temperature") == 0:
        seed = "greedy"
    random = Random(f"{fields['model']} {prompt} {chance if seed is None else seed}")
    natural = random.randint(*_TOKENS)
    limit = fields.get("max_tokens") or fields.get("max_completion_tokens")
    most = limit or natural
    tokens = [random.choice(_WORDS) for _ in range(natural)]
    if is_greedy and tokens[: len(begun)] != begun:
        raise ValueError(f"{begun} is not how {tokens} begin")
    tokens = begun + tokens[len(begun) :]
    is_cut = limit is not None and len(tokens) >= len(begun) + most  # the end would be one token more
    prompt_tokens = _FRAME + len(prompt) // 4
    return Said(tuple(tokens[: len(begun) + most]), "length" if is_cut else "stop", prompt_tokens, len(begun))


def message_usage(said: Said) -> dict[str, int]:
    """The same usage as Anthropic's API says it."""
    return {"input_tokens": said.prompt_tokens, "output_tokens": len(said.tokens)}


def message_finish(finish: str) -> str:
    """The same end as Anthropic's API says it."""
    return {"stop": "end_turn", "length": "max_tokens"}.get(finish, finish)
