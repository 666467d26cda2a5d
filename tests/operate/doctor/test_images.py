"""Image references."""

from __future__ import annotations

import pytest

from penstock.operate.doctor.images import image_of

DIGEST = "sha256:" + "0" * 64


@pytest.mark.parametrize(
    ("text", "repository", "tag", "digest"),
    [
        ("a", "a", "", ""),
        ("r.example.com:5000/a/b", "r.example.com:5000/a/b", "", ""),
        ("r.example.com:5000/a/b:1", "r.example.com:5000/a/b", "1", ""),
        (f"a/b:1@{DIGEST}", "a/b", "1", DIGEST),
    ],
)
def test_a_reference_is_taken_apart(text: str, repository: str, tag: str, digest: str) -> None:
    image = image_of(text)

    assert (image.repository, image.tag, image.digest) == (repository, tag, digest)
    assert image.text == text


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("vllm/vllm-openai:v0.32.0", "0.32.0"),
        ("mirror.example.com/x/vllm-openai:v0.10.1.1-cu129", "0.10.1.1"),
        ("vllm/vllm-openai:latest", None),
        ("lmcache/vllm-openai:v0.3.9", None),
        ("qwenllm/qwen3-omni:3-cu124", None),
        ("vllm/vllm-openai:2025.10.1", None),
    ],
)
def test_the_version_is_the_tag_s_where_the_tag_is_vllm_s(text: str, version: str | None) -> None:
    assert image_of(text).version == version


def test_floating_is_what_may_change() -> None:
    floating = ["a", "a:latest", "a/b:nightly"]
    fixed = ["a:dev", f"a@{DIGEST}", f"a:latest@{DIGEST}", "a:${TAG}"]

    assert [image_of(t).is_floating for t in (*floating, *fixed)] == [True] * 3 + [False] * 4


def test_a_router_is_no_engine() -> None:
    assert image_of("vllm/vllm-openai:1").is_engine
    assert not image_of("vllm/vllm-router:1").is_engine
    assert not image_of("nginx:1").is_engine
