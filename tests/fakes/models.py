"""Small models as they lie at their sources: real safetensors, an index that is right, a tokenizer, a chat template."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Mapping
from pathlib import Path

CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "num_hidden_layers": 2,
    "hidden_size": 8,
    "num_attention_heads": 2,
    "vocab_size": 16,
}
TEMPLATE = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}"


def safetensors(tensors: Mapping[str, int], seed: int = 0) -> bytes:
    """A file with BF16 tensors of so many numbers each."""
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    place = 0
    for name, numbers in tensors.items():
        header[name] = {"dtype": "BF16", "shape": [numbers], "data_offsets": [place, place + 2 * numbers]}
        place += 2 * numbers
    raw = json.dumps(header).encode()
    return len(raw).to_bytes(8, "little") + raw + random.Random(seed).randbytes(place)


def small_model(*, numbers: int = 64, seed: int = 0) -> dict[str, bytes]:
    """The files of a model of two shards by path."""
    shards = {
        "model-00001-of-00002.safetensors": {"embed.weight": numbers, "layers.0.weight": numbers},
        "model-00002-of-00002.safetensors": {"layers.1.weight": numbers, "head.weight": 2 * numbers},
    }
    places = {tensor: shard for shard, tensors in shards.items() for tensor in tensors}
    total = 2 * sum(n for tensors in shards.values() for n in tensors.values())
    index = {"metadata": {"total_size": total}, "weight_map": places}
    texts: dict[str, object] = {
        "config.json": CONFIG,
        "generation_config.json": {"temperature": 0.7},
        "model.safetensors.index.json": index,
        "tokenizer.json": {"model": {"type": "BPE", "vocab": {}}},
        "tokenizer_config.json": {"chat_template": TEMPLATE, "bos_token": "<s>"},
    }
    files = {path: json.dumps(value).encode() for path, value in texts.items()}
    files |= {path: safetensors(tensors, seed + n) for n, (path, tensors) in enumerate(shards.items())}
    return files


def write(files: Mapping[str, bytes], folder: Path) -> Path:
    """Lays the files into a folder."""
    for path, content in files.items():
        place = folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
    return folder


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def git_oid(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
