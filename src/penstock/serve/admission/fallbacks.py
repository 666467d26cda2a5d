"""Who answers when a model can't, and how a request is put to a service outside the fleet.

`next_fallback` guarantees: nothing that was tried before, at most `TRIES_MAX` models for one request (so no cycle, and
`spec` refuses those at load), no model that the caller may not call, none that is known not to have what the request
needs. Where one model's fallbacks end, those of the model before it go on. What answered is for the caller to say:
`x-penstock-model`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import urlsplit

from penstock.facts.request_fields import OPENAI_FIELDS
from penstock.spec import FallbackSpec, ProviderSpec

__all__ = [
    "Abilities",
    "Fallback",
    "Needs",
    "Provider",
    "ProviderCall",
    "TlsHost",
    "Why",
    "call_provider",
    "compile_fallbacks",
    "compile_provider",
    "next_fallback",
]

Why = Literal["error", "saturation", "objective"]
TRIES_MAX = 5
"""Models and services for one request, the first one included: past it the client has waited long enough."""
_PROVIDER_SCHEMAS = frozenset(OPENAI_FIELDS)


@dataclass(frozen=True, slots=True)
class TlsHost:
    """Who a service over TLS must prove to be."""

    name: str
    """As its certificate must have it."""
    authorities: str = field(default="", repr=False)
    """The CAs that may have signed it, PEM; empty for those that the machine trusts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """A service outside the fleet, compiled."""

    name: str
    host: str
    port: int
    tls_host: TlsHost | None
    """None for plain HTTP."""
    authority: str
    """As in a Host header."""
    path: str
    """What its address has before the API's own path, as in `/v1`; no slash at the end."""
    key: str = field(default="", repr=False)
    concurrent_requests: int = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Fallback:
    """One entry of a model's fallbacks: a model of the fleet, or a provider."""

    on: frozenset[Why]
    model: str = ""
    """Main name; empty for a provider."""
    provider: Provider | None = None
    provider_model: str = ""
    """What the model is called there; empty: as the client asked."""

    @property
    def id(self) -> str:
        """What it is called in `tried` and in `x-penstock-model`."""
        return self.model or (f"{self.provider.name}/{self.provider_model}" if self.provider is not None else "")


@dataclass(slots=True, kw_only=True)
class Needs:
    """What a request needs of whatever answers it."""

    schema: str
    images: int = 0
    audios: int = 0
    tools: int = 0
    adapter: str = ""
    prompt_tokens: int = 0
    """Estimated."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Abilities:
    """What is known of a model; None where nobody knows, which keeps nothing from it."""

    sees: bool | None = None
    hears: bool | None = None
    calls_tools: bool | None = None
    writes: bool | None = None
    """Whether it writes text; else it makes embeddings or scores."""
    context: int | None = None


_UNKNOWN = Abilities()
_WRITING = frozenset({"chat", "chats", "completion", "responses", "messages"})


def next_fallback(
    fallbacks: Mapping[str, Sequence[Fallback]],
    tried: Sequence[str],
    why: Why,
    needs: Needs,
    *,
    models: frozenset[str] | None,
    abilities: Mapping[str, Abilities],
) -> Fallback | None:
    """Who is next, after `tried` (ids, in order; the model asked for is first) failed by `why`. `models`: main names
    that the caller may call, None for all. None: nobody is left."""
    if len(tried) >= TRIES_MAX:
        return None
    for model in reversed(tried):
        for fallback in fallbacks.get(model, ()):
            if why in fallback.on and fallback.id not in tried and _can(fallback, needs, models, abilities):
                return fallback
    return None


def _can(fallback: Fallback, needs: Needs, models: frozenset[str] | None, abilities: Mapping[str, Abilities]) -> bool:
    if needs.adapter:
        return False  # its weights are at its own model only
    if fallback.provider is not None:
        return needs.schema in _PROVIDER_SCHEMAS
    if models is not None and fallback.model not in models:
        return False
    known = abilities.get(fallback.model, _UNKNOWN)
    if known.writes is not None and known.writes != (needs.schema in _WRITING):
        return needs.schema in ("tokenize", "detokenize", "any")
    if (needs.images and known.sees is False) or (needs.audios and known.hears is False):
        return False
    if needs.tools and known.calls_tools is False:
        return False
    return known.context is None or needs.prompt_tokens < known.context


# ---------------------------------------------------------------------- providers


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderCall:
    """A request as a provider gets it. The edge connects, and frames the body."""

    path: str
    headers: bytes
    """Header lines beside host, length and content type; each ended by CRLF. They hold the key: never log them."""
    edits: Mapping[str, Any]
    """Top-level fields to set; None takes one out."""
    dropped: tuple[str, ...]
    """Fields that only engines know, taken out."""


def call_provider(
    fallback: Fallback, schema: str, path: str, fields: Mapping[str, Any], asked: str
) -> ProviderCall | None:
    """How a request goes to a fallback's provider; None where it can't: no provider, or an API that such services do
    not have. `path` is the path at this gateway, `asked` the model as the client named it."""
    provider, known = fallback.provider, OPENAI_FIELDS.get(schema)
    if provider is None or known is None:
        return None
    dropped = tuple(name for name in fields if name not in known and fields[name] is not None)
    edits: dict[str, Any] = dict.fromkeys((name for name in fields if name not in known), None)
    edits["model"] = fallback.provider_model or asked
    if schema == "chat" and fields.get("max_tokens") is not None and fields.get("max_completion_tokens") is not None:
        edits["max_tokens"] = None  # the other one counts, and OpenAI refuses both
    key = b"authorization: Bearer %b\r\n" % provider.key.encode() if provider.key else b""
    return ProviderCall(
        path=provider.path + path.removeprefix("/v1"),
        headers=key + b"accept-encoding: identity\r\n",
        edits=edits,
        dropped=dropped,
    )


def compile_provider(spec: ProviderSpec, key: str = "", authorities: str = "") -> Provider:
    """A provider of the fleet file. `key` as it was read from where the file says; `authorities` is what its `caFile`
    holds.

    Raises:
        ValueError: the key has characters that no header may have; the text does not repeat it.
    """
    if not key.isascii() or not key.isprintable():
        raise ValueError(f"the key of provider {spec.name!r} has characters that can't stand in a header")
    parts = urlsplit(spec.url)
    is_tls = parts.scheme == "https"
    host = parts.hostname or ""
    return Provider(
        name=spec.name,
        host=host,
        port=parts.port or (443 if is_tls else 80),
        tls_host=TlsHost(host, authorities) if is_tls else None,
        authority=parts.netloc,
        path=parts.path.rstrip("/"),
        key=key,
        concurrent_requests=spec.concurrent_requests,
    )


def compile_fallbacks(
    specs: Sequence[FallbackSpec], main_names: Mapping[str, str], providers: Mapping[str, Provider]
) -> tuple[Fallback, ...]:
    """The fallbacks of one model of a fleet file that was checked."""
    return tuple(
        Fallback(
            on=frozenset(spec.when),
            model=main_names.get(spec.model, spec.model) if spec.model is not None else "",
            provider=providers[spec.provider] if spec.provider is not None else None,
            provider_model=spec.provider_model or "",
        )
        for spec in specs
    )
