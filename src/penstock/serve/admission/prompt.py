"""What a request's prompt is, whatever API it came by: its text in order, and what else is in it."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Prompt"]


@dataclass(slots=True, kw_only=True)
class Prompt:
    """A prompt as the gateway looks at it once."""

    pieces: list[str]
    """Its text in the order in which the engine sees it: roles, contents, tools, instructions."""
    chars: int = 0
    messages: int = 0
    images: int = 0
    audios: int = 0
    tools: int = 0
    tokens: int = -1
    """Where the client sent token ids: how many; else -1."""
    batch: int = 1
    """Prompts in the request (completions and embeddings take several)."""
