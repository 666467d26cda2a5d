"""A prompt's text as chained hashes of blocks: what tells that two prompts begin alike, without keeping either.

Guarantees: two prompts have equal leading hashes exactly as far as their leading whole blocks of bytes are equal (but
for collisions of 64 bits); pieces appended to a conversation change no earlier hash; the same text gives the same
hashes in every process, so that gateways agree; a prompt of any size costs at most `BLOCKS_MAX` hashes. Prompts of
another model or adapter (`salt`) share nothing. A hash tells nothing of the text to who does not have it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import accumulate

from xxhash import xxh3_64_intdigest

__all__ = ["BLOCKS_MAX", "BLOCK_BYTES", "block_tokens_of", "blocks_of"]

BLOCK_BYTES = 512
"""Bytes of text in a block, some 128 tokens of English: a match is told to half of that, 2 ms of a GPU's prefill, and a
prompt of 1.5 KB costs three hashes. The engine's own blocks are of 16 tokens and cannot be told from text."""
BLOCKS_MAX = 2048
"""Blocks of one prompt: 1 MiB of text, some 250,000 tokens. What lies behind them is not followed."""
_BYTES_MAX = BLOCK_BYTES * BLOCKS_MAX
_BETWEEN = "\x1f"
"""Keeps pieces apart: `ab`, `c` is not `a`, `bc`. A separator and no terminator would change when a piece follows, so
it stands behind each piece's text only as the next one begins."""


def blocks_of(pieces: Sequence[str], salt: str) -> tuple[int, ...]:
    """Chained hashes of the prompt's whole blocks, the first one's first; its last part is no block and is left out.

    `salt` names the model and the adapter.
    """
    text = _BETWEEN.join(pieces if len(pieces) <= BLOCKS_MAX else _leading(pieces))
    raw = text[:_BYTES_MAX].encode("utf-8", "surrogatepass")
    hashes: list[int] = []
    chain = _salted(salt)
    for start in range(0, min(len(raw), _BYTES_MAX) - BLOCK_BYTES + 1, BLOCK_BYTES):
        chain = xxh3_64_intdigest(raw[start : start + BLOCK_BYTES], chain)
        hashes.append(chain)
    return tuple(hashes)


@lru_cache(maxsize=1024)
def _salted(salt: str) -> int:
    """Where the chain of a model or an adapter begins."""
    return xxh3_64_intdigest(salt.encode())


def _leading(pieces: Sequence[str]) -> Sequence[str]:
    """As many pieces as can matter: a conversation of a million short ones is cut where its blocks end."""
    for place, chars in enumerate(accumulate(map(len, pieces))):
        if chars >= _BYTES_MAX:
            return pieces[: place + 1]
    return pieces


def block_tokens_of(prompt_tokens: int, prompt_bytes: int) -> int:
    """Tokens of one block of this prompt: its tokens are spread evenly over its bytes. At least 1.

    Bytes, not characters: a token is some 4 bytes of English, and some 3 of scripts whose characters take 3.
    """
    return int(prompt_tokens * BLOCK_BYTES / prompt_bytes + 0.5) or 1 if prompt_bytes else 1
