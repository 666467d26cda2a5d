"""The routes of the engine, as an ASGI application without a framework.

Guarantees: unknown routes, wrong methods and failures answer in vLLM's shapes; every request is counted as vLLM's web
framework counts it. Leaves to others: HTTP (`exchange.py`) and what each route does.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from penstock.simulate.engine.api.encoding import dump
from penstock.simulate.engine.api.errors import ApiError
from penstock.simulate.engine.api.validation import parse_json
from penstock.simulate.io.engine import chat, completions, control, messages, pooling, responses, status, tokens
from penstock.simulate.io.engine.driver import ClientGone
from penstock.simulate.io.engine.exchange import HttpExchange
from penstock.simulate.io.engine.service import EngineService

__all__ = ["EngineApp"]

_log = logging.getLogger("penstock.engine")

Plain = Callable[[EngineService, HttpExchange], Awaitable[None]]
WithBody = Callable[[EngineService, HttpExchange, bytes], Awaitable[None]]

_UNCOUNTED = {"/metrics", "/health", "/load", "/ping", "/version", "/fault"}
"""Routes that vLLM leaves out of its HTTP metrics; and ours."""
_RESPONSE_PATH = re.compile(r"/v1/responses/[^/]+(/cancel)?")


@dataclass(frozen=True, slots=True)
class Route:
    """What one path and method do. `body` routes take JSON only."""

    handler: str
    """The path as vLLM names it in its metrics."""
    plain: Plain | None = None
    body: WithBody | None = None
    is_anthropic: bool = False


async def _invoke(service: EngineService, exchange: HttpExchange, body: bytes) -> None:
    """`/invocations`: the route is chosen by the fields of the body."""
    value = parse_json(body)
    fields = value if isinstance(value, dict) else {}
    choices: tuple[tuple[str, WithBody], ...] = (
        ("messages", chat.answer_chat),
        ("prompt", completions.answer_completion),
    )
    if service.settings.task == "embed":
        choices = (
            ("input", pooling.answer_embedding),
            ("messages", pooling.answer_embedding),
            ("query", pooling.answer_rerank),
            ("text_1", pooling.answer_score),
            ("queries", pooling.answer_score),
            ("data_1", pooling.answer_score),
        )
    for name, answer in choices:
        if name in fields:
            await answer(service, exchange, body)
            return
    known = ", ".join(name for name, _ in choices)
    raise ApiError(400, f"Cannot find suitable handler for request. Expected one of: {known}", "BadRequestError")


_SHARED: dict[tuple[str, str], Route] = {
    ("GET", "/health"): Route("/health", status.health),
    ("GET", "/ping"): Route("/ping", status.health),
    ("POST", "/ping"): Route("/ping", status.health),
    ("GET", "/version"): Route("/version", status.version),
    ("GET", "/load"): Route("/load", status.load),
    ("GET", "/metrics"): Route("/metrics", status.metrics),
    ("GET", "/kv_event_sources"): Route("/kv_event_sources", status.kv_event_sources),
    ("GET", "/v1/models"): Route("/v1/models", status.models),
    ("POST", "/tokenize"): Route("/tokenize", body=tokens.tokenize),
    ("POST", "/detokenize"): Route("/detokenize", body=tokens.detokenize),
    ("POST", "/v1/systemone"): Route("/v1/systemone", body=control.structured_decision),
    ("POST", "/invocations"): Route("/invocations", body=_invoke),
}
_GENERATE: dict[tuple[str, str], Route] = {
    ("POST", "/v1/chat/completions"): Route("/v1/chat/completions", body=chat.answer_chat),
    ("POST", "/v1/chat/completions/batch"): Route("/v1/chat/completions/batch", body=chat.batch_chat),
    ("POST", "/v1/completions"): Route("/v1/completions", body=completions.answer_completion),
    ("POST", "/v1/responses"): Route("/v1/responses", body=responses.answer_response),
    ("GET", "/v1/responses/"): Route("/v1/responses/{response_id}", control.show_response),
    ("POST", "/v1/responses//cancel"): Route("/v1/responses/{response_id}/cancel", control.show_response),
    ("POST", "/v1/messages"): Route("/v1/messages", body=messages.answer_message, is_anthropic=True),
    ("POST", "/v1/messages/count_tokens"): Route(
        "/v1/messages/count_tokens", body=messages.count_tokens, is_anthropic=True
    ),
    ("POST", "/generative_scoring"): Route("/generative_scoring", body=control.generative_scoring),
    ("POST", "/scale_elastic_ep"): Route("/scale_elastic_ep", body=control.scale),
    ("POST", "/is_scaling_elastic_ep"): Route("/is_scaling_elastic_ep", control.is_scaling),
} | {
    ("POST", path): Route(path, control.refuse_scale_out)
    for path in (
        "/v1/chat/completions/render",
        "/v1/chat/completions/derender",
        "/v1/completions/render",
        "/v1/completions/derender",
        "/v1/responses/render",
        "/v1/messages/render",
        "/inference/v1/generate",
        "/inference/v1/abort_requests",
    )
}
_EMBED: dict[tuple[str, str], Route] = {
    ("POST", path): Route(path, body=answer)
    for path, answer in (
        ("/v1/embeddings", pooling.answer_embedding),
        ("/v2/embed", pooling.answer_cohere),
        ("/pooling", pooling.answer_pooling),
        ("/score", pooling.answer_score),
        ("/v1/score", pooling.answer_score),
        ("/rerank", pooling.answer_rerank),
        ("/v1/rerank", pooling.answer_rerank),
        ("/v2/rerank", pooling.answer_rerank),
    )
}
_FAULTS = {
    ("GET", "/fault"): Route("/fault", control.show_fault),
    ("POST", "/fault"): Route("/fault", body=control.arm_fault),
}
_DEV = {
    ("POST", "/sleep"): Route("/sleep", control.sleep),
    ("POST", "/wake_up"): Route("/wake_up", control.wake_up),
    ("GET", "/is_sleeping"): Route("/is_sleeping", control.is_sleeping),
    ("POST", "/reset_prefix_cache"): Route("/reset_prefix_cache", control.reset_prefix_cache),
}


class EngineApp:
    """The ASGI application. Owns its routing table only."""

    def __init__(self, service: EngineService) -> None:
        self._service = service
        settings = service.settings
        self._routes = _SHARED | (_EMBED if settings.task == "embed" else _GENERATE)
        if settings.has_faults:
            self._routes |= _FAULTS
        if settings.has_dev_routes:
            self._routes |= _DEV
        self._paths = {path for _, path in self._routes}

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answers one request."""
        exchange = HttpExchange(scope, receive, send)
        path = _template(exchange.path)
        route = self._routes.get((exchange.method, path))
        began = time.perf_counter()
        with self._service.answering():
            if route is None:
                await self._answer_unknown(exchange, path)
            else:
                await self._answer(route, exchange)
        handler = "none" if route is None else route.handler
        if handler not in _UNCOUNTED:
            self._service.http.observe(
                handler=handler,
                method=exchange.method,
                status=exchange.status or 500,
                sent=exchange.response_length,
                received=exchange.request_length,
                took_s=time.perf_counter() - began,
                at=time.time(),
            )

    async def _answer(self, route: Route, exchange: HttpExchange) -> None:
        try:
            if route.body is not None:
                await route.body(self._service, exchange, await exchange.json_body())
            elif route.plain is not None:
                await route.plain(self._service, exchange)
        except ClientGone:
            exchange.cut()
        except ApiError as error:
            await _answer_error(exchange, error, is_anthropic=route.is_anthropic)
        except Exception as error:
            _log.exception("request failed route=%s", route.handler)
            failure = ApiError(500, str(error) or type(error).__name__, "InternalServerError")
            await _answer_error(exchange, failure, is_anthropic=route.is_anthropic)

    async def _answer_unknown(self, exchange: HttpExchange, path: str) -> None:
        """404, 405, or the way to the path without its slash, as the web framework of vLLM answers."""
        if path in self._paths:
            allowed = ", ".join(sorted(method for method, known in self._routes if known == path))
            headers = ((b"allow", allowed.encode()),)
            await exchange.answer(dump({"detail": "Method Not Allowed"}), status=405, headers=headers)
        elif path != "/" and path.endswith("/") and path.rstrip("/") in self._paths:
            host = exchange.header("host") or ""
            location = f"http://{host}{exchange.path.rstrip('/')}"
            headers = ((b"location", location.encode("latin-1", "replace")),)
            await exchange.answer(b"", status=307, content_type=None, headers=headers)
        else:
            await exchange.answer(dump({"detail": "Not Found"}), status=404)


async def _answer_error(exchange: HttpExchange, error: ApiError, *, is_anthropic: bool) -> None:
    if exchange.has_begun:
        exchange.cut()
    elif is_anthropic and error.kind != "Bad Request":
        await exchange.answer(error.anthropic_body(), status=error.status)
    else:
        await exchange.fail(error)


def _template(path: str) -> str:
    """The path as the routing table has it: the id of a response is left out."""
    match = _RESPONSE_PATH.fullmatch(path)
    if match is None or path == "/v1/responses/render":
        return path
    return f"/v1/responses/{match[1] or ''}"
