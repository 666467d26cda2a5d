"""Well-known models by name.

Guarantees: `find_model` always answers; what is not known is guessed from the size in the name and marked `is_guess`.
The table is `catalog.py`; a model on disk is read by `config.py`.
"""

from __future__ import annotations

import math
import re
from dataclasses import replace

from penstock.facts.architecture import Architecture, Task
from penstock.facts.catalog import MODELS

__all__ = ["find_model"]

_QUANTIZED = {
    "fp8": "fp8",
    "w8a8": "int8",
    "int8": "int8",
    "awq": "int4",
    "gptq": "int4",
    "int4": "int4",
    "w4a16": "int4",
}
_SUFFIX = re.compile(
    r"-(instruct|chat|base|hf|it|pt|qat|text|bf16|thinking|dynamic|128k|latest|coder|math|gptq|awq|int[48]|w8a8|w4a16"
    r"|fp8|block|quantized\.w4a16|quantized\.w8a8|v\d+(\.\d+)?|\d{4})$"
)
_INNER = re.compile(r"-(coder|math)(?=-)")
_PREFIX = re.compile(r"^meta-(?=llama)")
_EMBED = re.compile(r"embed|minilm|(^|[-_/])(bge|gte|e5|mpnet)([-_]|$)")


def _key(name: str) -> str:
    return _PREFIX.sub("", name.rstrip("/").rsplit("/", 1)[-1].strip().lower().replace("_", "-"))


_BY_KEY: dict[str, Architecture] = {_key(m.name): m for m in MODELS}
for _model in MODELS:  # `gemma-3-27b` and `Mixtral-8x7B` find what is listed as `...-it`, `...-Instruct-v0.1`
    _short = _key(_model.name)
    while (_match := _SUFFIX.search(_short)) is not None and _match.group(1) not in _QUANTIZED:
        _short = _short[: _match.start()]
        _BY_KEY.setdefault(_short, _model)


def find_model(name: str) -> Architecture:
    """The architecture of a model by hub name or the last part of a path; a guess (`is_guess`) where none is known.

    Suffixes such as `-Instruct` find the base model; `-FP8`, `-AWQ` and their like set the weights' dtype; `-text`
    leaves the vision tower out.
    """
    key = _key(name)
    dtype: str | None = None
    while key not in _BY_KEY:
        match = _SUFFIX.search(key)
        if match is not None:
            dtype = _QUANTIZED.get(match.group(1), dtype)
            key = key[: match.start()]
        elif _INNER.search(key):
            key = _INNER.sub("", key, count=1)
        else:
            known = _guess(name)
            return replace(known, dtype=dtype) if dtype else known
    known = replace(_BY_KEY[key], name=name)
    if _key(name).endswith("-text"):
        known = replace(known, vision_params=0)
    return replace(known, dtype=dtype) if dtype else known


def _guess(name: str) -> Architecture:
    """The known dense model nearest in size to the number in the name; 8B, or BERT for embeddings, without one."""
    key = _key(name)
    sizes = re.findall(r"(?<![a-z\d.])(\d+(?:\.\d+)?)([bm])(?![a-z])", key)
    billions = (float(sizes[0][0]) / (1000 if sizes[0][1] == "m" else 1)) if sizes else None
    is_embed = bool(_EMBED.search(key))
    if is_embed and (billions is None or billions < 0.5):
        nearest = _BY_KEY["all-minilm-l6-v2" if "mini" in key or "small" in key else "bge-base-en-v1.5"]
    else:
        wanted = max(billions or 8.0, 1e-3)
        dense = [m for m in MODELS if m.task == "generate" and not m.experts and m.name.startswith(("Qwen/", "meta-"))]
        nearest = min(dense, key=lambda m: abs(math.log(m.params / 1e9 / wanted)))
    task: Task = "embed" if is_embed else "generate"
    return replace(
        nearest, name=name, task=task, is_guess=True, source=f"guess from the name: the shape of {nearest.name}"
    )
