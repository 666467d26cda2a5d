"""Text of a wanted number of tokens, with shared fronts where requests share blocks.

Guarantees: the same seed and request give the same text; two prompts that begin with the same block ids begin with the
same words, and any two others differ from the first words on, so a prefix cache sees what the trace says. One word is
about one token (short, common words, which byte-pair tokenizers keep whole); where the engine can count, the ratio is
measured with `sample` and given as `words_per_token`.
Leaves to others: the exact count, which only the model's tokenizer knows; the report shows what the engine counted.
"""

from __future__ import annotations

from collections import OrderedDict
from random import Random

from penstock.simulate.workload.request import BLOCK_TOKENS, TraceRequest

__all__ = ["PromptBook"]

_TEXT = (
    "the of and to in is you that it he was for on are as with his they at be this have from or one had by word but "
    "not what all were we when your can said there use an each which she do how their if will up other about out many "
    "then them these so some her would make like him into time has look two more write go see number no way could "
    "people my than first water been call who its now find long down day did get come made may part over new sound "
    "take only little work know place year live me back give most very after thing our just name good sentence man "
    "think say great where help through much before line right too mean old any same tell boy follow came want show "
    "also around form three small set put end does another well large must big even such because turn here why ask "
    "went men read need land different home us move try kind hand picture again change off play spell air away animal "
    "house point page letter mother answer found study still learn should world"
)
_WORDS = _TEXT.split()
_SLAB_WORDS = 16_384
# 2,048 blocks of about 2.4 KB: 5 MB holds the shared fronts of an hour of Mooncake's hottest sessions.
_BLOCKS_KEPT_MAX = 2_048


class PromptBook:
    """Writes prompts. Owner of its cache of blocks: the load client that made it."""

    def __init__(self, seed: int, *, words_per_token: float = 1.0) -> None:
        self._seed = seed
        self._words_per_token = words_per_token
        self._block_words = max(1, round(BLOCK_TOKENS * words_per_token))
        rng = Random(f"{seed}:slab")
        words = rng.choices(_WORDS, k=_SLAB_WORDS)
        self._slab = " " + " ".join(words)
        # where each word's leading space is in the slab, so that a run of n words is one slice
        self._starts = [0]
        for word in words:
            self._starts.append(self._starts[-1] + len(word) + 1)
        self._blocks: OrderedDict[int, str] = OrderedDict()

    def text(self, request: TraceRequest, serial: int) -> str:
        """The prompt of the `serial`-th request of the run."""
        wanted = self._words(request.prompt_tokens)
        parts: list[str] = []
        for block in request.prefix_blocks:
            size = min(wanted, self._block_words)
            parts.append(self._block(block) if size == self._block_words else self._front_of_block(block, size))
            wanted -= size
            if not wanted:
                return "".join(parts).lstrip()
        parts.append(self._run(f"r{serial}", wanted))
        return "".join(parts).lstrip()

    def sample(self, words: int) -> str:
        """Text like that of prompts, to count the tokens of."""
        return self._run("sample", words).lstrip()

    def _words(self, tokens: int) -> int:
        """How many words to write; whole blocks count as such, so that a block is shared to its last word."""
        blocks, rest = divmod(tokens, BLOCK_TOKENS)
        return max(1, blocks * self._block_words + round(rest * self._words_per_token))

    def _block(self, block: int) -> str:
        text = self._blocks.get(block)
        if text is None:
            text = self._blocks[block] = self._run(f"b{block}", self._block_words)
            if len(self._blocks) > _BLOCKS_KEPT_MAX:
                self._blocks.popitem(last=False)
        else:
            self._blocks.move_to_end(block)
        return text

    def _front_of_block(self, block: int, words: int) -> str:
        return " ".join(self._run(f"b{block}", self._block_words).split(" ", words + 1)[: words + 1])

    def _run(self, name: str, words: int) -> str:
        """This many words, told apart from every other run by its first few."""
        rng = Random(f"{self._seed}:{name}")
        lead = min(words, 8)
        parts = ["".join(f" {w}" for w in rng.choices(_WORDS, k=lead))]
        left = words - lead
        while left > 0:
            size = min(left, _SLAB_WORDS // 2)
            at = rng.randrange(_SLAB_WORDS - size)
            parts.append(self._slab[self._starts[at] : self._starts[at + size]])
            left -= size
        return "".join(parts)
