"""The last routing decisions with their numbers, for whoever asks why: `/api/v1/decisions` and `x-penstock-explain`.

Guarantees: at most `kept` are held, the oldest go; to keep one costs an append, words and rounding are made when it is
read. Holds ids, counts and seconds; never prompts, keys or hashes of them.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from penstock.serve.routing.policy import Decision, Need

__all__ = ["DecisionRing", "decisions_shown", "explained"]

_HEADER_CANDIDATES = 16
"""Candidates in a header: more would not fit what proxies allow (8 KiB of headers)."""

_Kept = tuple[float, str, str, Decision, int, int]


class DecisionRing:
    """Owned by one gateway; `add` when a request is sent."""

    __slots__ = ("_kept", "total")

    def __init__(self, kept: int) -> None:
        self._kept: deque[_Kept] = deque(maxlen=kept)
        self.total = 0
        """Decisions since the gateway began."""

    def add(self, at: float, request_id: str, model: str, decision: Decision, need: Need) -> None:
        """A request was sent. `at`: seconds since 1970, or of whatever clock the reader knows."""
        self.total += 1
        if decision.is_kept:
            self._kept.append((at, request_id, model, decision, need.prompt_tokens, len(need.blocks)))

    def __len__(self) -> int:
        return len(self._kept)

    def newest_first(self) -> list[_Kept]:
        """What is kept."""
        return list(reversed(self._kept))


def decisions_shown(ring: DecisionRing, *, model: str = "", limit: int = 100) -> list[dict[str, Any]]:
    """The newest decisions as plain values, newest first; `model` leaves out those of others."""
    shown: list[dict[str, Any]] = []
    for at, request_id, of_model, decision, prompt_tokens, blocks in ring.newest_first():
        if len(shown) >= limit:
            break
        if model and of_model != model:
            continue
        shown.append(
            {
                "at": at,
                "request_id": request_id,
                "model": of_model,
                "policy": decision.policy,
                "endpoint": decision.endpoint.id,
                "basis": decision.basis or None,
                "prompt_tokens": prompt_tokens,
                "prompt_blocks": blocks,
                "candidates": _candidates(decision),
            }
        )
    return shown


def _candidates(decision: Decision) -> list[dict[str, Any]]:
    if decision.weighed:
        return [
            {
                "endpoint": name,
                "seconds": round(seconds, 6),
                "prefill_s": round(prefill_s, 6),
                "before_s": round(before_s, 6),
                "rest_s": round(rest_s, 6),
                "cached_tokens": round(cached),
                "in_flight": in_flight,
            }
            for name, seconds, prefill_s, before_s, rest_s, cached, in_flight in sorted(
                decision.weighed, key=lambda one: (one[1], one[0])
            )
        ]
    return [{"endpoint": name, "score": score} for name, score in decision.scores]


def explained(decision: Decision) -> list[tuple[str, str]]:
    """Headers that say why: name and value, lower case, ASCII, one line each."""
    lines = [("x-penstock-policy", decision.policy)]
    if decision.basis:
        lines.append(("x-penstock-basis", decision.basis))
    if decision.weighed:
        best = sorted(decision.weighed, key=lambda one: (one[1], one[0]))[:_HEADER_CANDIDATES]
        words = (
            f"{name};s={seconds:.4g};prefill={prefill_s:.4g};before={before_s:.4g};rest={rest_s:.4g}"
            f";cached={cached:.0f};in-flight={in_flight}"
            for name, seconds, prefill_s, before_s, rest_s, cached, in_flight in best
        )
        lines.append(("x-penstock-candidates", ", ".join(words)))
    elif decision.scores:
        words = (f"{name}={score:.4g}" for name, score in decision.scores[:_HEADER_CANDIDATES])
        lines.append(("x-penstock-scores", ",".join(words)))
    return lines
