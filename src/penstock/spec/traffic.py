"""What happens to a request between its key and its endpoint: classes, queue, routing, rules, fallbacks, bounds."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, field_validator, model_validator

from penstock.spec.base import Finding, Refusal, SpecObject, Words
from penstock.spec.quota import TrafficClass
from penstock.spec.secrets import NonEmpty
from penstock.spec.sources import ValueSource

__all__ = [
    "KV_REPLAY_PORT_AFTER",
    "ClassSpec",
    "ClassesSpec",
    "FallbackSpec",
    "HedgingSpec",
    "MatchSpec",
    "PriceSpec",
    "ProviderSpec",
    "QueueSpec",
    "RequestsSpec",
    "RoutingSpec",
    "RuleSpec",
    "ShadowSpec",
    "TargetSpec",
]

KV_REPLAY_PORT_AFTER = 1
"""Where an engine repeats events of its cache: so many ports after the one where it publishes them, as in vLLM's own
examples; it has no default."""
Seconds = Annotated[float, Field(gt=0, le=86_400)]
Weight = Annotated[float, Field(gt=0, le=1_000_000)]
PlainName = Annotated[
    str,
    Field(pattern=r"^[a-z0-9]([a-z0-9._-]*[a-z0-9])?$", max_length=63),
    Words("at most 63 lower-case letters, digits, `.`, `_` and `-`, a letter or digit at both ends"),
]
_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


def _header_name(value: str) -> str:
    if not _HEADER.fullmatch(value) or len(value) > 100:
        raise ValueError("must be a header's name, as in `x-model-id`")
    return value.lower()


HeaderName = Annotated[str, AfterValidator(_header_name), Words("a header's name, as in `x-model-id`")]


_SECRET_LIKE = re.compile(r"(?:^|[/=])(?:sk|pk|rk|hf|gsk|xai|nvapi)[-_][A-Za-z0-9_-]{12,}")
"""Keys of well-known services, by how they begin."""


def _provider_url(value: str) -> str:
    """The address without a trailing slash. What may hold a secret is refused in words that never repeat it."""
    if "@" in value or "?" in value or "#" in value or _SECRET_LIKE.search(value):
        raise ValueError(
            "has more than an address in it (a user, a query, a fragment or a key), and the file is kept in git: write "
            "`https://HOST/v1`, and where the key is read from in `keyFrom: {env: NAME}` beside it"
        )
    try:
        parts = urlsplit(value)
        is_address = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_address = False
    if not is_address or re.search(r"[\s\\]", value):
        raise ValueError("must be http(s)://HOST[:PORT][/PATH], as in https://api.example.com/v1")
    return value.rstrip("/")


class PriceSpec(SpecObject):
    """What a model's tokens cost, US dollars, for budgets and reports."""

    input_per_million: Annotated[float, Field(ge=0, le=1_000_000)]
    """A million prompt tokens."""
    output_per_million: Annotated[float, Field(ge=0, le=1_000_000)]
    """A million output tokens."""
    cached_input_per_million: Annotated[float, Field(ge=0, le=1_000_000)] | None = None
    """A million prompt tokens that the prefix cache had. Default: as `inputPerMillion`."""


class ClassSpec(SpecObject):
    """How requests of one class are treated."""

    wait_s: Seconds | None = None
    """Longest wait in the queue; past it 503 with Retry-After. Default: 60 for interactive, 3600 for batch, 300 for
    experimental."""
    timeout_s: Seconds | None = None
    """Longest whole request, from its arrival to its last byte; past it 504. Default: no bound of its own."""


class ClassesSpec(SpecObject):
    """The classes, in order of precedence: a lower one is served when no higher one waits, or when it has waited for
    `queue.starvationS`."""

    interactive: ClassSpec = Field(default_factory=ClassSpec)
    """People wait for the answer. The class of whoever has no other."""
    batch: ClassSpec = Field(default_factory=ClassSpec)
    """Nobody waits for the answer."""
    experimental: ClassSpec = Field(default_factory=ClassSpec)
    """First to be shed."""


class QueueSpec(SpecObject):
    """Where requests wait for an engine with room, one queue per model. Waiting here is fair and can still be routed;
    waiting inside an engine is neither."""

    is_on: Annotated[bool, Field(alias="enabled")] = True
    """Whether requests wait in the gateway. Without it everything goes to the engines at once."""
    requests_max: Annotated[int, Field(ge=0, le=1_000_000)] = 2_000
    """Requests that wait for one model; past it those of the lowest class are shed first."""
    bytes_max: Annotated[int, Field(ge=0)] = 268_435_456
    """Bytes of bodies that wait for one model."""
    tenant_share_max: Annotated[float, Field(gt=0, le=1)] = 0.5
    """Share of the queue's places that one tenant may take while others wait."""
    starvation_s: Seconds = 30.0
    """After this long at the head of its class a request goes before higher classes, one turn in four at most."""


class RoutingSpec(SpecObject):
    """Which endpoint of a model gets a request."""

    policy: Literal["cost", "round-robin", "least-load", "prefix-hash", "session"] = "cost"
    """`cost`: the fewest predicted seconds, with prefix caches counted; `least-load`: the fewest requests;
    `round-robin`: in turn; `prefix-hash`: by the beginning of the prompt; `session`: by a header."""
    session_header: HeaderName = "x-session-id"
    """`session` only: requests with the same value go to the same endpoint."""
    model_header: HeaderName | None = "x-model-id"
    """A header that names the model in place of the body's `model`; null for none."""
    prefix_blocks_max: Annotated[int, Field(ge=0, le=50_000_000)] = 1_000_000
    """Blocks of prompts that are remembered over all endpoints, some 100 bytes each."""
    scrape_ms: Annotated[int, Field(ge=50, le=60_000)] = 250
    """Milliseconds between two looks at an engine's metrics."""
    kv_events_port: Annotated[int, Field(ge=1, le=65_534)] | None = None
    """Port where engines publish what their prefix cache holds (vLLM's `--kv-events-config`, ZMQ), and the next one,
    where they repeat what was missed; engines in a cluster are told to, but for data-parallel ones. `up` does not tell
    its engines: they could publish to the whole network only, and what they publish are prompts in tokens. Default:
    caches are followed by what was sent."""
    decisions_kept: Annotated[int, Field(ge=0, le=100_000)] = 1_000
    """Decisions that `/api/v1/decisions` shows."""


class HedgingSpec(SpecObject):
    """Whether a request whose answer is late to begin is sent to a second endpoint as well. Whichever begins first
    answers, and the other is cut."""

    is_on: Annotated[bool, Field(alias="enabled")] = False
    """Whether that is done. It evens out an engine that is slow for a moment, and costs a second prefill each time."""
    share_max: Annotated[float, Field(gt=0, le=0.5)] = 0.05
    """Share of a model's requests that may be sent twice. Late is what takes longer to begin than all but this share
    of those like it."""


class MatchSpec(SpecObject):
    """Which requests a rule is for: those that fit everything that is said here."""

    models: list[str] = Field(default_factory=list)
    """Names or aliases that the client sent; one of them. Default: any."""
    headers: dict[HeaderName, str] = Field(default_factory=dict)
    """Headers with these values; all of them."""
    tenants: list[str] = Field(default_factory=list)
    """Tenants; one of them."""
    classes: list[TrafficClass] = Field(default_factory=list)
    """Classes; one of them."""
    prompt_tokens_min: Annotated[int, Field(ge=0)] | None = None
    """Prompts of at least so many tokens."""
    prompt_tokens_max: Annotated[int, Field(ge=0)] | None = None
    """Prompts of at most so many tokens."""
    has_tools: bool | None = None
    """Whether the request offers tools."""
    response_format: Literal["text", "json"] | None = None
    """`json`: the answer must be JSON, by a schema or not."""

    @field_validator("headers", mode="before")
    @classmethod
    def _each_header_once(cls, value: object) -> object:
        seen: set[str] = set()
        for name in value if isinstance(value, dict) else ():
            if isinstance(name, str) and name.lower() in seen:
                message = "names a header a second time: case does not tell headers apart"
                raise Refusal([Finding(at=(name,), message=message, hint="keep one of the two")])
            seen.add(str(name).lower())
        return value

    @model_validator(mode="after")
    def _some_prompt_fits(self) -> Self:
        low, high = self.prompt_tokens_min, self.prompt_tokens_max
        if low is not None and high is not None and low > high:
            message = f"is {low}, more than `promptTokensMax`, which is {high}: no prompt fits both"
            raise Refusal([Finding(at=("promptTokensMin",), message=message, hint="swap the two, or keep one")])
        return self


class TargetSpec(SpecObject):
    """One of several models that share the requests of a rule."""

    model: str
    """The model that answers."""
    weight: Weight = 1.0
    """Its share, by weight."""


class ShadowSpec(SpecObject):
    """A copy of requests that goes to another model; its answer is thrown away."""

    model: str
    """The model that gets the copy."""
    percent: Annotated[float, Field(gt=0, le=100)] = 100.0
    """Share of the requests that are copied."""


class RuleSpec(SpecObject):
    """A rule for requests: the first that matches holds."""

    name: PlainName
    """What it is called in logs and explanations."""
    match: MatchSpec = Field(default_factory=MatchSpec)
    """Which requests it is for."""
    to: list[TargetSpec] = Field(default_factory=list)
    """Models that answer, by weight. Default: the one that was asked for."""
    set_class: TrafficClass | None = None
    """Class that these requests get, if it is lower than their own."""
    shadow: ShadowSpec | None = None
    """A copy goes there too."""


class FallbackSpec(SpecObject):
    """Who answers when a model can't. The answer says so: `x-penstock-model`."""

    model: str | None = None
    """Another model of the fleet."""
    provider: str | None = None
    """One of `gateway.providers`: another cluster, or a service elsewhere."""
    provider_model: str | None = None
    """`provider` only: what the model is called there. Default: as here."""
    when: Annotated[list[Literal["error", "saturation", "objective"]], Field(min_length=1)] = Field(
        default_factory=lambda: ["error"]  # type: ignore[arg-type]
    )
    """When: no endpoint could answer; the queue is full; the objective would be missed by waiting."""

    @model_validator(mode="after")
    def _names_one(self) -> Self:
        if (self.model is None) == (self.provider is None):
            message = "must name one of `model` and `provider`"
            raise Refusal([Finding(at=(), message=message, hint="one entry for each, in the order to try them")])
        if self.provider_model is not None and self.provider is None:
            raise Refusal([Finding(at=("providerModel",), message="stands without a `provider`", hint="take it out")])
        return self


class ProviderSpec(SpecObject):
    """An OpenAI-compatible service outside the fleet, for fallbacks."""

    name: PlainName
    """What fallbacks call it."""
    url: Annotated[str, AfterValidator(_provider_url), Words("as in `https://api.example.com/v1`")]
    """Its address up to and with the version, as in `https://api.example.com/v1`."""
    key_from: ValueSource | None = None
    """Where its key is read from. Default: none is sent."""
    ca_file: NonEmpty | None = None
    """PEM file with the CAs that may have signed its certificate, and no others; a path is relative to the fleet file.
    In a cluster `secrets/NAME/KEY`, which is key KEY of Secret NAME. Default: the CAs that the machine trusts."""
    concurrent_requests: Annotated[int, Field(ge=1)] = 64
    """Requests there at once."""

    @model_validator(mode="after")
    def _has_a_certificate_to_check(self) -> Self:
        if self.ca_file is not None and urlsplit(self.url).scheme != "https":
            message = "stands beside an address in plain HTTP, where there is no certificate to check"
            raise Refusal([Finding(at=("caFile",), message=message, hint="an `https://` address, or take it out")])
        return self


class RequestsSpec(SpecObject):
    """What a request may ask for. A model's own `requests` come before the gateway's."""

    prompt_tokens_max: Annotated[int, Field(ge=1)] | None = None
    """Tokens of the longest prompt; past it 400 `context_length_exceeded`. Default: what the context leaves."""
    output_tokens_max: Annotated[int, Field(ge=1)] | None = None
    """Most output tokens of one request. Default: what the context leaves."""
    output_tokens_default: Annotated[int, Field(ge=1)] | None = None
    """Output tokens of a request that names no limit. Default: the engine's, which is what the context leaves."""
    over_output: Literal["clamp", "reject"] | None = None
    """What happens to a request for more than `outputTokensMax`. Default: `clamp`."""
    unsupported: Literal["strip", "reject", "pass"] | None = None
    """What happens to parameters that the engine's version does not know. Default: `strip`."""
    choices_max: Annotated[int, Field(ge=1, le=1024)] | None = None
    """Most of `n` and `best_of`. Default: 16."""
    logprobs_max: Annotated[int, Field(ge=0, le=1024)] | None = None
    """Most of `logprobs` and `top_logprobs`. Default: 20, as in the engine."""
    stops_max: Annotated[int, Field(ge=0, le=1024)] | None = None
    """Most stop sequences. Default: 16."""
    images_max: Annotated[int, Field(ge=0, le=10_000)] | None = None
    """Most images of one request. Default: 16."""
    audio_max: Annotated[int, Field(ge=0, le=10_000)] | None = None
    """Most pieces of audio of one request. Default: 4."""
    tools_max: Annotated[int, Field(ge=0, le=10_000)] | None = None
    """Most tools of one request. Default: 256."""

    @model_validator(mode="after")
    def _default_is_allowed(self) -> Self:
        default, most = self.output_tokens_default, self.output_tokens_max
        if default is not None and most is not None and default > most:
            message = f"is {default}, more than `outputTokensMax`, which is {most}"
            raise Refusal([Finding(at=("outputTokensDefault",), message=message, hint="lower it, or take it out")])
        return self
