"""What the gateway says by itself: models, health, version, why a request went where, and the common refusals."""

from __future__ import annotations

from urllib.parse import unquote

import orjson

from penstock import __version__
from penstock.serve.config import Caller, ServedModel
from penstock.serve.core import Core
from penstock.serve.record import RequestRecord
from penstock.serve.routing import Decision, explained
from penstock.serve.state import rfc3339
from penstock.serve.wire.errors import Failure
from penstock.serve.wire.routes import LOCAL_PATHS, ROUTES
from penstock.spec.nearest import nearest

__all__ = [
    "explanation",
    "foreign_page",
    "local_answer",
    "missing_key",
    "model_list",
    "no_endpoint",
    "not_allowed",
    "too_large",
    "unknown_model",
    "unknown_path",
]


def local_answer(core: Core, path: str, caller: Caller) -> bytes | Failure:
    """The body for a path that the gateway answers by itself."""
    if path in ("/health", "/ping"):
        return _health(core)
    if path == "/":
        return orjson.dumps({"message": "This is a Penstock gateway. The APIs that it serves are under /v1."})
    if path == "/version":
        return orjson.dumps({"version": __version__})
    if path == "/v1/models":
        return _model_page(model_list(core, caller))
    name = unquote(path.removeprefix("/v1/models/"))
    for model in model_list(core, caller):
        if model["id"] == name:
            return orjson.dumps(model)
    return unknown_model(core, name, caller)


def _health(core: Core) -> bytes | Failure:
    """Who balances load by `/health` hears at once that this gateway leaves, while it still serves what comes."""
    if core.is_leaving:
        message = "This gateway is shutting down."
        return Failure(status=503, code="shutting_down", message=message, outcome="shed", retry_after_s=1)
    return b""


def _model_page(models: list[dict[str, object]]) -> bytes:
    """The list in OpenAI's shape, with what Anthropic's clients read beside it."""
    ids = [model["id"] for model in models] or [None]
    page = {"object": "list", "data": models, "has_more": False, "first_id": ids[0], "last_id": ids[-1]}
    return orjson.dumps(page)


def model_list(core: Core, caller: Caller) -> list[dict[str, object]]:
    """The models this caller may use, each under its name and its aliases, in OpenAI's shape and Anthropic's."""
    return [_model_entry(m, name, core.created) for m in _callable(core, caller) for name in _names(m)]


def _names(model: ServedModel) -> tuple[str, ...]:
    return (model.name, *model.aliases, *sorted(model.adapters))


def _model_entry(model: ServedModel, name: str, created: int) -> dict[str, object]:
    return {
        "id": name,
        "object": "model",
        "type": "model",
        "display_name": name,
        "created": created,
        "created_at": rfc3339(created),
        "owned_by": "penstock",
        "root": model.source,
        "max_model_len": model.bounds.context,
        "parent": None if name == model.name else model.name,
    }


def _callable(core: Core, caller: Caller) -> list[ServedModel]:
    return [m for m in core.config.models.values() if caller.may_call(m.name)]


def unknown_model(core: Core, name: str, caller: Caller) -> Failure:
    """404 with the nearest names; a model that the caller may not use is as unknown as one that isn't there."""
    names = [n for m in _callable(core, caller) for n in _names(m)]
    close = nearest(name, names)
    if close:
        hint = "Did you mean " + " or ".join(f"'{n}'" for n in close) + "?"
    else:
        shown = ", ".join(names[:10]) + (", …" if len(names) > 10 else "")
        hint = f"Models here: {shown}." if names else "Your key may use no model."
    message = f"The model '{name[:200]}' does not exist or your key may not use it. {hint}"
    return Failure(status=404, code="model_not_found", message=message, param="model")


def missing_key() -> Failure:
    """401: no key. For one that nobody has see `callers.refused_key`."""
    message = "No API key was sent. Send it as 'Authorization: Bearer YOUR_KEY'."
    return Failure(status=401, code="missing_api_key", message=message)


def foreign_page(origin: bytes) -> Failure:
    """403: a page that somebody visits would use a gateway that asks nobody for a key."""
    shown = origin[:200].decode("ascii", "replace")
    message = (
        f"Pages of '{shown}' may not call this gateway, as it serves calls without a key. Whoever runs it can name the "
        "origin under spec.gateway.cors.origins."
    )
    return Failure(status=403, code="origin_not_allowed", message=message)


def unknown_path(method: str, path: str) -> Failure:
    """404: a path that is none of ours."""
    close = nearest(path, [*ROUTES, *LOCAL_PATHS], limit=1)
    hint = f" Did you mean {close[0]}?" if close else ""
    return Failure(status=404, code="unknown_url", message=f"Unknown request URL: {method} {path[:200]}.{hint}")


def not_allowed(method: str, path: str, allow: str) -> Failure:
    """405: our path, another method."""
    message = f"{path} does not take {method}; use {allow.replace(', ', ' or ')}."
    return Failure(status=405, code="method_not_allowed", message=message, allow=allow)


def too_large(limit_bytes: int) -> Failure:
    """413: a body over the limit."""
    message = f"The request body is larger than this gateway takes ({limit_bytes} bytes)."
    return Failure(status=413, code="request_too_large", message=message)


def no_endpoint(model: str, tried: str, retry_after_s: int) -> Failure:
    """503 before any endpoint was tried, 502 after one or more failed."""
    if tried:
        message = f"No endpoint of '{model}' could answer: {tried}."
        return Failure(status=502, code="upstream_error", message=message, outcome="upstream_error", retry_after_s=1)
    message = f"No endpoint of '{model}' can serve right now: it is starting, restarting or scaled to zero."
    return Failure(
        status=503, code="no_endpoint", message=message, outcome="upstream_error", retry_after_s=retry_after_s
    )


def explanation(decision: Decision | None, record: RequestRecord) -> bytes:
    """Header lines that say where a request went and why, for a client that asked."""
    if decision is None:
        return b""
    lines = [
        ("x-penstock-model", record.model),
        ("x-penstock-endpoint", decision.endpoint.id),
        *explained(decision),
        ("x-penstock-tenant", record.tenant),
        ("x-penstock-class", record.traffic_class),
        ("x-penstock-queue-ms", f"{record.queue_ms:.1f}"),
        ("x-penstock-prompt-tokens", str(record.estimated_tokens)),
        ("x-penstock-retries", str(record.retries)),
    ]
    if record.rule:
        lines.append(("x-penstock-rule", record.rule))
    if record.hedged:
        lines.append(("x-penstock-hedged", record.hedged))
    return "".join(f"{name}: {value}\r\n" for name, value in lines).encode("latin-1", "replace")
