"""The gateway of the fleet: where it listens, who may call, and what it bounds."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, ConfigDict, Field, SecretStr, model_validator

from penstock.spec.base import Finding, Refusal, SpecObject, Words
from penstock.spec.expose import ExposeSpec, GatewayScaleSpec
from penstock.spec.quota import CLASS_ORDER, QuotaSpec, TrafficClass, beyond
from penstock.spec.rules import rule_findings
from penstock.spec.secrets import NonEmpty
from penstock.spec.sources import ValueSource
from penstock.spec.store import StoreSpec
from penstock.spec.traffic import (
    ClassesSpec,
    HedgingSpec,
    ProviderSpec,
    QueueSpec,
    RequestsSpec,
    RoutingSpec,
    RuleSpec,
)

__all__ = [
    "AuthSpec",
    "CorsSpec",
    "GatewaySpec",
    "KeySpec",
    "LimitsSpec",
    "TenantSpec",
    "TimeoutsSpec",
    "TlsSpec",
    "ValueSource",
    "parse_listen",
    "parse_redis_url",
]

TenantName = Annotated[
    str,
    Field(pattern=r"^[a-z0-9]([a-z0-9._-]*[a-z0-9])?$", max_length=63),
    Words("at most 63 lower-case letters, digits, `.`, `_` and `-`, a letter or digit at both ends"),
]
Seconds = Annotated[float, Field(gt=0)]


def parse_listen(value: str) -> tuple[str, int]:
    """Splits `HOST:PORT` or `[IPV6]:PORT`.

    Raises:
        ValueError: not of that form, or the port is outside 0..65535.
    """
    host, colon, port = value.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        colon = ""
    is_port = port.isascii() and port.isdigit() and len(port) <= 5 and int(port) <= 65535
    if not colon or not host or not is_port:
        raise ValueError("must be HOST:PORT, as in 127.0.0.1:8080; port 0 takes any free one")
    return host, int(port)


def _listen(value: str) -> str:
    parse_listen(value)
    return value


Listen = Annotated[str, AfterValidator(_listen), Words("HOST:PORT, as in `127.0.0.1:8080`")]


class KeySpec(SpecObject):
    """One API key of a tenant: `value` or `valueFrom`, never both."""

    model_config = ConfigDict(json_schema_extra={"oneOf": [{"required": ["value"]}, {"required": ["valueFrom"]}]})

    name: str | None = None
    """What the key is called in logs and reports; the key itself never is."""
    value: Annotated[SecretStr, Field(min_length=8)] | None = None
    """The key itself: for local use only, as the file is kept in git."""
    value_from: ValueSource | None = None
    """Where the key is read from."""
    models: list[str] | None = None
    """Models this key may call, by name. Default: all of the tenant's."""
    limits: QuotaSpec = Field(default_factory=QuotaSpec)
    """How much this key may use, within what the tenant may."""
    traffic_class: TrafficClass | None = Field(default=None, alias="class")
    """Class of its requests. Default: the tenant's."""

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if self.value is None and self.value_from is None:
            hint = "write `value: KEY` (for local use only) or `valueFrom: {env: NAME}`"
            raise Refusal([Finding(at=(), message="is a key without a value", hint=hint)])
        if self.value is not None and self.value_from is not None:
            message = "has both `value` and `valueFrom`: keep one"
            hint = "`valueFrom` keeps the key out of the file"
            raise Refusal([Finding(at=("valueFrom",), message=message, hint=hint)])
        return self


class TenantSpec(SpecObject):
    """Who calls: a team or a product. The tenant follows from the key, never from what the client says."""

    name: TenantName
    """Name in logs, metrics and reports."""
    keys: Annotated[list[KeySpec], Field(min_length=1)]
    """Keys of this tenant."""
    models: list[str] | None = None
    """Models this tenant may call, by name. Default: all."""
    limits: QuotaSpec = Field(default_factory=QuotaSpec)
    """How much this tenant may use, all its keys together."""
    weight: Annotated[float, Field(gt=0, le=1_000_000)] = 1.0
    """Its share of a model that is busy, beside the other tenants of its class that wait."""
    traffic_class: TrafficClass | None = Field(default=None, alias="class")
    """Class of its requests. Default: interactive."""

    @model_validator(mode="after")
    def _keys_stay_within(self) -> Self:
        findings: list[Finding] = []
        own = self.traffic_class or CLASS_ORDER[0]
        for place, key in enumerate(self.keys):
            found = beyond(key.limits, self.limits)
            findings += [replace(one, at=("keys", place, "limits", *one.at)) for one in found]
            if key.traffic_class is not None and CLASS_ORDER.index(key.traffic_class) < CLASS_ORDER.index(own):
                message = f"is {key.traffic_class}, higher than the tenant's, which is {own}: a key can only be lower"
                hint = "give the tenant the higher class, and the other keys the lower one"
                findings.append(Finding(at=("keys", place, "class"), message=message, hint=hint))
        if findings:
            raise Refusal(findings)
        return self


REDIS_FORMS = "as in `redis://redis.example:6379/0`, `rediss://` with TLS, or `unix:///run/redis.sock`"


def parse_redis_url(url: str) -> str:
    """The URL as it was given, when it is one that Redis can have.

    Raises:
        ValueError: it is not, or a password stands in it; the text never repeats the URL.
    """
    user, at, _ = url.rpartition("@")
    if (at and ":" in user.partition("://")[2]) or "password=" in url.lower():
        raise ValueError(
            "holds a password, and the file is kept in git: take it out and say `passwordFrom: {env: NAME}` beside it"
        )
    if not _is_redis_url(url):
        raise ValueError(f"is no Redis URL: write one {REDIS_FORMS}")
    return url


def _is_redis_url(url: str) -> bool:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return False
    if "?" in url or "#" in url or re.search(r"[\s\\]", url):
        return False
    if parts.scheme == "unix":
        return parts.path.startswith("/") and not parts.netloc
    database = parts.path.removeprefix("/")
    is_database = not database or (database.isascii() and database.isdigit())
    return parts.scheme in ("redis", "rediss") and bool(parts.hostname) and port != 0 and is_database


class AuthSpec(SpecObject):
    """Who may call without a key."""

    anonymous: bool | None = None
    """Whether a call without a key is served, as tenant `anonymous`. Default: only when no tenant is named and the
    gateway listens on loopback."""


Origin = Annotated[
    str,
    Field(pattern=r"^(\*|null|[a-z][a-z0-9+.-]*://[A-Za-z0-9.:_\[\]-]+)$", max_length=512),
    Words("an origin such as `https://app.example`, without a path, or `*` for any"),
]


class CorsSpec(SpecObject):
    """Which web pages may call from a browser."""

    origins: Annotated[list[Origin], Field(max_length=100)] | None = None
    """Origins of pages that may call, as in `https://app.example`; `*` stands for any. Default: any where calls need a
    key, as a page can only use a key that it was given; none where calls are served without one."""


class LimitsSpec(SpecObject):
    """Bounds on what one client can make the gateway hold, and where several gateways share tenants' limits."""

    url: (
        Annotated[str, Field(max_length=1024), AfterValidator(parse_redis_url), Words("a Redis URL, " + REDIS_FORMS)]
        | None
    ) = None
    """Redis that gateways share, so that limits of tenants and keys hold over all of them, as in
    `redis://redis.example:6379/0`. Default: each gateway holds them by itself."""
    password_from: ValueSource | None = None
    """Where the password of Redis is read from. Default: none is sent."""

    header_bytes_max: Annotated[int, Field(ge=1024)] = 65_536
    """Bytes of a request head (line and headers); past it 431."""
    body_bytes_max: Annotated[int, Field(ge=1024)] = 33_554_432
    """Bytes of a request body; past it 413. 32 MiB fits a few images and the longest prompts."""
    connections_max: Annotated[int, Field(ge=1)] = 16_384
    """Client connections open at once; further ones are closed at once."""
    in_flight_max: Annotated[int, Field(ge=1)] = 16_384
    """Requests in flight at once; past it 503 with Retry-After."""

    @model_validator(mode="after")
    def _password_has_a_use(self) -> Self:
        if self.password_from is not None and self.url is None:
            message = "stands without `url`: there is no Redis to send the password to"
            raise Refusal([Finding(at=("passwordFrom",), message=message, hint="add `url`, or take it out")])
        return self


class TimeoutsSpec(SpecObject):
    """Bounds on time. All are seconds."""

    header_s: Seconds = 10.0
    """First byte to last byte of a request head (a slow-loris client is cut here)."""
    body_s: Seconds = 60.0
    """Longest pause between two pieces of a request body."""
    idle_s: Seconds = 75.0
    """How long an idle keep-alive connection of a client stays open."""
    connect_s: Seconds = 5.0
    """Connecting to an endpoint."""
    first_byte_s: Seconds = 600.0
    """Request sent to first byte of the answer: covers queueing and prefill; past it 504."""
    read_s: Seconds = 300.0
    """Longest pause in the middle of an answer; past it 504 or an SSE error event."""
    client_write_s: Seconds = 60.0
    """Longest time that a client may take none of the bytes that wait for it; past it the connection is cut."""
    drain_s: Annotated[float, Field(ge=0)] = 30.0
    """On shutdown: how long requests in flight may finish."""
    close_delay_s: Annotated[float, Field(ge=0)] = 0.0
    """On shutdown: how long new connections are still taken after readiness is off, before `drainS` begins: as long as
    your load balancer takes to hear of it. In a cluster the pod waits 10 s before it is told to stop anyway."""


class TlsSpec(SpecObject):
    """TLS of the client listener."""

    cert_file: NonEmpty
    """PEM file with the certificate chain. A path is relative to the fleet file."""
    key_file: NonEmpty
    """PEM file with the private key; relative likewise."""


class GatewaySpec(SpecObject):
    """The gateway."""

    listen: Listen = "127.0.0.1:8080"
    """Where clients connect, `HOST:PORT`; port 0 takes any free one."""
    admin: Listen = "127.0.0.1:8081"
    """Where metrics, health, state and the dashboard are served, `HOST:PORT`. Keep it off public networks."""
    tls: TlsSpec | None = None
    """TLS of `listen`. Default: plain HTTP."""
    admin_token_from: ValueSource | None = None
    """Where the token is read from that whoever changes keys through `admin` must show; at least 16 characters.
    Default: none, and then keys can't be changed there."""
    auth: AuthSpec = Field(default_factory=AuthSpec)
    """Who may call without a key."""
    cors: CorsSpec = Field(default_factory=CorsSpec)
    """Which web pages may call from a browser."""
    tenants: list[TenantSpec] = Field(default_factory=list)
    """Who may call, with which keys."""
    store: StoreSpec | None = None
    """Where the keys are kept that `penstock keys` makes. Default: `keys.db` in the folder `.penstock/FLEET` beside
    the file, once `penstock keys` has made it."""
    limits: LimitsSpec = Field(default_factory=LimitsSpec)
    """Bounds on sizes and counts."""
    timeouts: TimeoutsSpec = Field(default_factory=TimeoutsSpec)
    """Bounds on time."""
    requests: RequestsSpec = Field(default_factory=RequestsSpec)
    """What a request may ask for, for each model that says nothing else."""
    classes: ClassesSpec = Field(default_factory=ClassesSpec)
    """How requests of each class are treated."""
    queue: QueueSpec = Field(default_factory=QueueSpec)
    """Where requests wait for an engine with room."""
    routing: RoutingSpec = Field(default_factory=RoutingSpec)
    """Which endpoint of a model gets a request."""
    hedging: HedgingSpec = Field(default_factory=HedgingSpec)
    """Whether a request whose answer is late to begin is sent to a second endpoint as well."""
    rules: list[RuleSpec] = Field(default_factory=list)
    """Which model answers which request, where that is not the one asked for. The first that matches holds."""
    providers: list[ProviderSpec] = Field(default_factory=list)
    """Services outside the fleet that models may fall back to."""
    access_log: NonEmpty = "auto"
    """Where the one line per request goes: `stdout`, `stderr`, `off`, a file's path, or `auto` (stdout for `gateway`;
    `penstock-access.log` in the state folder for `up`, whose screen shows a table)."""
    scale: GatewayScaleSpec = Field(default_factory=GatewayScaleSpec)
    """How many gateways run in a cluster. `up` and `gateway` run one."""
    expose: ExposeSpec | None = None
    """How clients outside the cluster reach it. Default: only from inside."""

    @model_validator(mode="after")
    def _rules_and_providers_fit(self) -> Self:
        findings = list(rule_findings(self.rules))
        known: dict[str, int] = {}
        for place, provider in enumerate(self.providers):
            if known.setdefault(provider.name, place) != place:
                message = f"{provider.name!r} already names providers[{known[provider.name]}]"
                hint = "give each provider a name of its own"
                findings.append(Finding(at=("providers", place, "name"), message=message, hint=hint))
        if findings:
            raise Refusal(findings)
        return self
