"""The gateway's configuration: the fleet file compiled for the hot path.

Names become dictionary look-ups, keys become digests, defaults are settled. Pure: the environment is an argument.
"""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import ceil

from penstock.errors import UsageError
from penstock.serve.admission.fallbacks import (
    TRIES_MAX,
    Abilities,
    Fallback,
    Provider,
    compile_fallbacks,
    compile_provider,
)
from penstock.serve.admission.policy import CallerLimits, RequestBounds, compile_bounds, context_of
from penstock.serve.admission.rules import RuleBook, compile_rules
from penstock.serve.deadline import DEADLINE_HEADERS
from penstock.serve.flow.quota import Scope
from penstock.serve.flow.scopes import scopes_of
from penstock.serve.flow.settings import UNKNOWN_CAPACITY, Capacity, QueueSettings
from penstock.serve.flow.ticket import CLASSES
from penstock.serve.sources import SecretReader, read_source
from penstock.serve.wire.cors import ANY_ORIGIN
from penstock.spec import (
    Fleet,
    GatewaySpec,
    HedgingSpec,
    KeySpec,
    LimitsSpec,
    ModelSpec,
    PriceSpec,
    RoutingSpec,
    TenantSpec,
    TimeoutsSpec,
    TlsSpec,
    TrafficClass,
    parse_listen,
)

__all__ = ["ANONYMOUS", "Caller", "GatewayConfig", "SecretReader", "ServedModel", "compile_gateway", "digest_key"]

WAIT_S: Mapping[TrafficClass, float] = {"interactive": 60.0, "batch": 3600.0, "experimental": 300.0}
"""Longest wait in the queue by class, where the file says nothing: people leave after a minute, batches do not."""
FREE = (0.0, 0.0, 0.0)
"""The prices of a model that costs nothing."""
KEY_CHARS_MIN = 8
"""A shorter key is a mistake: an empty file, a placeholder."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who a request comes from, as its key says."""

    tenant: str
    key: str
    """Name of the key, never the key."""
    models: frozenset[str] | None = None
    """Main names of the models this caller may use; None for all."""
    key_id: str = ""
    """What a key of the store is changed by; empty for one of the file."""
    scopes: tuple[Scope, ...] = ()
    """Whose use its requests count for: the tenant, then the key; without those that nothing limits."""
    traffic_class: TrafficClass = "interactive"
    weight: float = 1.0
    """The tenant's share of a busy model."""
    prompt_tokens_max: int | None = None
    output_tokens_max: int | None = None
    limits: CallerLimits = field(init=False)
    """The two before, as the bounds of a request are asked for."""

    def __post_init__(self) -> None:
        limits = CallerLimits(prompt_tokens_max=self.prompt_tokens_max, output_tokens_max=self.output_tokens_max)
        object.__setattr__(self, "limits", limits)

    def may_call(self, model: str) -> bool:
        return self.models is None or model in self.models


ANONYMOUS = Caller(tenant="anonymous", key="")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedModel:
    """One model as the gateway sees it."""

    name: str
    aliases: tuple[str, ...]
    source: str
    adapters: frozenset[str] = frozenset()
    """Names of LoRA adapters that its engines serve beside it."""
    static_endpoints: tuple[tuple[str, int], ...] = ()
    """(host, port) of engines that run elsewhere; empty when a platform tells the endpoints."""
    bounds: RequestBounds = field(default_factory=RequestBounds)
    provider: Provider | None = None
    """The service outside the fleet that it is at; None for a model of the fleet."""
    ttft_objective_s: float | None = None
    has_reasoning: bool = False
    """Whether its engines are known to have a reasoning parser."""
    prices: tuple[float, float, float] = FREE
    """Millionths of a dollar for a prompt token, a cached one, an output token."""
    capacity: Capacity = UNKNOWN_CAPACITY
    """What each of its endpoints holds, as far as the file says."""

    def engine_name(self, asked: str) -> str:
        """What the engine calls what a client asked for: an adapter by its own name, all else by the model's."""
        return asked if asked in self.adapters else self.name

    def cost_micros(self, prompt_tokens: int, cached_tokens: int, output_tokens: int) -> int:
        """What these tokens cost, in millionths of a dollar, rounded up."""
        if self.prices == FREE:
            return 0
        fresh, cached, output = self.prices
        return ceil((prompt_tokens - cached_tokens) * fresh + cached_tokens * cached + output_tokens * output)


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayConfig:
    """Everything the data plane reads. Replaced whole on reload; a request keeps the one it began with."""

    fleet: str
    host: str
    port: int
    admin_host: str
    admin_port: int
    models: Mapping[str, ServedModel]
    """By main name, in the order of the file."""
    names: Mapping[str, ServedModel]
    """By every name a client may send."""
    callers: Mapping[bytes, Caller]
    """By SHA-256 of the key."""
    is_anonymous_served: bool
    is_anonymous_meant: bool = False
    """Whether the file says outright that a call without a key is served."""
    origins_named: tuple[str, ...] | None = None
    """Origins of pages that may call, where the file names them."""
    tenant_models: Mapping[str, frozenset[str] | None] = field(default_factory=dict)
    """Main names of the models that each tenant of the file may use; None for all."""
    limits: LimitsSpec = field(default_factory=LimitsSpec)
    timeouts: TimeoutsSpec = field(default_factory=TimeoutsSpec)
    tls: TlsSpec | None = None
    access_log: str = "auto"
    queue: QueueSettings = field(default_factory=QueueSettings)
    routing: RoutingSpec = field(default_factory=RoutingSpec)
    hedging: HedgingSpec = field(default_factory=HedgingSpec)
    rules: RuleBook = field(default_factory=RuleBook)
    fallbacks: Mapping[str, tuple[Fallback, ...]] = field(default_factory=dict)
    """By main name; only models that have some."""
    abilities: Mapping[str, Abilities] = field(default_factory=dict)
    """By main name: what a model is known to be able to do."""
    targets: Mapping[str, ServedModel] = field(default_factory=dict)
    """What fallbacks lead to, by the fallback's name: models, and models of providers."""
    wait_s: Mapping[TrafficClass, float] = field(default_factory=lambda: {**WAIT_S})
    """Longest wait in the queue, by class."""
    timeout_s: Mapping[TrafficClass, float | None] = field(default_factory=lambda: dict.fromkeys(WAIT_S))
    """Longest whole request, by class."""
    model_header: bytes = b""
    """Header that names the model; empty for none."""
    session_header: bytes = b""
    """Header whose value holds requests together; empty where no policy asks."""
    headers_kept: frozenset[bytes] = frozenset()
    """Headers that are kept of a request for what is said here."""

    @property
    def origins(self) -> tuple[str, ...]:
        """Origins of pages that may call; see `wire.cors`."""
        if self.origins_named is not None:
            return ANY_ORIGIN if "*" in self.origins_named else self.origins_named
        return () if self.is_anonymous_served else ANY_ORIGIN

    def spares_of(self, model: str) -> tuple[str, ...]:
        """Who answers for that model, in order, when none of its endpoints can: the file's fallbacks, by their ids."""
        tried = [model]
        while len(tried) < TRIES_MAX:
            left = (f.id for name in reversed(tried) for f in self.fallbacks.get(name, ()) if "error" in f.on)
            following = next((spare for spare in left if spare not in tried), None)
            if following is None:
                break
            tried.append(following)
        return tuple(tried[1:])

    def caller_of(self, key: bytes) -> Caller | None:
        """Who presents this key; None when nobody does. Only digests are held and compared."""
        return self.callers.get(hashlib.sha256(key).digest())


def digest_key(key: str) -> bytes:
    """What is kept of a key: its SHA-256. Keys are random and long, so a slow hash would add cost and no safety."""
    return hashlib.sha256(key.encode()).digest()


def compile_gateway(
    fleet: Fleet,
    env: Mapping[str, str],
    *,
    listen: str | None = None,
    admin: str | None = None,
    drain_s: float | None = None,
    secret: SecretReader | None = None,
    has_store: bool = False,
    authorities: Mapping[str, str] | None = None,
) -> GatewayConfig:
    """Compiles the fleet's gateway. `listen`, `admin` and `drain_s` override the file; `secret` reads Secrets, if any;
    `has_store` says that a store holds keys beside those of the file, which `with_store_keys` adds; `authorities` is
    what the `caFile` of each provider holds that has one.

    Raises:
        UsageError: a key can't be read from where the file says, two tenants share a key, a listener is malformed, or
            the gateway would be open to a network without keys.
    """
    spec = fleet.spec.gateway
    host, port = _address("--listen", listen, spec.listen)
    admin_host, admin_port = _address("--admin", admin, spec.admin)
    models = {m.name: _served(m, spec) for m in fleet.spec.models}
    names = {name: models[m.name] for m in fleet.spec.models for name in m.names}
    main_names = {name: model.name for name, model in names.items()}
    model_header = (spec.routing.model_header or "").encode()
    session_header = spec.routing.session_header.encode()
    rules = RuleBook(compile_rules(spec.rules, main_names))
    fallbacks = _fallbacks(fleet, main_names, env, secret, authorities or {})
    targets = models | {f.id: _outside(f) for each in fallbacks.values() for f in each if f.provider is not None}
    return GatewayConfig(
        fleet=fleet.metadata.name,
        host=host,
        port=port,
        admin_host=admin_host,
        admin_port=admin_port,
        models=models,
        names=names,
        callers=_callers(spec, names, env, secret),
        is_anonymous_served=_is_anonymous_served(spec, host, has_store=has_store),
        is_anonymous_meant=bool(spec.auth.anonymous),
        origins_named=None if spec.cors.origins is None else tuple(spec.cors.origins),
        tenant_models={tenant.name: _allowed(tenant, names) for tenant in spec.tenants},
        limits=spec.limits,
        timeouts=spec.timeouts if drain_s is None else spec.timeouts.model_copy(update={"drain_s": drain_s}),
        tls=spec.tls,
        access_log=spec.access_log,
        queue=_queue(spec),
        routing=spec.routing,
        hedging=spec.hedging,
        rules=rules,
        fallbacks=fallbacks,
        abilities={m.name: _abilities(m) for m in fleet.spec.models},
        targets=targets,
        wait_s={name: getattr(spec.classes, name).wait_s or WAIT_S[name] for name in CLASSES},
        timeout_s={name: getattr(spec.classes, name).timeout_s for name in CLASSES},
        model_header=model_header,
        session_header=session_header,
        headers_kept=frozenset({model_header, session_header, *rules.headers_wanted, *DEADLINE_HEADERS} - {b""}),
    )


def _fallbacks(
    fleet: Fleet,
    main_names: Mapping[str, str],
    env: Mapping[str, str],
    secret: SecretReader | None,
    authorities: Mapping[str, str],
) -> dict[str, tuple[Fallback, ...]]:
    providers = {}
    for spec in fleet.spec.gateway.providers:
        source = spec.key_from
        whose = f"The key of provider {spec.name!r}"
        key = "" if source is None else read_source(whose, source, env, secret, chars_min=1)
        try:
            providers[spec.name] = compile_provider(spec, key, authorities.get(spec.name, ""))
        except ValueError as error:
            raise UsageError(f"{whose} can't be used: {error}.") from error
    return {m.name: compile_fallbacks(m.fallbacks, main_names, providers) for m in fleet.spec.models if m.fallbacks}


def _outside(fallback: Fallback) -> ServedModel:
    """A model at a provider, as a fallback names it."""
    provider = fallback.provider
    if provider is None:
        raise AssertionError("a fallback to a model of the fleet is compiled with the fleet")
    return ServedModel(
        name=fallback.id,
        aliases=(),
        source=provider.name,
        provider=provider,
        static_endpoints=((provider.host, provider.port),),
        capacity=Capacity(requests_max=provider.concurrent_requests),
    )


def _abilities(model: ModelSpec) -> Abilities:
    writes = {"generate": True, "embed": False}.get(model.task)
    return Abilities(context=context_of(model), writes=writes)


def _queue(spec: GatewaySpec) -> QueueSettings:
    queue = spec.queue
    return QueueSettings(
        is_on=queue.is_on,
        requests_max=queue.requests_max,
        bytes_max=queue.bytes_max,
        tenant_share_max=queue.tenant_share_max,
        starvation_s=queue.starvation_s,
    )


def _address(option: str, override: str | None, listen: str) -> tuple[str, int]:
    if override is None:
        return parse_listen(listen)
    try:
        return parse_listen(override)
    except ValueError as error:
        raise UsageError(f"{option} {override}: {error}.") from error


def _served(model: ModelSpec, gateway: GatewaySpec) -> ServedModel:
    addresses = tuple(
        parse_listen(u.removeprefix("http://") if _has_port(u) else u.removeprefix("http://") + ":80")
        for u in model.endpoints or ()
    )
    return ServedModel(
        name=model.name,
        aliases=tuple(model.aliases),
        adapters=frozenset(adapter.name for adapter in model.adapters),
        source=model.source_or_name,
        static_endpoints=addresses,
        bounds=compile_bounds(
            gateway.requests, model.requests, context=context_of(model), version=model.engine.version
        ),
        ttft_objective_s=None if model.objectives.ttft_ms is None else model.objectives.ttft_ms / 1e3,
        has_reasoning=any(name.replace("_", "-") == "reasoning-parser" for name in model.engine.args),
        prices=_prices(model.price),
        capacity=Capacity(requests_max=model.concurrency),
    )


def _prices(price: PriceSpec | None) -> tuple[float, float, float]:
    """A dollar a million tokens is a millionth of a dollar a token."""
    if price is None:
        return FREE
    cached = price.cached_input_per_million
    return (
        price.input_per_million,
        price.input_per_million if cached is None else cached,
        price.output_per_million,
    )


def _has_port(url: str) -> bool:
    return url.rpartition(":")[2].isdigit()


def _callers(
    spec: GatewaySpec, names: Mapping[str, ServedModel], env: Mapping[str, str], secret: SecretReader | None
) -> dict[bytes, Caller]:
    callers: dict[bytes, Caller] = {}
    for tenant in spec.tenants:
        allowed = _allowed(tenant, names)
        for index, key in enumerate(tenant.keys):
            name = key.name or f"{tenant.name}-{index + 1}"
            digest = digest_key(_key_value(tenant.name, name, key, env, secret))
            if digest in callers:
                raise UsageError(
                    f"The keys {callers[digest].key!r} and {name!r} are the same key.",
                    hint="give each tenant a key of its own, or a request could not be told apart",
                )
            callers[digest] = _caller(tenant, name, key, allowed, names)
    return callers


def _caller(
    tenant: TenantSpec,
    name: str,
    key: KeySpec,
    allowed: frozenset[str] | None,
    names: Mapping[str, ServedModel],
) -> Caller:
    if key.models is not None:
        own = frozenset(names[m].name for m in key.models)
        allowed = own if allowed is None else own & allowed
    return Caller(
        tenant=tenant.name,
        key=name,
        models=allowed,
        scopes=scopes_of(tenant.name, tenant.limits, f"{tenant.name}/{name}", key.limits, name),
        traffic_class=key.traffic_class or tenant.traffic_class or "interactive",
        weight=tenant.weight,
        prompt_tokens_max=_least(tenant.limits.prompt_tokens_max, key.limits.prompt_tokens_max),
        output_tokens_max=_least(tenant.limits.output_tokens_max, key.limits.output_tokens_max),
    )


def _least(*bounds: int | None) -> int | None:
    return min((bound for bound in bounds if bound is not None), default=None)


def _allowed(tenant: TenantSpec, names: Mapping[str, ServedModel]) -> frozenset[str] | None:
    return None if tenant.models is None else frozenset(names[m].name for m in tenant.models)


def _key_value(tenant: str, name: str, key: KeySpec, env: Mapping[str, str], secret: SecretReader | None) -> str:
    if key.value is not None:
        return key.value.get_secret_value()
    assert key.value_from is not None
    return read_source(f"Key {name!r} of tenant {tenant!r}", key.value_from, env, secret, chars_min=KEY_CHARS_MIN)


def _is_anonymous_served(spec: GatewaySpec, host: str, *, has_store: bool) -> bool:
    if spec.auth.anonymous is not None:
        return spec.auth.anonymous
    if spec.tenants or spec.store is not None:
        return False
    if has_store and not _is_loopback(host):
        return False
    if not _is_loopback(host):
        raise UsageError(
            f"The gateway would listen on {host} with no tenant and no key: anyone who reaches it could use the GPUs.",
            hint="make a key with `penstock keys create`, name one under spec.gateway.tenants, or, if it is meant, say "
            "`auth: {anonymous: true}`",
        )
    return True


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
