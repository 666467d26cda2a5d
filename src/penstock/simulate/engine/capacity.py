"""What bounds a simulated engine: KV blocks, how requests hold them, requests and tokens of a step.

A block belongs to one group of layers (`penstock.perf.kv`): a request of a hybrid (Gemma 3, gpt-oss) takes one for each
full group, and in each sliding group those of its window only. Guarantees: what comes out serves one request of
`max_model_len`, or `UsageError` says why not.
"""

from __future__ import annotations

from penstock.errors import UsageError
from penstock.perf.kv import KvLayout, kv_layout
from penstock.perf.memory import plan_memory
from penstock.simulate.engine.messages import EngineConfig
from penstock.simulate.engine.scheduler import Limits

__all__ = ["count_blocks", "count_tokens", "make_limits"]


def make_limits(config: EngineConfig) -> Limits:
    """What bounds the engine's steps and how it holds its cache.

    A model of sliding layers alone is held as if they attended to everything.
    """
    layout = _layout(config)
    return Limits(
        max_num_seqs=config.max_num_seqs,
        max_num_batched_tokens=config.max_num_batched_tokens,
        block_size=config.block_size,
        enable_chunked_prefill=config.enable_chunked_prefill,
        by_priority=config.policy == "priority",
        full_groups=layout.full_groups or max(1, layout.sliding_groups),
        sliding_groups=layout.sliding_groups if layout.full_groups else 0,
        window=layout.window,
    )


def _layout(config: EngineConfig) -> KvLayout:
    return kv_layout(config.model, config.kv_dtype, config.tensor_parallel, block_size=config.block_size)


def count_tokens(config: EngineConfig, max_model_len: int, blocks: int) -> int:
    """Tokens of so many blocks, as vLLM prints them."""
    layout = _layout(config)
    if not layout.sliding_groups:
        return blocks * config.block_size
    return layout.tokens_of(blocks, max_model_len, config.max_num_batched_tokens)


def count_blocks(config: EngineConfig, max_model_len: int) -> int:
    """KV blocks of the engine, one at least for each that a request of `max_model_len` needs; `UsageError` else."""
    layout = _layout(config)
    needed = layout.blocks_per_request(max_model_len, config.max_num_batched_tokens) + 1
    if not layout.full_groups:
        needed = -(-max_model_len // config.block_size) + 1
    blocks = config.num_gpu_blocks
    if blocks is None:
        if not config.model.has_kv_cache:
            return needed * min(config.max_num_seqs, 256)
        plan = plan_memory(
            config.model,
            config.gpu,
            utilization=config.gpu_memory_utilization,
            max_num_batched_tokens=config.max_num_batched_tokens,
            max_num_seqs=config.max_num_seqs,
            max_model_len=max_model_len,
            block_size=config.block_size,
            tensor_parallel=config.tensor_parallel,
            kv_dtype=config.kv_dtype,
        )
        blocks = plan.num_blocks
    if blocks < needed:
        fits = max(0, (blocks - 1) * max_model_len // (needed - 1) // config.block_size) * config.block_size
        raise UsageError(
            f"one request of max-model-len {max_model_len} needs {needed} KV blocks of {config.block_size} tokens, and"
            f" {config.model.name} on {config.gpu.name} has {blocks}",
            hint=f"use --max-model-len {fits} or less, more GPU memory, or a smaller model",
        )
    return blocks
