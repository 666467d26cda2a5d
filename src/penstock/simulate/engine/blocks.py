"""Paged KV memory with a prefix cache, as vLLM V1 keeps it.

A block is free or held by one or more requests. A full block is known by a hash that chains all tokens before it, and
is found by that hash as long as nobody has taken the block for other tokens: a freed block keeps its contents, and
the one freed longest ago is taken first. Block 0 is never handed out (vLLM's null block).

Guarantees: free + held = `usable`; a block is in two requests only as the same prefix. Knows nothing of requests or
time.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence

__all__ = ["BlockPool", "chained_hashes", "next_hash"]


def next_hash(parent: int, ids: Iterable[int]) -> int:
    """Hash of a full block after a prefix. Integers only, so it is the same in every process."""
    return hash((parent, *ids))


def chained_hashes(ids: Sequence[int], block_size: int, root: int) -> list[int]:
    """Hash of each full block of `ids`; `root` sets apart what must not be shared (salts, adapters)."""
    hashes: list[int] = []
    parent = root
    for start in range(0, len(ids) - block_size + 1, block_size):
        parent = hash((parent, *ids[start : start + block_size]))
        hashes.append(parent)
    return hashes


class BlockPool:
    """Owns every block's count of holders and its hash."""

    def __init__(self, num_blocks: int, *, enable_caching: bool = True) -> None:
        self.num_blocks = num_blocks
        self.usable = num_blocks - 1
        self._enable_caching = enable_caching
        self._holders: list[int] = [1]
        """By block id; ids that were never taken are not in it yet."""
        self._hash_of: list[int | None] = [None]
        self._block_of: dict[int, int] = {}
        """Block id by hash. A second block of the same contents is not listed."""
        self._freed: OrderedDict[int, None] = OrderedDict()
        """Blocks that were used and are free, longest ago first."""

    @property
    def free(self) -> int:
        """Blocks that can be taken; those whose contents are still cached included."""
        return self.num_blocks - len(self._holders) + len(self._freed)

    @property
    def usage(self) -> float:
        """Share of usable blocks held, 0 to 1."""
        return 1.0 - self.free / self.usable if self.usable else 0.0

    @property
    def cached(self) -> int:
        """Blocks that can be found by hash."""
        return len(self._block_of)

    def holders(self, block: int) -> int:
        """How many requests hold a block."""
        return self._holders[block] if block < len(self._holders) else 0

    def match(self, hashes: Sequence[int], blocks_max: int) -> list[int]:
        """Blocks of the longest cached prefix, `blocks_max` at most. Takes nothing."""
        found: list[int] = []
        block_of = self._block_of
        for value in hashes[:blocks_max]:
            block = block_of.get(value)
            if block is None:
                break
            found.append(block)
        return found

    def idle(self, blocks: Iterable[int]) -> int:
        """How many of these blocks are free now, and so would no longer be when held."""
        return sum(1 for b in blocks if not self._holders[b])

    def hold(self, blocks: Iterable[int]) -> None:
        """One more holder for blocks that `match` found."""
        holders = self._holders
        for block in blocks:
            if not holders[block]:
                del self._freed[block]
            holders[block] += 1

    def take(self, count: int) -> list[int]:
        """Takes free blocks, never used ones first; what was cached in them is forgotten. The caller checked `free`."""
        holders, hash_of = self._holders, self._hash_of
        fresh = min(count, self.num_blocks - len(holders))
        taken = list(range(len(holders), len(holders) + fresh))
        holders.extend([1] * fresh)
        hash_of.extend([None] * fresh)
        for _ in range(count - fresh):
            block, _none = self._freed.popitem(last=False)
            known = hash_of[block]
            if known is not None:
                del self._block_of[known]
                hash_of[block] = None
            holders[block] = 1
            taken.append(block)
        return taken

    def release(self, blocks: Sequence[int]) -> None:
        """One holder less, given in a request's order. The last one is freed first, so that prefixes outlive tails."""
        holders, freed = self._holders, self._freed
        for block in reversed(blocks):
            holders[block] -= 1
            if not holders[block]:
                freed[block] = None

    def remember(self, block: int, value: int) -> None:
        """The block is full and its contents have this hash."""
        if self._enable_caching and value not in self._block_of and self._hash_of[block] is None:
            self._block_of[value] = block
            self._hash_of[block] = value

    def forget_all(self) -> None:
        """Empties the prefix cache; held blocks stay held."""
        self._block_of.clear()
        self._hash_of = [None] * len(self._hash_of)
