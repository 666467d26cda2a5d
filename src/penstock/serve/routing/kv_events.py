"""What engines publish of their prefix caches, and what a gateway can know by it. Pure.

vLLM (`--kv-events-config`) publishes batches of events in MessagePack: blocks that were stored, with their tokens and
the engine's own hashes; blocks that were removed; and that all is gone. The engine's hashes cannot be worked out from a
prompt's text, so the router's index stays one of text, and events are used for what they tell exactly:

- a cache that was cleared: everything that the endpoint was believed to hold is forgotten at once;
- how many tokens the cache really holds: the endpoint's part of the index is bounded by it, whoever filled the cache;
- with token ids at hand (`tokens_held`), which leading tokens of a prompt are cached, block by block.

Guarantees: any bytes are read or refused (`KvEventError`), never followed blindly; at most `blocks_max` blocks of an
endpoint are kept; a gap that cannot be filled leaves nothing believed that may be wrong. Leaves sockets to
`io/kv_events`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

__all__ = ["BLOCKS_MAX", "Cleared", "KvCache", "KvEvent", "KvEventError", "Removed", "Stored", "decode_batch"]

BLOCKS_MAX = 1_000_000
"""Blocks of one endpoint's cache that are followed: 16 million tokens at vLLM's 16; the oldest go."""
_EVENTS_MAX = 100_000
_HASHES_MAX = 1_000_000
_GPU = (None, "GPU")


class KvEventError(ValueError):
    """A batch that is none, or is larger than we read."""


BlockHash = bytes | int


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """Blocks that are cached from now on, each the continuation of the one before, the first one of `parent`."""

    hashes: tuple[BlockHash, ...]
    parent: BlockHash | None
    token_ids: tuple[int, ...]
    block_size: int
    adapter: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Removed:
    """Blocks that are not cached any more."""

    hashes: tuple[BlockHash, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cleared:
    """Nothing is cached any more."""


KvEvent = Stored | Removed | Cleared

_STORED = ("block_hashes", "parent_block_hash", "token_ids", "block_size", "lora_id", "medium", "lora_name")
_REMOVED = ("block_hashes", "medium")


def decode_batch(payload: bytes) -> list[KvEvent]:
    """The events of one batch, as `vllm.distributed.kv_events` writes them: an array of time and events, each a map
    with its `type`, or, by versions before, an array that begins with it. Events of other memories than the GPU's, and
    of kinds that are not known, are left out.

    Raises:
        KvEventError: it is not such a batch.
    """
    try:
        batch = msgspec.msgpack.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise KvEventError(f"not MessagePack: {error}") from error
    if not isinstance(batch, list) or len(batch) < 2 or not isinstance(batch[1], list):
        raise KvEventError("not an array of a time and events")
    if len(batch[1]) > _EVENTS_MAX:
        raise KvEventError(f"{len(batch[1])} events in a batch, more than {_EVENTS_MAX}")
    found = (_event(raw) for raw in batch[1])
    return [event for event in found if event is not None]


def _event(raw: Any) -> KvEvent | None:
    fields: dict[str, Any]
    if isinstance(raw, dict):
        kind, fields = raw.get("type"), raw
    elif isinstance(raw, list) and raw:
        kind = raw[0]
        fields = dict(zip(_STORED if kind == "BlockStored" else _REMOVED, raw[1:], strict=False))
    else:
        raise KvEventError("an event is neither a map nor an array")
    if kind == "AllBlocksCleared":
        return Cleared()
    if kind not in ("BlockStored", "BlockRemoved") or fields.get("medium") not in _GPU:
        return None
    hashes = _hashes(fields.get("block_hashes"))
    if kind == "BlockRemoved":
        return Removed(hashes=hashes)
    size, tokens, parent = fields.get("block_size"), fields.get("token_ids"), fields.get("parent_block_hash")
    adapter = fields.get("lora_name")
    if not isinstance(size, int) or not 0 < size <= 65_536:
        raise KvEventError(f"block_size is {size!r}")
    if not isinstance(tokens, list) or not all(type(token) is int for token in tokens):
        raise KvEventError("token_ids are not whole numbers")
    if parent is not None and not isinstance(parent, bytes | int):
        raise KvEventError("parent_block_hash is no hash")
    return Stored(
        hashes=hashes,
        parent=parent,
        token_ids=tuple(tokens),
        block_size=size,
        adapter=adapter if isinstance(adapter, str) else "",
    )


def _hashes(raw: Any) -> tuple[BlockHash, ...]:
    if not isinstance(raw, list) or len(raw) > _HASHES_MAX or not all(isinstance(one, bytes | int) for one in raw):
        raise KvEventError("block_hashes are no hashes")
    return tuple(raw)


class KvCache:
    """One endpoint's prefix cache, as its events tell it. Owned by who follows them."""

    def __init__(self, blocks_max: int = BLOCKS_MAX) -> None:
        self._blocks_max = blocks_max
        self._chain_of: OrderedDict[BlockHash, int] = OrderedDict()
        """Our chained hash of the tokens up to a block, by the engine's hash of it."""
        self._held: dict[int, int] = {}
        """How many of the engine's blocks have these tokens."""
        self._next: int | None = None
        self.block_size = 0
        self.gaps_total = 0
        self.is_whole = False
        """Every event since the cache was empty was seen: what is not held here is not cached."""

    @property
    def tokens(self) -> int:
        """Tokens that are cached, as far as events told."""
        return len(self._chain_of) * self.block_size

    def missed(self, sequence: int) -> tuple[int, int] | None:
        """First and last number of the batches missed before this one; None where there are none, or it is the first
        that is seen. A lower number is a publisher that began anew, of which everything before this one was missed."""
        expected = self._next
        if expected is None or sequence == expected:
            return (0, sequence - 1) if expected is None and sequence > 0 else None
        return (expected, sequence - 1) if sequence > expected else (0, sequence - 1) if sequence > 0 else None

    def take(self, sequence: int, events: Sequence[KvEvent]) -> bool:
        """Takes in a batch; True where what was cached before is not to be believed any more: the cache was cleared, or
        batches before this one are lost."""
        expected, self._next = self._next, sequence + 1
        is_lost = False
        if sequence == 0:
            is_lost = expected is not None
            self._forget()
            self.is_whole = True
        elif sequence != expected:
            self.gaps_total += expected is not None
            is_lost = True
            self._forget()
            self.is_whole = False
        for event in events:
            match event:
                case Stored():
                    self._store(event)
                case Removed():
                    self._remove(event.hashes)
                case Cleared():
                    self._forget()
                    self.is_whole = is_lost = True
        return is_lost

    def tokens_held(self, token_ids: Sequence[int], adapter: str = "") -> int:
        """How many leading tokens of a prompt are cached, in whole blocks."""
        size = self.block_size
        if not size:
            return 0
        chain, held = _root(adapter), 0
        for start in range(0, len(token_ids) - size + 1, size):
            chain = hash((chain, *token_ids[start : start + size]))
            if chain not in self._held:
                break
            held = start + size
        return held

    def _store(self, event: Stored) -> None:
        self.block_size = size = event.block_size
        chain = _root(event.adapter) if event.parent is None else self._chain_of.get(event.parent)
        for place, name in enumerate(event.hashes):
            tokens = event.token_ids[place * size : (place + 1) * size]
            # behind a block that was never seen nothing is known but that it is there
            chain = hash((chain, *tokens)) if chain is not None and len(tokens) == size else None
            known = self._chain_of.pop(name, None)
            if known is not None:
                self._unhold(known)
            own = chain if chain is not None else hash((name,))
            self._chain_of[name] = own
            self._held[own] = self._held.get(own, 0) + 1
        while len(self._chain_of) > self._blocks_max:
            self._unhold(self._chain_of.popitem(last=False)[1])
            self.is_whole = False

    def _remove(self, hashes: Sequence[BlockHash]) -> None:
        for name in hashes:
            chain = self._chain_of.pop(name, None)
            if chain is not None:
                self._unhold(chain)

    def _unhold(self, chain: int) -> None:
        left = self._held[chain] - 1
        if left:
            self._held[chain] = left
        else:
            del self._held[chain]

    def _forget(self) -> None:
        self._chain_of.clear()
        self._held.clear()


def _root(adapter: str) -> int:
    """The chain's beginning; integers and their tuples alone hash alike in every process, which isn't needed here."""
    return hash((adapter,))
