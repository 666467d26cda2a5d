"""Prompts that grow over a conversation, told as block ids.

Guarantees: a prompt of n tokens has ceil(n / 512) blocks; a continued prompt keeps exactly the blocks that were full
and gets fresh ids for the rest, as a chained hash would give. Ids are never handed out twice by one `BlockIds`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import count

from penstock.simulate.workload.request import BLOCK_TOKENS

__all__ = ["BlockIds", "Prompt"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """A prompt's length and the blocks it is made of."""

    tokens: int
    blocks: tuple[int, ...]


@dataclass(slots=True)
class BlockIds:
    """Hands out ids: 0 to `common` - 1 are the front of every prompt (a system prompt), later ones are fresh.

    Owner: the generator that made it.
    """

    common: int = 1
    _fresh: count[int] = field(init=False)

    def __post_init__(self) -> None:
        self._fresh = count(self.common)

    def start(self, tokens: int) -> Prompt:
        """A new conversation of this many tokens."""
        return self.extend(Prompt(tokens=0, blocks=()), tokens)

    def extend(self, prompt: Prompt, tokens: int) -> Prompt:
        """The prompt grown, or cut back and grown again, to `tokens`: only blocks full in both are kept."""
        kept = prompt.blocks[: min(prompt.tokens, tokens) // BLOCK_TOKENS]
        places = range(len(kept), -(-tokens // BLOCK_TOKENS))
        return Prompt(tokens=tokens, blocks=(*kept, *(self._id(place, tokens) for place in places)))

    def _id(self, place: int, tokens: int) -> int:
        is_common = place < self.common and (place + 1) * BLOCK_TOKENS <= tokens
        return place if is_common else next(self._fresh)
