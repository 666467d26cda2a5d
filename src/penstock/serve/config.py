"""The gateway's configuration: the fleet file compiled for the hot path.

Names become dictionary look-ups, keys become digests, defaults are settled. Pure: the environment is an argument.
"""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field

from penstock.errors import UsageError
from penstock.serve.flow.quota import Scope
from penstock.serve.sources import SecretReader, read_source
from penstock.spec import (
    Fleet,
    GatewaySpec,
    KeySpec,
    LimitsSpec,
    ModelSpec,
    TenantSpec,
    TimeoutsSpec,
    TlsSpec,
    TrafficClass,
    parse_listen,
)

__all__ = ["ANONYMOUS", "Caller", "GatewayConfig", "SecretReader", "ServedModel", "compile_gateway", "digest_key"]

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

    def engine_name(self, asked: str) -> str:
        """What the engine calls what a client asked for: an adapter by its own name, all else by the model's."""
        return asked if asked in self.adapters else self.name


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
    tenant_models: Mapping[str, frozenset[str] | None] = field(default_factory=dict)
    """Main names of the models that each tenant of the file may use; None for all."""
    limits: LimitsSpec = field(default_factory=LimitsSpec)
    timeouts: TimeoutsSpec = field(default_factory=TimeoutsSpec)
    tls: TlsSpec | None = None
    access_log: str = "auto"

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
) -> GatewayConfig:
    """Compiles the fleet's gateway. `listen`, `admin` and `drain_s` override the file; `secret` reads Secrets, if any;
    `has_store` says that a store holds keys beside those of the file, which `with_store_keys` adds.

    Raises:
        UsageError: a key can't be read from where the file says, two tenants share a key, a listener is malformed, or
            the gateway would be open to a network without keys.
    """
    spec = fleet.spec.gateway
    host, port = _address("--listen", listen, spec.listen)
    admin_host, admin_port = _address("--admin", admin, spec.admin)
    models = {m.name: _served(m) for m in fleet.spec.models}
    names = {name: models[m.name] for m in fleet.spec.models for name in m.names}
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
        tenant_models={tenant.name: _allowed(tenant, names) for tenant in spec.tenants},
        limits=spec.limits,
        timeouts=spec.timeouts if drain_s is None else spec.timeouts.model_copy(update={"drain_s": drain_s}),
        tls=spec.tls,
        access_log=spec.access_log,
    )


def _address(option: str, override: str | None, listen: str) -> tuple[str, int]:
    if override is None:
        return parse_listen(listen)
    try:
        return parse_listen(override)
    except ValueError as error:
        raise UsageError(f"{option} {override}: {error}.") from error


def _served(model: ModelSpec) -> ServedModel:
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
            callers[digest] = Caller(tenant=tenant.name, key=name, models=allowed)
    return callers


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
