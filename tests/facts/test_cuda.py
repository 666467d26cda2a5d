"""Drivers and the images that need them."""

from __future__ import annotations

import pytest

from penstock.facts.cuda import IMAGE_CUDA_MAJOR, driver_min, image_cuda_major


def test_the_current_image_needs_driver_580() -> None:
    assert driver_min(IMAGE_CUDA_MAJOR) == 580
    assert driver_min(12) == 525


@pytest.mark.parametrize(
    ("tag", "major"),
    [("v0.32.0-cu129", 12), ("3-cu124", 12), ("v0.32.0", None), ("13.0.1-base", None), ("cuda-13.0", 13)],
)
def test_a_tag_may_tell_its_cuda(tag: str, major: int | None) -> None:
    assert image_cuda_major(tag) == major
