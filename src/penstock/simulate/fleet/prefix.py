"""What requests share, as the engine's blocks: from a trace's block ids to hashes of KV blocks. Pure.

Guarantees: two prompts have equal leading hashes exactly as far as their leading ids are equal, whatever came at other
places; the same ids give the same hashes in every process.
"""

from __future__ import annotations

from collections.abc import Sequence

from penstock.simulate.engine.blocks import next_hash
from penstock.simulate.workload.request import BLOCK_TOKENS

__all__ = ["block_hashes", "chained"]


def block_hashes(ids: Sequence[int], prompt_tokens: int, block_size: int) -> list[int]:
    """Hashes of the prompt's full KV blocks, as far as ids name its tokens.

    Each id is chained to those before it. The KV blocks inside count up from the chain's value, which is spread over
    61 bits, so that a hash costs an addition.
    """
    full = min(prompt_tokens, len(ids) * BLOCK_TOKENS) // block_size
    hashes: list[int] = []
    chain, ended = 0, 0
    for place, block in enumerate(ids):
        chain = next_hash(chain, (block,))
        end = min(full, (place + 1) * BLOCK_TOKENS // block_size)  # a KV block belongs to the id of its last token
        hashes.extend(range(chain + ended, chain + end))
        ended = end
    return hashes


def chained(ids: Sequence[int], prompt_tokens: int) -> tuple[int, ...]:
    """Hashes of the prompt's whole blocks, as the gateway makes them of its text: one for each id, chained."""
    hashes: list[int] = []
    chain = 0
    for block in ids[: prompt_tokens // BLOCK_TOKENS]:
        chain = next_hash(chain, (block,))
        hashes.append(chain)
    return tuple(hashes)
