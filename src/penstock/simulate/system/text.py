"""What a simulated model says: the same text for the same prompt and seed, at every engine and each time. Pure.

Words are tokens. Some are several bytes long in UTF-8, some hold what JSON escapes, one looks like the end of a stream.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from random import Random
from typing import Any

__all__ = ["Said", "message_finish", "message_usage", "say"]

_WORDS = (
    "and ", "then ", "größe ", "日本", "語", "🙂", "a\n\n", 'quo"te ', "[DONE] ", "data: ", "end. ", "x", " usage ",
    '"error" ', "back\\slash ", "finish", "_reason ", "naïve ", "0 ", "long-word-of-many-letters ",
)  # fmt: skip
_TOKENS = (2, 80)


@dataclass(frozen=True, slots=True)
class Said:
    """One whole answer."""

    tokens: tuple[str, ...]
    finish: str
    prompt_tokens: int
    text: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "text", "".join(self.tokens))

    @property
    def usage(self) -> dict[str, Any]:
        prompt, output = self.prompt_tokens, len(self.tokens)
        return {"prompt_tokens": prompt, "completion_tokens": output, "total_tokens": prompt + output}


def say(fields: dict[str, Any], chance: int) -> Said:
    """The answer to a request. `chance` stands for the seed where the request has none and is sampled."""
    prompt = json.dumps(fields.get("messages") or fields.get("prompt"))
    seed = fields.get("seed")
    if fields.get("temperature") == 0:
        seed = "greedy"
    random = Random(f"{fields['model']} {prompt} {chance if seed is None else seed}")
    natural = random.randint(*_TOKENS)
    most = fields.get("max_tokens") or fields.get("max_completion_tokens") or natural
    tokens = tuple(random.choice(_WORDS) for _ in range(natural))
    prompt_tokens = 4 + len(prompt) // 4
    return Said(tokens[:most], "length" if natural > most else "stop", prompt_tokens)


def message_usage(said: Said) -> dict[str, int]:
    """The same usage as Anthropic's API says it."""
    return {"input_tokens": said.prompt_tokens, "output_tokens": len(said.tokens)}


def message_finish(finish: str) -> str:
    """The same end as Anthropic's API says it."""
    return {"stop": "end_turn", "length": "max_tokens"}.get(finish, finish)
