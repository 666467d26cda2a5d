"""Builds a tiny random Llama with its tokenizer, offline, for the tests that run the real engine.

Guarantees: the same bytes from the same seed and Python; a chat template that renders tools; 128 x 2 layers, float32,
0.9 M parameters, so a token costs a millisecond or two on one core. Its text is noise: tests judge protocol, not prose.
The same folder serves embeddings when the engine is started with `--runner pooling --convert embed`.

Runs in the engine's virtual environment, which has numpy, safetensors and tokenizers:
    VENV/bin/python tiny_model.py FOLDER
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from pydoc_data.topics import topics
from typing import Any

import numpy as np
from safetensors.numpy import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

VOCABULARY = 2048
HIDDEN = 128
LAYERS = 2
HEADS = 4
KV_HEADS = 2
FEED_FORWARD = 384
CONTEXT = 2048
WEIGHT_SPREAD = 0.3  # wide enough that the most likely token depends on the prompt
SEED = 20_240_917

BEGIN, PAD, TURN_START, TURN_END = "<|begin|>", "<|pad|>", "<|turn|>", "<|end_turn|>"
SPECIAL_TOKENS = [BEGIN, PAD, TURN_START, TURN_END, "<tool_call>", "</tool_call>"]

CHAT_TEMPLATE = """\
{{- '<|begin|>' }}
{%- if tools %}{{ '<|turn|>tools\n' + (tools | tojson) + '<|end_turn|>\n' }}{% endif %}
{%- for message in messages %}
{{- '<|turn|>' + message['role'] + '\n' }}
{%- if message['content'] is string %}{{ message['content'] }}
{%- elif message['content'] %}{% for part in message['content'] %}{{ part['text'] }}{% endfor %}{% endif %}
{%- if message['tool_calls'] %}{{ message['tool_calls'] | tojson }}{% endif %}
{{- '<|end_turn|>\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{ '<|turn|>assistant\n' }}{% endif %}"""


def build_tokenizer(folder: Path) -> Tokenizer:
    """Trains a byte-level BPE on Python's own reference text, which every Python ships, and writes its files."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=SPECIAL_TOKENS,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator([topics[name] for name in sorted(topics)], trainer)
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": BEGIN,
        "eos_token": TURN_END,
        "pad_token": PAD,
        "model_max_length": CONTEXT,
        "clean_up_tokenization_spaces": False,
        "chat_template": CHAT_TEMPLATE,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=2))
    return tokenizer


def llama_config(tokenizer: Tokenizer) -> dict[str, Any]:
    """The model's `config.json`."""
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": VOCABULARY,
        "hidden_size": HIDDEN,
        "intermediate_size": FEED_FORWARD,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "num_key_value_heads": KV_HEADS,
        "head_dim": HIDDEN // HEADS,
        "max_position_embeddings": CONTEXT,
        "hidden_act": "silu",
        "rms_norm_eps": 1e-5,
        "rope_theta": 10_000.0,
        "attention_bias": False,
        "mlp_bias": False,
        "tie_word_embeddings": False,
        "torch_dtype": "float32",
        "bos_token_id": tokenizer.token_to_id(BEGIN),
        "eos_token_id": tokenizer.token_to_id(TURN_END),
        "pad_token_id": tokenizer.token_to_id(PAD),
    }


def random_weights(seed: int) -> dict[str, np.ndarray]:
    """Every tensor of the model by its name in the checkpoint."""
    rng = np.random.default_rng(seed)

    def matrix(rows: int, columns: int) -> np.ndarray:
        return (rng.standard_normal((rows, columns)) * WEIGHT_SPREAD).astype(np.float32)

    kv_width = HIDDEN // HEADS * KV_HEADS
    weights = {"model.embed_tokens.weight": matrix(VOCABULARY, HIDDEN)}
    for layer in range(LAYERS):
        prefix = f"model.layers.{layer}"
        weights[f"{prefix}.self_attn.q_proj.weight"] = matrix(HIDDEN, HIDDEN)
        weights[f"{prefix}.self_attn.k_proj.weight"] = matrix(kv_width, HIDDEN)
        weights[f"{prefix}.self_attn.v_proj.weight"] = matrix(kv_width, HIDDEN)
        weights[f"{prefix}.self_attn.o_proj.weight"] = matrix(HIDDEN, HIDDEN)
        weights[f"{prefix}.mlp.gate_proj.weight"] = matrix(FEED_FORWARD, HIDDEN)
        weights[f"{prefix}.mlp.up_proj.weight"] = matrix(FEED_FORWARD, HIDDEN)
        weights[f"{prefix}.mlp.down_proj.weight"] = matrix(HIDDEN, FEED_FORWARD)
        weights[f"{prefix}.input_layernorm.weight"] = np.ones(HIDDEN, dtype=np.float32)
        weights[f"{prefix}.post_attention_layernorm.weight"] = np.ones(HIDDEN, dtype=np.float32)
    weights["model.norm.weight"] = np.ones(HIDDEN, dtype=np.float32)
    weights["lm_head.weight"] = matrix(VOCABULARY, HIDDEN)
    return weights


def build(folder: Path) -> None:
    """Writes the whole model folder."""
    folder.mkdir(parents=True, exist_ok=True)
    config = llama_config(build_tokenizer(folder))
    (folder / "config.json").write_text(json.dumps(config, indent=2))
    save_file(random_weights(SEED), str(folder / "model.safetensors"), metadata={"format": "pt"})


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: tiny_model.py FOLDER")
    build(Path(sys.argv[1]))
