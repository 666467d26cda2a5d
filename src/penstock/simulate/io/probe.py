"""Sends a probe's rounds to a live engine and notes when each token came.

Guarantees: rounds go one after another, the requests of a round at once; what the engine refuses is a `PenstockError`
that says what it answered. Leaves to others: what to ask and what it means (`simulate.probe`).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

import aiohttp
import orjson

from penstock.errors import PenstockError
from penstock.simulate.io.calls import Target, call, open_session
from penstock.simulate.probe import Round, Seen, prompt_ids
from penstock.simulate.watching import Reading, read_metrics

__all__ = ["WATCH_EVERY_S", "Served", "find_served", "run_rounds", "watch"]

_TIMEOUT_S = 120.0
WATCH_EVERY_S = 0.25
"""Short enough that between two readings often no prompt comes; long enough for a mean of gaps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """What a live engine says it serves."""

    model: str
    root: str
    """Hub name or folder of the model, where the engine tells it; else the model's name."""
    context: int | None
    version: str
    """`vLLM 0.32.0`, or empty where the engine does not say."""


async def find_served(target: Target, model: str = "", *, clock: Callable[[], float] = time.monotonic) -> Served:
    """The model to probe: the one that is named, else the first that is listed.

    Raises:
        PenstockError: the engine cannot be reached, or has no such model.
    """
    async with open_session(connections_max=1, timeout_s=_TIMEOUT_S) as session:
        listing = await call(session, target, "/v1/models", None, clock=clock)
        if listing.failure is not None:
            raise PenstockError(f"{target.origin} does not list its models: {listing.failure.detail}")
        version = await call(session, target, "/version", None, clock=clock)
    try:
        cards: list[dict[str, Any]] = orjson.loads(listing.body)["data"]
        names = [str(card["id"]) for card in cards]
    except (orjson.JSONDecodeError, KeyError, TypeError) as error:
        raise PenstockError(f"{target.origin}/v1/models answers something that is no list of models") from error
    if not names or (model and model not in names):
        wanted = f" {model!r}" if model else ""
        raise PenstockError(f"{target.origin} serves no model{wanted}", hint=f"it lists {', '.join(names) or 'none'}")
    card = cards[names.index(model)] if model else cards[0]
    length = card.get("max_model_len")
    return Served(
        model=str(card["id"]),
        root=str(card.get("root") or card["id"]),
        context=length if isinstance(length, int) else None,
        version=_version(version.body) if version.status == 200 else "",
    )


def _version(body: bytes) -> str:
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError:
        return ""
    version = found.get("version") if isinstance(found, dict) else None
    return f"vLLM {version}" if isinstance(version, str) else ""


async def run_rounds(
    target: Target,
    model: str,
    rounds: Sequence[Round],
    *,
    vocab: int,
    seed: int = 0,
    on_round: Callable[[Round], None] = lambda _: None,
    clock: Callable[[], float] = time.monotonic,
) -> list[tuple[Round, list[Seen]]]:
    """Sends every round; what each request of it saw.

    Raises:
        PenstockError: a request failed.
    """
    rng = Random(f"probe:{seed}")
    results: list[tuple[Round, list[Seen]]] = []
    most = max(asked.requests for asked in rounds)
    async with open_session(connections_max=most, timeout_s=_TIMEOUT_S) as session:
        for asked in rounds:
            bodies = [_body(model, asked, prompt_ids(rng, asked.prompt_tokens, vocab)) for _ in range(asked.requests)]
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(_send(session, target, body, clock)) for body in bodies]
            answers = [task.result() for task in tasks]
            failed = next((answer for answer in answers if isinstance(answer, str)), None)
            if failed is not None:
                raise PenstockError(
                    f"a request of {asked.prompt_tokens:,} prompt tokens failed: {failed}",
                    hint="the probe needs /v1/completions with token ids and `ignore_eos`, as vLLM has them",
                )
            results.append((asked, [answer for answer in answers if isinstance(answer, Seen)]))
            on_round(asked)
    return results


async def watch(
    target: Target,
    seconds: float,
    *,
    every_s: float = WATCH_EVERY_S,
    on_reading: Callable[[], None] = lambda: None,
    clock: Callable[[], float] = time.monotonic,
) -> list[Reading]:
    """Reads the engine's metrics for some time, sending it nothing else.

    Raises:
        PenstockError: it has none, or not those that are needed.
    """
    readings: list[Reading] = []
    end = clock() + seconds
    async with open_session(connections_max=1, timeout_s=_TIMEOUT_S) as session:
        while True:
            seen = await call(session, target, "/metrics", None, clock=clock)
            if seen.failure is not None:
                raise PenstockError(f"{target.origin}/metrics cannot be read: {seen.failure.detail}")
            readings.append(read_metrics(seen.body.decode(errors="replace")))
            on_reading()
            if clock() + every_s > end:
                return readings
            await asyncio.sleep(every_s)


def _body(model: str, asked: Round, ids: list[int]) -> bytes:
    return orjson.dumps(
        {
            "model": model,
            "prompt": ids,
            "max_tokens": asked.output_tokens,
            "temperature": 0,
            "ignore_eos": True,
            "stream": True,
            "stream_options": {"include_usage": True, "continuous_usage_stats": True},
        }
    )


async def _send(session: aiohttp.ClientSession, target: Target, body: bytes, clock: Callable[[], float]) -> Seen | str:
    """What one request saw, or why it failed."""
    seen = await call(session, target, "/v1/completions", body, clock=clock, is_stream=True)
    if seen.failure is not None:
        return seen.failure.detail
    if seen.first_at is None or seen.answer is None or seen.answer.prompt_tokens is None:
        return "the stream had no tokens, or no usage at its end"
    return Seen(
        sent_s=seen.sent_at,
        first_s=seen.first_at,
        gaps_s=tuple(seen.gaps_s),
        prompt_tokens=seen.answer.prompt_tokens,
    )
