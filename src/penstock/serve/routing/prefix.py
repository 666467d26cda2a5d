"""Which blocks of prompts an endpoint is believed to have in its prefix cache.

    PrefixIndex ── one bound over all ──▶ HeldBlocks of an endpoint: least recently sent goes first

Guarantees: at most `blocks_max` blocks over all endpoints that are alive, so memory is flat whatever is sent; a block
is never forgotten before those that come after it in its prompt (as in the engine, where tails are freed first), so
that what is held of a prompt is always its beginning. Knows nothing of tokens or time. Pure.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from weakref import WeakSet

__all__ = ["HeldBlocks", "PrefixIndex", "SharedPrefixes"]

_LINEAR = 8
"""Blocks that are looked up one by one; longer prompts are searched by halves."""
_SHARED_CHILDREN = 8
"""Continuations after which a prefix is taken for a common one (a system prompt) and not for one conversation. Of the
recorded conversations, 1 in 10,000 blocks other than the one common to all has as many."""
_FORKS_MAX = 65_536
"""Blocks whose continuations are counted; 100 bytes each."""
_FORK_DEPTH = 512
"""Leading blocks in which common prefixes are looked for: 256 KiB of text."""


class HeldBlocks:
    """The blocks of one endpoint, oldest first. Made by a `PrefixIndex`, owned by who follows the endpoint."""

    __slots__ = ("__weakref__", "blocks", "capacity")

    def __init__(self, capacity: int) -> None:
        self.blocks: OrderedDict[int, None] = OrderedDict()
        """Them, to be read: `in` costs a call less than asking here."""
        self.capacity = capacity
        """Most blocks, by what the endpoint's memory holds and its share of the index."""

    def __len__(self) -> int:
        return len(self.blocks)

    def __contains__(self, block: int) -> bool:
        return block in self.blocks

    def match(self, blocks: Sequence[int]) -> int:
        """How many leading blocks are held."""
        held = self.blocks
        count = len(blocks)
        if not count or blocks[0] not in held:
            return 0
        if count <= _LINEAR:
            found = 1
            while found < count and blocks[found] in held:
                found += 1
            return found
        low, high = 1, count + 1  # blocks[low - 1] is held, blocks[high - 1] is not
        while high - low > 1:
            middle = (low + high) // 2
            if blocks[middle - 1] in held:
                low = middle
            else:
                high = middle
        return low

    def put(self, blocks: Sequence[int]) -> None:
        """A prompt went there: its blocks are the newest, its first one last to go."""
        held, capacity = self.blocks, self.capacity
        for block in reversed(blocks if len(blocks) <= capacity else blocks[:capacity]):
            held[block] = None
            held.move_to_end(block)
        while len(held) > capacity:
            held.popitem(last=False)

    def drop(self, blocks: Sequence[int]) -> None:
        """These are not there."""
        for block in blocks:
            self.blocks.pop(block, None)

    def forget(self) -> None:
        """Nothing is there any more: the engine began anew."""
        self.blocks = OrderedDict()

    def resize(self, capacity: int) -> None:
        """Another bound; what is over it goes at once."""
        self.capacity = capacity
        while len(self.blocks) > capacity:
            self.blocks.popitem(last=False)


class PrefixIndex:
    """Shares one bound evenly among the endpoints that are alive. Owned by one policy."""

    def __init__(self, blocks_max: int) -> None:
        self.blocks_max = blocks_max
        self._parts: WeakSet[HeldBlocks] = WeakSet()
        self._share = blocks_max
        self.shared = SharedPrefixes()

    def part(self) -> HeldBlocks:
        """Blocks of one more endpoint; it leaves the index when nobody holds it."""
        made = HeldBlocks(0)
        self._parts.add(made)
        share = self.share
        for part in self._parts:
            if part is not made and part.capacity > share:
                part.resize(share)
        made.capacity = share
        return made

    @property
    def share(self) -> int:
        """Most blocks of one endpoint."""
        return self.blocks_max // max(1, len(self._parts))

    @property
    def blocks(self) -> int:
        """Blocks that are remembered."""
        return sum(map(len, self._parts))


class SharedPrefixes:
    """Tells where a prompt stops being common to many (a system prompt, tools) and begins to be a conversation's own.

    Counts, for the blocks after which prompts went apart, how many ways they went. Gateways that see the same traffic
    come to the same answer without talking.
    """

    __slots__ = ("_forks", "_old")

    def __init__(self) -> None:
        self._forks: dict[int, int] = {}
        self._old: dict[int, int] = {}

    def __len__(self) -> int:
        """Blocks whose continuations are counted."""
        return len(self._forks) + len(self._old)

    def note(self, blocks: Sequence[int], known: int) -> None:
        """A prompt whose first `known` blocks were seen before goes on in a new way behind them."""
        if 0 < known < len(blocks):
            forks, block = self._forks, blocks[known - 1]
            forks[block] = (forks.get(block) or self._old.get(block, 0)) + 1
            if len(forks) >= _FORKS_MAX // 2:
                self._old, self._forks = forks, {}

    def own(self, blocks: Sequence[int]) -> int:
        """The place of the first block that is the conversation's own; the last one's where all are common."""
        forks, old, own = self._forks, self._old, 0
        if not forks and not old:
            return 0
        for place in range(min(len(blocks), _FORK_DEPTH) - 1):
            block = blocks[place]
            if (block in forks or block in old) and (forks.get(block) or old.get(block, 0)) >= _SHARED_CHILDREN:
                own = place + 1
        return own
