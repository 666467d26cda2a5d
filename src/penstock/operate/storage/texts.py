"""Whether a model's config and tokenizer can be read, and whether the model is one that is known.

Pure. A finding here is `(is_error, file, rule, message)`; `verification` gives it its type.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from penstock.errors import UsageError
from penstock.facts import architecture_from_config
from penstock.operate.storage.shards import INDEX_SUFFIX, Found

__all__ = ["ADAPTER", "text_findings"]

ADAPTER = "adapter_config.json"
_OTHER_TOKENIZERS = (
    "tokenizer.model",
    "tekken.json",
    "spiece.model",
    "sentencepiece.bpe.model",
    "vocab.txt",
    "vocab.json",
)
_PARSED = (
    "generation_config.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "preprocessor_config.json",
    "processor_config.json",
    "added_tokens.json",
    "chat_template.json",
    "modules.json",
)


def text_findings(texts: Mapping[str, str | None], paths: Sequence[str]) -> Iterator[Found]:
    """Config, tokenizer and the small JSON files beside them."""
    if ADAPTER in paths and "config.json" not in paths:
        yield from _adapter(texts.get(ADAPTER))
        return
    is_pipeline = "model_index.json" in paths
    if "config.json" in paths:
        yield from _config(texts.get("config.json"))
    elif not is_pipeline and "params.json" not in paths:
        yield True, "config.json", "config", "is missing: an engine cannot tell what the model is"
    if not is_pipeline:
        yield from _tokenizer(texts, paths)
    for path in paths:
        if path.rpartition("/")[2] in _PARSED and not path.endswith(INDEX_SUFFIX):
            _, trouble = _object(texts.get(path), may_be_list=path.endswith("modules.json"))
            if trouble is not None:
                yield True, path, "json", trouble


def _object(text: str | None, *, may_be_list: bool = False) -> tuple[Mapping[str, Any], str | None]:
    """The object that a text holds, and why it is none."""
    if text is None:
        return {}, "is not UTF-8 text, or far too large"
    try:
        found: Any = json.loads(text)
    except (ValueError, RecursionError) as error:
        shown = " (it looks like an error page)" if text.lstrip()[:1] == "<" else ""
        shown = " (it is a Git LFS pointer, not the file)" if text.startswith("version https://git-lfs") else shown
        return {}, f"is not JSON{shown}: {error}"
    if isinstance(found, Mapping):
        return found, None
    return {}, None if may_be_list and isinstance(found, list) else "is JSON, but not an object"


def _config(text: str | None) -> Iterator[Found]:
    config, trouble = _object(text)
    if trouble is not None:
        yield True, "config.json", "config", trouble
        return
    if not config.get("model_type") and not config.get("architectures"):
        message = "names neither model_type nor architectures: an engine cannot tell what the model is"
        yield True, "config.json", "config", message
        return
    try:
        architecture_from_config(config)
    except (UsageError, ValueError, TypeError, ArithmeticError, AttributeError) as error:
        said = error.message if isinstance(error, UsageError) else repr(error)
        yield False, "config.json", "architecture", f"Penstock cannot size this model, an engine may serve it: {said}"


def _adapter(text: str | None) -> Iterator[Found]:
    """A LoRA adapter has a description of its own, and the tokenizer of its base."""
    config, trouble = _object(text)
    if trouble is None and not config.get("base_model_name_or_path") and not config.get("peft_type"):
        trouble = "names neither peft_type nor base_model_name_or_path: it is not an adapter's"
    if trouble is not None:
        yield True, ADAPTER, "config", trouble


def _tokenizer(texts: Mapping[str, str | None], paths: Sequence[str]) -> Iterator[Found]:
    if "tokenizer.json" in paths:
        tokenizer, trouble = _object(texts.get("tokenizer.json"))
        if trouble is None and not isinstance(tokenizer.get("model"), Mapping):
            trouble = "has no `model`: it is not a tokenizer"
        if trouble is not None:
            yield True, "tokenizer.json", "tokenizer", trouble
    elif not any(p in paths for p in _OTHER_TOKENIZERS) and not any(p.endswith((".tiktoken", ".gguf")) for p in paths):
        message = "there is no tokenizer.json, tokenizer.model or other tokenizer: an engine cannot read text"
        yield True, "tokenizer.json", "tokenizer", message
