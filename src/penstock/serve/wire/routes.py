"""The API paths that the gateway serves, and how each is read.

A path that is not here is answered 404, a method that is not here 405. The table is the only place that knows paths.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["LOCAL_PATHS", "ROUTES", "Dialect", "Route"]

Dialect = Literal["openai", "anthropic"]
BodyKind = Literal["json", "multipart"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One API path that is answered by an engine."""

    path: str
    upstream_path: str
    """The path that vLLM serves it under."""
    schema: str
    """Name of the field checks in `wire.fields`."""
    body: BodyKind = "json"
    dialect: Dialect = "openai"
    has_stream_options: bool = False
    """Whether `stream_options.include_usage` exists here, so that usage can be asked for on the client's behalf."""


def _table() -> dict[str, Route]:
    routes = [
        Route(
            path="/v1/chat/completions", upstream_path="/v1/chat/completions", schema="chat", has_stream_options=True
        ),
        Route(path="/v1/completions", upstream_path="/v1/completions", schema="completion", has_stream_options=True),
        Route(path="/v1/responses", upstream_path="/v1/responses", schema="responses"),
        Route(path="/v1/messages", upstream_path="/v1/messages", schema="messages", dialect="anthropic"),
        Route(
            path="/v1/messages/count_tokens",
            upstream_path="/v1/messages/count_tokens",
            schema="messages",
            dialect="anthropic",
        ),
        Route(path="/v1/embeddings", upstream_path="/v1/embeddings", schema="embeddings"),
        Route(path="/v1/audio/speech", upstream_path="/v1/audio/speech", schema="any"),
    ]
    routes += [
        Route(path=f"/v1/audio/{name}", upstream_path=f"/v1/audio/{name}", schema="any", body="multipart")
        for name in ("transcriptions", "translations")
    ]
    for name, versions, upstream in (
        ("rerank", ("", "/v1", "/v2"), "/rerank"),
        ("score", ("", "/v1"), "/score"),
        ("classify", ("", "/v1"), "/classify"),
        ("pooling", ("", "/v1"), "/pooling"),
        ("tokenize", ("", "/v1"), "/tokenize"),
        ("detokenize", ("", "/v1"), "/detokenize"),
    ):
        routes += [Route(path=f"{v}/{name}", upstream_path=upstream, schema=name) for v in versions]
    return {route.path: route for route in routes}


ROUTES: dict[str, Route] = _table()
"""Route by exact path."""

LOCAL_PATHS = frozenset({"/v1/models", "/health", "/ping", "/version"})
"""Paths that the gateway answers by itself; GET and HEAD only. `/v1/models/NAME` too."""
