"""What every generated answer carries around its choices: id, time, model, fingerprint, usage.

Guarantees: key order and presence as in vLLM 0.32. Leaves to others: choosing id and time (the io half).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["Envelope", "StreamUsage", "Usage", "model_card"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """One answer's outside."""

    id: str
    created: int
    """Unix seconds."""
    model: str
    fingerprint: str
    prompt_ids: Sequence[int] | None = None
    """Shown where the request asked for token ids."""


@dataclass(slots=True)
class Usage:
    """Tokens of one answer. Owned by the answer, which adds to it as tokens come."""

    prompt_tokens: int
    completion_tokens: int = 0

    @property
    def total(self) -> int:
        return self.prompt_tokens + self.completion_tokens

    def brief(self) -> dict[str, Any]:
        """The three counts, as a stream's usage event has them."""
        return {
            "prompt_tokens": self.prompt_tokens,
            "total_tokens": self.total,
            "completion_tokens": self.completion_tokens,
        }

    def full(self) -> dict[str, Any]:
        """Usage of an answer that is not a stream."""
        return {**self.brief(), "prompt_tokens_details": None, "completion_tokens_details": None}


@dataclass(frozen=True, slots=True)
class StreamUsage:
    """What a stream says about usage."""

    at_end: bool = False
    continuous: bool = False


def model_card(
    *, name: str, root: str, max_model_len: int, created: int, permission_id: str, parent: str | None = None
) -> dict[str, Any]:
    """One entry of `/v1/models`."""
    return {
        "id": name,
        "object": "model",
        "created": created,
        "owned_by": "vllm",
        "root": root,
        "parent": parent,
        "max_model_len": max_model_len,
        "permission": [
            {
                "id": f"modelperm-{permission_id}",
                "object": "model_permission",
                "created": created,
                "allow_create_engine": False,
                "allow_sampling": True,
                "allow_logprobs": True,
                "allow_search_indices": False,
                "allow_view": True,
                "allow_fine_tuning": False,
                "organization": "*",
                "group": None,
                "is_blocking": False,
            }
        ],
    }
