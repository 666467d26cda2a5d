"""What is measured: the loads, and the requests they send. Pure."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from typing import Any, Literal

__all__ = ["MODEL", "NONCE", "WORKLOADS", "Figure", "Workload", "request_body"]

MODEL = "bench-model"
NONCE = "#" * 16
"""The load generator writes a number here, so that no two prompts are equal and no cache answers twice."""

Figure = Literal["cpu_us_per_request", "cpu_us_per_token", "tokens_per_s", "kb_per_stream"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """One load. `tokens` 0 means plain answers; `gap_us` 0 means streams as fast as they are taken."""

    name: str
    title: str
    figure: Figure
    """The figure this load is there for: the one that is compared."""
    connections: int
    body_bytes: int = 1_500
    tokens: int = 0
    gap_us: int = 0
    warm_s: float = 1.0
    ramp_s: float = 0.0
    seconds: float = 3.0

    @property
    def is_stream(self) -> bool:
        return self.tokens > 0

    @property
    def is_idle(self) -> bool:
        """Whether the streams are only held open, for their memory."""
        return self.figure == "kb_per_stream"

    @property
    def offered_tokens_per_s(self) -> float | None:
        """Tokens per second that the upstream sends when nothing holds it back; None where it is not paced."""
        return self.connections * 1e6 / self.gap_us if self.gap_us else None


ONE_HOUR_US = 3_600_000_000

WORKLOADS: tuple[Workload, ...] = (
    Workload(
        name="plain",
        title="plain answers, 1.5 KB body, 64 connections",
        figure="cpu_us_per_request",
        connections=64,
    ),
    Workload(
        name="large",
        title="plain answers, 200 KB body, 8 connections",
        figure="cpu_us_per_request",
        connections=8,
        body_bytes=200_000,
    ),
    Workload(
        name="stream",
        title="streams of 128 tokens as fast as possible, 32 connections",
        figure="cpu_us_per_token",
        connections=32,
        tokens=128,
    ),
    Workload(
        name="paced-500",
        title="500 streams at 50 tokens/s",
        figure="cpu_us_per_token",
        connections=500,
        tokens=100,
        gap_us=20_000,
        ramp_s=2.0,
        seconds=5.0,
    ),
    Workload(
        name="paced-2000",
        title="2,000 streams at 10 tokens/s",
        figure="cpu_us_per_token",
        connections=2_000,
        tokens=50,
        gap_us=100_000,
        ramp_s=5.0,
        seconds=5.0,
    ),
    Workload(
        name="flood",
        title="2,000 streams that want 100,000 tokens/s in single-token reads: the most that one core relays",
        figure="tokens_per_s",
        connections=2_000,
        tokens=100,
        gap_us=20_000,
        ramp_s=3.0,
        seconds=5.0,
    ),
    Workload(
        name="idle",
        title="2,000 open streams that say nothing",
        figure="kb_per_stream",
        connections=2_000,
        tokens=100,
        gap_us=ONE_HOUR_US,
    ),
)

_WORDS = (
    "water",
    "pipe",
    "gate",
    "wheel",
    "turbine",
    "river",
    "lake",
    "dam",
    "stone",
    "field",
    "light",
    "wind",
    "hill",
    "road",
)


def request_body(workload: Workload) -> bytes:
    """The request of a load: chat, of the stated size, the same bytes every time but for the nonce."""
    rng = random.Random(1)
    fields: dict[str, Any] = {"model": MODEL, "temperature": 0.7, "max_tokens": workload.tokens or 128}
    if workload.is_stream:
        fields |= {"stream": True, "stream_options": {"include_usage": True}}

    def body(text: str) -> bytes:
        messages = [
            {"role": "system", "content": "You answer in one sentence."},
            {"role": "user", "content": f"{NONCE} {text}"},
        ]
        return json.dumps({**fields, "messages": messages}).encode()

    missing = workload.body_bytes - len(body(""))
    words: list[str] = []
    length = 0
    while length <= missing:  # the separator after the last word is not sent
        words.append(rng.choice(_WORDS))
        length += len(words[-1]) + 1
    return body(" ".join(words)[:missing])
