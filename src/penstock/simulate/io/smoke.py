"""Smoke checks: does each model of an API answer a chat, a stream, an embedding?

Guarantees: a failed check says what was asked, what came back and what to do; a model that lacks an endpoint by its
kind (an embedding model has no chat) is told from the engine's own answer and is no failure, unless it answers nothing.
Leaves to others: printing and the exit code (`cli.smoke`).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import aiohttp
import orjson

from penstock.simulate.io.calls import Call, Target, call, open_session
from penstock.simulate.workload.answers import Failure

__all__ = ["Check", "Verdict", "run_smoke"]

Verdict = Literal["ok", "failed", "absent"]

_PROMPT = "Say hello."
_OUTPUT_TOKENS = 16
_MODELS_MAX = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One check of one model (empty for the listing). `absent`: the model's kind has no such endpoint."""

    model: str
    name: str
    verdict: Verdict
    ms: float
    said: str
    advice: str = ""


async def run_smoke(
    target: Target,
    *,
    models: Sequence[str] = (),
    timeout_s: float = 60.0,
    on_check: Callable[[Check], None] = lambda _: None,
    clock: Callable[[], float] = time.monotonic,
) -> list[Check]:
    """List the models, then try each of them (only the named ones, when some are named)."""
    checks: list[Check] = []

    def note(check: Check) -> Check:
        checks.append(check)
        on_check(check)
        return check

    async with open_session(connections_max=1, timeout_s=timeout_s) as session:
        client = _Client(session=session, target=target, timeout_s=timeout_s, clock=clock)
        listing, listed = await client.list_models()
        note(listing)
        if listing.verdict == "failed" and not (models and listing.name == "models" and client.is_reached):
            return checks
        for model in dict.fromkeys(models or listed):
            found = [note(await client.chat(model))]
            if found[0].verdict == "absent":
                found.append(note(await client.completion(model)))
            if any(check.verdict == "ok" for check in found):
                found.append(note(await client.stream(model, is_chat=found[0].verdict == "ok")))
            found.append(note(await client.embedding(model)))
            if all(check.verdict == "absent" for check in found):
                note(_answers_nothing(model))
    return checks


def _answers_nothing(model: str) -> Check:
    return Check(
        model=model,
        name="any",
        verdict="failed",
        ms=0.0,
        said="the engine has neither chat, completions nor embeddings for this model",
        advice="if it is a reranker or classifier, try /v1/rerank, /v1/score or /v1/classify; else see its log",
    )


@dataclass(slots=True, kw_only=True)
class _Client:
    """Makes the calls. Owner: `run_smoke`."""

    session: aiohttp.ClientSession
    target: Target
    timeout_s: float
    clock: Callable[[], float]
    is_reached: bool = False

    async def list_models(self) -> tuple[Check, list[str]]:
        """The listing and the ids in it."""
        seen = await self._call("/v1/models", None)
        self.is_reached = seen.status > 0
        if seen.failure is not None:
            return self._failed("", "models", seen, seen.failure), []
        ids = _model_ids(seen.body)
        if ids is None:
            wrong = Failure(kind="bad_answer", detail="/v1/models answered something that is no list of models")
            return self._failed("", "models", seen, wrong), []
        if not ids:
            wrong = Failure(kind="no_models", detail="/v1/models lists no model")
            return self._failed("", "models", seen, wrong), []
        shown = ", ".join(ids[:8]) + (f" and {len(ids) - 8} more" if len(ids) > 8 else "")
        return Check(model="", name="models", verdict="ok", ms=_ms(seen), said=shown), ids

    async def chat(self, model: str) -> Check:
        """One chat, not streamed."""
        asked = {"messages": [{"role": "user", "content": _PROMPT}]}
        return self._text_check(model, "chat", await self._ask("/v1/chat/completions", model, asked))

    async def completion(self, model: str) -> Check:
        """One completion: what a base model without a chat template has."""
        return self._text_check(model, "completion", await self._ask("/v1/completions", model, {"prompt": _PROMPT}))

    async def stream(self, model: str, *, is_chat: bool) -> Check:
        """The same, streamed."""
        asked: dict[str, object] = {"prompt": _PROMPT}
        if is_chat:
            asked = {"messages": [{"role": "user", "content": _PROMPT}]}
        route = "/v1/chat/completions" if is_chat else "/v1/completions"
        streamed = {"stream": True, "stream_options": {"include_usage": True}}
        seen = await self._ask(route, model, asked | streamed, is_stream=True)
        return self._text_check(model, "stream", seen)

    async def embedding(self, model: str) -> Check:
        """One embedding."""
        seen = await self._call("/v1/embeddings", orjson.dumps({"model": model, "input": _PROMPT}))
        if seen.failure is not None:
            return self._failed(model, "embedding", seen, seen.failure)
        size = _embedding_size(seen.body)
        if not size:
            wrong = Failure(kind="bad_answer", detail="the answer has no embedding of finite numbers")
            return self._failed(model, "embedding", seen, wrong)
        return Check(model=model, name="embedding", verdict="ok", ms=_ms(seen), said=f"{size} numbers")

    async def _ask(self, route: str, model: str, asked: dict[str, Any], *, is_stream: bool = False) -> Call:
        body = orjson.dumps({"model": model, "max_tokens": _OUTPUT_TOKENS, "temperature": 0, **asked})
        return await self._call(route, body, is_stream=is_stream)

    async def _call(self, route: str, body: bytes | None, *, is_stream: bool = False) -> Call:
        return await call(self.session, self.target, route, body, clock=self.clock, is_stream=is_stream)

    def _text_check(self, model: str, name: str, seen: Call) -> Check:
        if seen.failure is None and seen.answer is not None and not seen.answer.has_text:
            empty = Failure(
                kind="empty", detail=f"an empty text (finish_reason {seen.answer.finish_reason or 'missing'})"
            )
            return self._failed(model, name, seen, empty)
        if seen.failure is not None or seen.answer is None:
            return self._failed(model, name, seen, seen.failure or Failure(kind="bad_answer", detail="no answer"))
        counted = seen.answer.output_tokens
        said = "text" if counted is None else f"{counted} tokens"
        if seen.first_at is not None:
            said += f", first after {(seen.first_at - seen.sent_at) * 1000:.0f} ms"
        return Check(model=model, name=name, verdict="ok", ms=_ms(seen), said=said)

    def _failed(self, model: str, name: str, seen: Call, failure: Failure) -> Check:
        if model and _is_absent(seen, failure):
            return Check(model=model, name=name, verdict="absent", ms=_ms(seen), said=failure.detail)
        return Check(
            model=model,
            name=name,
            verdict="failed",
            ms=_ms(seen),
            said=f"{failure.kind}: {failure.detail}",
            advice=self._advice(model, failure),
        )

    def _advice(self, model: str, failure: Failure) -> str:
        origin = self.target.origin
        match failure.kind:
            case "connect":
                return f"is something listening at {origin}? Start it (`penstock up FILE`) or mend host and port"
            case "reset":
                return f"what listens at {origin} closed the connection: does it speak plain HTTP, and did it crash?"
            case "timeout":
                return (
                    f"no answer within {self.timeout_s:g} s: is the engine loading or overloaded? Try a longer timeout"
                )
            case "truncated":
                return "the answer was cut: did the engine die, or a proxy in between close the connection?"
            case "stream_error" | "http_500" | "http_502" | "http_503" | "http_504":
                return "see the engine's log; `/api/v1/state` on the admin port shows which endpoints are ready"
            case "http_401" | "http_403":
                return "give a key that this API knows: --key KEY, or the environment variable PENSTOCK_KEY"
            case "http_404" if model:
                return f"is '{model}' spelled as in /v1/models of {origin}?"
            case "http_404":
                return f"is {origin} the address of an OpenAI-compatible API? Give it without a path, or up to /v1"
            case "http_429":
                return "this key is over its limit: wait, or use another key"
            case "empty":
                return "the engine stopped at once: is the chat template right for this model?"
            case "no_models":
                return "no model is served yet: is the engine still starting?"
            case _:
                return f"is {origin} an OpenAI-compatible API, and is a proxy rewriting its answers?"


def _ms(seen: Call) -> float:
    return round((seen.done_at - seen.sent_at) * 1000.0, 1)


def _is_absent(seen: Call, failure: Failure) -> bool:
    """Did the engine say that this model has no such endpoint, rather than that something is wrong?

    Seen from vLLM 0.32: 404 `{"detail":"Not Found"}` for a route that the model's kind lacks, 400 "The model does not
    support Chat Completions API", 400 about a missing chat template.
    """
    said = failure.detail.lower()
    match seen.status:
        case 404:
            return not ("model" in said and ("does not exist" in said or "not found" in said)) and (
                _error_code(seen.body) != "model_not_found"
            )
        case 405 | 501:
            return True
        case 400:
            return "does not support" in said or "chat template" in said
        case _:
            return False


def _error_code(body: bytes) -> str:
    error = _json_object(body).get("error")
    return str(error.get("code")) if isinstance(error, dict) else ""


def _model_ids(body: bytes) -> list[str] | None:
    entries = _json_object(body).get("data")
    if not isinstance(entries, list):
        return None
    ids = [entry.get("id") for entry in entries[:_MODELS_MAX] if isinstance(entry, dict)]
    return [name for name in ids if isinstance(name, str) and name]


def _embedding_size(body: bytes) -> int:
    entries = _json_object(body).get("data")
    first = entries[0] if isinstance(entries, list) and entries else None
    vector = first.get("embedding") if isinstance(first, dict) else None
    if not isinstance(vector, list):
        return 0
    is_numbers = all(isinstance(x, int | float) and math.isfinite(x) for x in vector)
    return len(vector) if is_numbers else 0


def _json_object(body: bytes) -> dict[str, Any]:
    try:
        answer = orjson.loads(body)
    except ValueError:
        return {}
    return answer if isinstance(answer, dict) else {}
