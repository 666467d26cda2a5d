"""The API paths that the gateway serves, and how each is read.

A path that is not here is answered 404, a method that is not here 405. The table is the only place that knows paths.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, assert_never
from urllib.parse import unquote

__all__ = [
    "KEYLESS_PATHS",
    "LOCAL_PATHS",
    "ROUTES",
    "Dialect",
    "Route",
    "StoredPath",
    "azure_path",
    "dialect_of",
    "stored_path",
]

Dialect = Literal["openai", "responses", "anthropic"]
"""How errors are told. `responses` is OpenAI's, but for errors in the middle of a stream."""
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
        Route(path="/v1/chat/completions/batch", upstream_path="/v1/chat/completions/batch", schema="chats"),
        Route(path="/v1/completions", upstream_path="/v1/completions", schema="completion", has_stream_options=True),
        Route(path="/v1/responses", upstream_path="/v1/responses", schema="responses", dialect="responses"),
        Route(path="/v1/messages", upstream_path="/v1/messages", schema="messages", dialect="anthropic"),
        Route(
            path="/v1/messages/count_tokens",
            upstream_path="/v1/messages/count_tokens",
            schema="messages",
            dialect="anthropic",
        ),
        Route(path="/v1/embeddings", upstream_path="/v1/embeddings", schema="embeddings"),
        Route(path="/v2/embed", upstream_path="/v2/embed", schema="embed"),
        Route(path="/generative_scoring", upstream_path="/generative_scoring", schema="score"),
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

LOCAL_PATHS = frozenset({"/", "/v1/models", "/health", "/ping", "/version"})
"""Paths that the gateway answers by itself; GET and HEAD only. `/v1/models/NAME` too."""
KEYLESS_PATHS = frozenset({"/", "/health", "/ping"})
"""Those of them that anybody may ask: load balancers do, and Claude Code asks `/` whether anybody is there."""


# ------------------------------------------------------------------ paths as Azure's clients have them

_AZURE = "/openai/"
_DEPLOYMENTS = ("/openai/deployments/", "/v1/deployments/", "/openai/v1/deployments/")
_OF_DEPLOYMENTS = (
    *("/chat/completions", "/completions", "/embeddings"),
    *("/audio/transcriptions", "/audio/translations", "/audio/speech"),
)
"""What comes behind the name of a deployment, which may hold slashes: the longer one of two that fit is meant."""


def azure_path(path: str) -> tuple[str, str] | None:
    """The path that a path of Azure's stands for, and the model that it names, or none; None where it is no such path.

    `AzureOpenAI` of the client `openai` asks for `/openai/deployments/MODEL/chat/completions` and `/openai/models`;
    with a base URL of its own, for `/v1/deployments/MODEL/…`.
    """
    for prefix in _DEPLOYMENTS:
        if path.startswith(prefix):
            rest = path[len(prefix) :]
            end = next((end for end in _OF_DEPLOYMENTS if rest.endswith(end)), rest)
            name = rest.removesuffix(end)
            return ("/v1" + end, unquote(name)) if name else None
    if not path.startswith(_AZURE):
        return None
    return "/v1/" + path[len(_AZURE) :].removeprefix("v1/"), ""


# ------------------------------------------------------------------ paths with an id in them

StoredAction = Literal["response", "input_items", "cancel"]
_RESPONSES = "/v1/responses/"
_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")
"""Ids of responses: vLLM makes `resp_` and hexadecimal digits; what is not like that can't be one."""
_NO_IDS = frozenset({"input_tokens", "compact"})
"""Paths of OpenAI's beside the ids, which are not served."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredPath:
    """A path below `/v1/responses/`, answered from what the gateway has kept."""

    response_id: str
    """Empty where no response can have such an id."""
    action: StoredAction

    @property
    def allow(self) -> str:
        """The methods it takes, as in the header `Allow`."""
        match self.action:
            case "response":
                return "GET, HEAD, DELETE"
            case "input_items":
                return "GET, HEAD"
            case "cancel":
                return "POST"
            case _:
                assert_never(self.action)

    @property
    def pattern(self) -> str:
        """The path with a word in place of the id, for metrics and logs."""
        return f"{_RESPONSES}{{id}}" + ("" if self.action == "response" else f"/{self.action}")


def stored_path(path: str) -> StoredPath | None:
    """What a path without query asks of a stored response; None when it is no such path."""
    if not path.startswith(_RESPONSES):
        return None
    response_id, slash, rest = path[len(_RESPONSES) :].partition("/")
    if response_id in _NO_IDS:
        return None
    response_id = response_id if _ID.fullmatch(response_id) else ""
    match rest:
        case "" if not slash:
            return StoredPath(response_id=response_id, action="response")
        case "input_items" | "cancel" as action:
            return StoredPath(response_id=response_id, action=action)
        case _:
            return None


def dialect_of(path: str) -> Dialect:
    """How an error is told on any path, also one that is not served: a client of Anthropic's API reads only theirs."""
    return "anthropic" if path.startswith("/v1/messages") else "openai"
