"""Which files serving needs: weights once, nothing that runs code, a reason for each that is left out."""

from __future__ import annotations

import pytest

from penstock.errors import UsageError
from penstock.operate.storage import Listing, RemoteFile, files_wanted
from penstock.operate.storage.listing import FILES_MAX

LLAMA = (
    ".gitattributes",
    "LICENSE",
    "README.md",
    "USE_POLICY.md",
    "config.json",
    "generation_config.json",
    "model-00001-of-00002.safetensors",
    "model-00002-of-00002.safetensors",
    "model.safetensors.index.json",
    "original/consolidated.00.pth",
    "original/params.json",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer_config.json",
)


def listing(*paths: str) -> Listing:
    return Listing(revision="abc", requested=None, files=tuple(RemoteFile(path=p, size=10) for p in paths))


def chosen(*paths: str, **options: object) -> list[str]:
    return [f.path for f in files_wanted(listing(*paths), **options).files]  # type: ignore[arg-type]


def test_a_llama_repository_without_its_copies() -> None:
    wanted = files_wanted(listing(*LLAMA))

    assert [f.path for f in wanted.files] == [
        p for p in sorted(LLAMA) if p not in (".gitattributes", "README.md") and not p.startswith("original/")
    ]
    assert len(wanted.files) + len(wanted.skipped) == len(LLAMA)
    assert all(reason for _, reason in wanted.skipped)
    assert wanted.size == 10 * len(wanted.files)


@pytest.mark.parametrize(
    "copy",
    ["pytorch_model.bin", "pytorch_model.bin.index.json", "consolidated.safetensors", "onnx/model.onnx", "tf_model.h5",
     "flax_model.msgpack", "metal/model.bin", "model-q4.gguf", "logo.png"],
)  # fmt: skip
def test_a_copy_of_the_weights_is_left_out(copy: str) -> None:
    assert copy not in chosen("config.json", "model.safetensors", copy)


@pytest.mark.parametrize(
    "needed",
    ["tokenizer.model", "tekken.json", "vocab.txt", "merges.txt", "chat_template.jinja", "preprocessor_config.json",
     "modeling_custom.py", "1_Pooling/config.json", "2_Dense/model.safetensors", "qwen.tiktoken"],
)  # fmt: skip
def test_what_an_engine_reads_is_taken(needed: str) -> None:
    assert needed in chosen("config.json", "model.safetensors", needed)


def test_a_mistral_that_has_only_consolidated_weights_is_taken() -> None:
    assert "consolidated.safetensors" in chosen("params.json", "tekken.json", "consolidated.safetensors")


def test_pickled_weights_are_refused_because_they_run_code() -> None:
    with pytest.raises(UsageError, match="runs whatever code is in it") as refusal:
        chosen("config.json", "pytorch_model.bin")

    assert "--allow-pickle" in str(refusal.value)


def test_include_alone_does_not_let_pickled_weights_in() -> None:
    with pytest.raises(UsageError, match="runs whatever code"):
        chosen("config.json", "pytorch_model.bin", include=["*.bin"])


def test_pickled_weights_are_taken_when_they_are_allowed() -> None:
    assert chosen("config.json", "pytorch_model.bin", allows_pickle=True) == ["config.json", "pytorch_model.bin"]


def test_pickled_weights_beside_safetensors_stay_out_even_when_allowed() -> None:
    assert "pytorch_model.bin" not in chosen(
        "config.json", "model.safetensors", "pytorch_model.bin", allows_pickle=True
    )


def test_include_adds_and_exclude_wins() -> None:
    paths = ("config.json", "model.safetensors", "README.md", "tokenizer.json")

    assert "README.md" in chosen(*paths, include=["*.md"])
    assert "README.md" not in chosen(*paths, include=["*.md"], exclude=["README*"])
    assert "tokenizer.json" not in chosen(*paths, exclude=["tokenizer.json"])


def test_other_weights_are_named_when_there_are_only_those() -> None:
    with pytest.raises(UsageError, match=r"model-q4\.gguf") as refusal:
        chosen("config.json", "model-q4.gguf")

    assert "--include 'model-q4.gguf'" in str(refusal.value)
    assert chosen("config.json", "model-q4.gguf", include=["*.gguf"]) == ["config.json", "model-q4.gguf"]


def test_a_place_without_weights_is_refused() -> None:
    with pytest.raises(UsageError, match="no weights"):
        chosen("config.json", "README.md")


def test_a_name_that_leads_out_of_the_folder_is_refused() -> None:
    with pytest.raises(UsageError, match="leads out of the model's folder"):
        chosen("config.json", "model.safetensors", "../../etc/cron.d/x.json")


def test_a_listing_without_end_is_refused() -> None:
    with pytest.raises(UsageError, match="fewer than"):
        chosen(*(f"{n}.json" for n in range(FILES_MAX + 1)))
