"""What clients are told of limits: the failure of a refused request, and the `x-ratelimit-*` headers of every answer.

Codes and headers are OpenAI's, which its clients know (platform.openai.com/docs/guides/rate-limits and /error-codes):
429 `rate_limit_exceeded` goes by with time, `insufficient_quota` does not before the month ends. Pure.
"""

from __future__ import annotations

from math import ceil, inf

from penstock.serve.flow.quota import Ask, Headroom, Limit, Scope, Verdict
from penstock.serve.wire.errors import Failure

__all__ = ["duration_words", "limit_failure", "ratelimit_headers"]

_WORDS: dict[Limit, str] = {
    "requests_per_minute": "requests a minute",
    "tokens_per_minute": "tokens a minute",
    "input_tokens_per_minute": "prompt tokens a minute",
    "output_tokens_per_minute": "output tokens a minute",
    "concurrent_requests": "requests at once",
    "tokens_per_month": "tokens a month",
}
_MONTHS: frozenset[Limit] = frozenset({"tokens_per_month", "cost_per_month"})
_NO_RETRY = b"x-should-retry: false\r\n"
"""OpenAI's and Anthropic's clients try a 429 again, twice by default, unless they are told not to."""
RETRY_AFTER_MAX_S = 32 * 86_400
"""No month is longer."""


def limit_failure(verdict: Verdict, ask: Ask) -> Failure:
    """The failure of a refused verdict. A request larger than the limit is 400, as no retry can pass; a limit of 0 and
    a budget that is used up are 429 `insufficient_quota`, without `Retry-After` where no time helps.

    Raises:
        ValueError: the verdict admitted the request.
    """
    limit, scope = verdict.limit, verdict.scope
    if limit is None or scope is None:
        raise ValueError("an admitted request has no failure")
    most, asked = _amounts(limit, scope, ask)
    allowed = _allowed(limit, most)
    whole_s = None if verdict.retry_after_s == inf else min(RETRY_AFTER_MAX_S, max(1, ceil(verdict.retry_after_s)))
    if most == 0:
        message = f"Limit reached for {scope.words}: it is allowed no requests ({allowed})."
        return _failure("insufficient_quota", message, None)
    if whole_s is None and asked > most:
        message = (
            f"Request too large for {scope.words}: it wants up to {_count(limit, asked)}, and the limit is {allowed}. "
            "It can never pass: shorten the prompt or lower the most output tokens."
        )
        return Failure(status=400, code="request_too_large", message=message, outcome="limited")
    if limit in _MONTHS:
        message = (
            f"The month's budget of {scope.words} is used up: {allowed}, and this request wants up to "
            f"{_count(limit, asked)}. It begins anew at the month's end (UTC), in {duration_words(whole_s or 0)}."
        )
        return _failure("insufficient_quota", message, whole_s)
    where = " (this gateway's share of it, as the shared store is away)" if verdict.is_degraded else ""
    wants = "" if limit in ("requests_per_minute", "concurrent_requests") else f", this request wants {asked}"
    message = f"Rate limit reached for {scope.words}: {allowed}{where}{wants}. Try again in {_seconds(verdict)}."
    return _failure("rate_limit_exceeded", message, whole_s)


def _failure(code: str, message: str, retry_after_s: int | None) -> Failure:
    return Failure(status=429, code=code, message=message, outcome="limited", retry_after_s=retry_after_s)


def _seconds(verdict: Verdict) -> str:
    return duration_words(max(0.001, verdict.retry_after_s)) if verdict.retry_after_s < inf else "a while"


def _allowed(limit: Limit, most: int) -> str:
    return f"${most / 1e6:,.2f} a month" if limit == "cost_per_month" else f"{most} {_WORDS[limit]}"


def _count(limit: Limit, amount: int) -> str:
    return f"${amount / 1e6:,.6f}" if limit == "cost_per_month" else f"{amount} tokens"


def _amounts(limit: Limit, scope: Scope, ask: Ask) -> tuple[int, int]:
    """The limit, and what the request takes of it."""
    quota, tokens = scope.quota, ask.input_tokens + ask.output_tokens
    found: dict[Limit, tuple[int | None, int]] = {
        "requests_per_minute": (quota.requests_per_minute, 1),
        "tokens_per_minute": (quota.tokens_per_minute, tokens),
        "input_tokens_per_minute": (quota.input_tokens_per_minute, ask.input_tokens),
        "output_tokens_per_minute": (quota.output_tokens_per_minute, ask.output_tokens),
        "concurrent_requests": (quota.concurrent_requests, 1),
        "tokens_per_month": (quota.tokens_per_month, tokens),
        "cost_per_month": (quota.cost_per_month_micros, ask.cost_micros),
    }
    most, asked = found[limit]
    return most or 0, asked


def duration_words(seconds: float) -> str:
    """A duration as OpenAI writes it: `0s`, `120ms`, `1s`, `1.5s`, `6m0s`, `2h0m0s`. Rounded up, to milliseconds below
    a minute and to seconds above: whoever waits so long has waited long enough."""
    ms = ceil(seconds * 1000 - 1e-6)
    if ms <= 0:
        return "0s"
    if ms < 1000:
        return f"{ms}ms"
    if ms < 60_000:
        return f"{ms / 1000:g}s"  # five digits at most
    minutes, secs = divmod(-(-ms // 1000), 60)
    if minutes < 60:
        return f"{minutes}m{secs}s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes}m{secs}s"


def ratelimit_headers(verdict: Verdict) -> bytes:
    """The header lines, each ended by CRLF; empty where no limit a minute is given, and a retry may help."""
    lines = b""
    if verdict.requests is not None:
        lines = _lines("requests", verdict.requests)
    if verdict.tokens is not None:
        lines += _lines("tokens", verdict.tokens)
    if verdict.limit is not None and (verdict.limit in _MONTHS or verdict.retry_after_s == inf):
        lines += _NO_RETRY
    return lines


def _lines(what: str, room: Headroom) -> bytes:
    return (
        f"x-ratelimit-limit-{what}: {room.limit}\r\n"
        f"x-ratelimit-remaining-{what}: {room.remaining}\r\n"
        f"x-ratelimit-reset-{what}: {duration_words(room.reset_s)}\r\n"
    ).encode()
