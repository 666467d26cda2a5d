"""The gateway's configuration: the fleet file compiled for the hot path.

Names become dictionary look-ups, keys become digests, defaults are settled. Pure: the environment is an argument.
"""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from penstock.errors import UsageError
from penstock.spec import Fleet, GatewaySpec, KeySpec, LimitsSpec, ModelSpec, TimeoutsSpec, TlsSpec, parse_listen

__all__ = ["ANONYMOUS", "Caller", "GatewayConfig", "SecretReader", "ServedModel", "compile_gateway", "digest_key"]

SecretReader = Callable[[str, str], str | None]
"""Value of a Secret's key, by the Secret's name and the key; None where it is not there."""
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
) -> GatewayConfig:
    """Compiles the fleet's gateway. `listen`, `admin` and `drain_s` override the file; `secret` reads Secrets, if any.

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
        is_anonymous_served=_is_anonymous_served(spec, host),
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
        allowed = None if tenant.models is None else frozenset(names[m].name for m in tenant.models)
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


def _key_value(tenant: str, name: str, key: KeySpec, env: Mapping[str, str], secret: SecretReader | None) -> str:
    if key.value is not None:
        return key.value.get_secret_value()
    source = key.value_from
    assert source is not None
    whose = f"Key {name!r} of tenant {tenant!r}"
    if source.env is not None:
        value = env.get(source.env, "").strip()
        if len(value) < KEY_CHARS_MIN:
            state = "is not set" if not value else f"holds fewer than {KEY_CHARS_MIN} characters"
            raise UsageError(
                f"{whose} comes from the environment variable {source.env}, which {state}.",
                hint=f"export {source.env}=… before starting, or name the key with `value` for local use",
            )
        return value
    ref = source.secret_key_ref
    if ref is None or secret is None:
        raise UsageError(
            f"{whose} is kept in a Kubernetes Secret, which this machine can't read.",
            hint="use `valueFrom: {env: NAME}` here; `secretKeyRef` works where the gateway runs in the cluster, or "
            "with PENSTOCK_SECRETS_DIR set to a folder of SECRET/KEY files",
        )
    found = (secret(ref.name, ref.key) or "").strip()
    if len(found) < KEY_CHARS_MIN:
        state = "is not there" if not found else f"holds fewer than {KEY_CHARS_MIN} characters"
        raise UsageError(
            f"{whose} comes from key {ref.key} of Secret {ref.name}, which {state}.",
            hint=f"`kubectl describe secret {ref.name}` lists its keys and their sizes",
        )
    return found


def _is_anonymous_served(spec: GatewaySpec, host: str) -> bool:
    if spec.auth.anonymous is not None:
        return spec.auth.anonymous
    if spec.tenants:
        return False
    if not _is_loopback(host):
        raise UsageError(
            f"The gateway would listen on {host} with no tenant and no key: anyone who reaches it could use the GPUs.",
            hint="name a tenant with a key under spec.gateway.tenants, or say `auth: {anonymous: true}` if it is meant",
        )
    return True


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
