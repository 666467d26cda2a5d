"""Which NVIDIA driver an engine's image needs.

Sources: vLLM's Dockerfile (`CUDA_VERSION=13.0.3` of the main image of 0.32; other builds say theirs in the tag, as
`-cu129`); NVIDIA CUDA Toolkit release notes, "minimum driver for minor version compatibility".
"""

from __future__ import annotations

import re

__all__ = ["IMAGE_CUDA_MAJOR", "driver_min", "image_cuda_major"]

IMAGE_CUDA_MAJOR = 13
"""CUDA of the main image of vLLM 0.32."""
_DRIVER_MIN = {11: 450, 12: 525, 13: 580}
"""Oldest driver branch for a CUDA major."""
_TAG = re.compile(r"(?:^|[-_.])cu(?:da)?-?(\d{2})\.?(\d)?")


def driver_min(cuda_major: int) -> int:
    """The oldest driver branch (as in 580 of 580.65.06) for a CUDA major; the newest known one's for newer ones."""
    return _DRIVER_MIN.get(cuda_major, max(_DRIVER_MIN.values()))


def image_cuda_major(tag: str) -> int | None:
    """The CUDA major that an image's tag names, as 12 for `v0.32.0-cu129`; None where it names none."""
    match = _TAG.search(tag.lower())
    return None if match is None else int(match.group(1))
