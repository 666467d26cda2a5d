"""A model's step times as the router needs them: a few numbers and a table, drawn from the performance model. Pure.

    prefill = fixed + tokens x per_token + tokens x (cached + tokens / 2) x per_pair
    decode step of n requests = steps[n] + context of all x per_context_token

Guarantees: what is asked for each request is additions; everything dear is worked out once, by `hardware`. Named after
the calibration it comes from, so that a decision can say on what it rests. How true it is: `docs/accuracy.md`; what
differs on a given endpoint is learned online, by `learned`.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["UNKNOWN_TIMING", "ModelTiming"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelTiming:
    """Seconds of one model on its hardware."""

    name: str
    """Of the calibration, as `h200-vllm-0.26`; `unknown` where nothing is known of the hardware."""
    fixed_s: float
    """Of a prefill, whatever its length."""
    token_s: float
    """More for each token that is computed."""
    pair_s: float
    """More for each pair of a computed token and one before it."""
    steps_s: tuple[float, ...]
    """Of a decode step by requests in it, from 0; beyond the last as the last."""
    context_s: float
    """More of a step for each token of context of all its requests."""

    def prefill_s(self, tokens: int, cached: int = 0) -> float:
        """Seconds to the first token of a prompt that has the engine to itself, of which `cached` need no work."""
        return self.fixed_s + tokens * (self.token_s + (cached + 0.5 * tokens) * self.pair_s)

    def step_s(self, requests: int, context: float = 0.0) -> float:
        """Seconds of a decode step."""
        steps = self.steps_s
        return steps[requests if requests < len(steps) else -1] + context * self.context_s


UNKNOWN_TIMING = ModelTiming(
    name="unknown",
    fixed_s=0.02,
    token_s=4e-5,
    pair_s=0.0,
    steps_s=tuple(0.01 + n * 1e-4 for n in range(257)),
    context_s=0.0,
)
"""Where nothing is known: an 8B model on one H100, within a factor of some. Only what is alike for all endpoints can be
wrong by it, and each endpoint's own factor is learned from its first answers."""
