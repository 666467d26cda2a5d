"""Engine defaults by GPU."""

from __future__ import annotations

import pytest

from penstock.facts import engine_defaults, find_gpu


@pytest.mark.parametrize(("gpu", "tokens", "seqs"), [("H100", 8192, 1024), ("L4", 2048, 256), ("A100", 2048, 256)])
def test_large_gpus_get_large_batches(gpu: str, tokens: int, seqs: int) -> None:
    defaults = engine_defaults(find_gpu(gpu))
    assert (defaults.max_num_batched_tokens, defaults.max_num_seqs) == (tokens, seqs)
