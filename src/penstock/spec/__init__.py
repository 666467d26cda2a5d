"""What the user writes: the fleet file as types, its loader, and its JSON Schema. Pure: text in, objects out."""

from penstock.spec.demand import DemandSpec, FleetHardwareSpec
from penstock.spec.expose import ExposeSpec, GatewayScaleSpec
from penstock.spec.fleet import API_VERSION, Fleet, FleetSpec, Metadata
from penstock.spec.gateway import (
    AuthSpec,
    GatewaySpec,
    KeySpec,
    LimitsSpec,
    TenantSpec,
    TimeoutsSpec,
    TlsSpec,
    ValueSource,
    parse_listen,
    parse_redis_url,
)
from penstock.spec.kubernetes import ClusterSpec, ExternalSecretsSpec, KubernetesSpec
from penstock.spec.model import AdapterSpec, EngineSpec, HardwareSpec, ModelSpec, ObjectivesSpec
from penstock.spec.monitoring import MonitoringSpec
from penstock.spec.placement import GpuClassSpec, ResourcesSpec, SchedulingSpec, TolerationSpec
from penstock.spec.quantity import parse_quantity
from penstock.spec.quota import QuotaSpec, TrafficClass
from penstock.spec.scaling import AutoscalingSpec, ScheduleSpec
from penstock.spec.secrets import SecretKeyRef
from penstock.spec.storage import StorageMode, StorageSpec
from penstock.spec.store import StoreSpec, parse_store_url, sqlite_path
from penstock.spec.traffic import (
    ClassesSpec,
    ClassSpec,
    FallbackSpec,
    HedgingSpec,
    MatchSpec,
    PriceSpec,
    ProviderSpec,
    QueueSpec,
    RequestsSpec,
    RoutingSpec,
    RuleSpec,
    ShadowSpec,
    TargetSpec,
)

__all__ = [
    "API_VERSION",
    "AdapterSpec",
    "AuthSpec",
    "AutoscalingSpec",
    "ClassSpec",
    "ClassesSpec",
    "ClusterSpec",
    "DemandSpec",
    "EngineSpec",
    "ExposeSpec",
    "ExternalSecretsSpec",
    "FallbackSpec",
    "Fleet",
    "FleetHardwareSpec",
    "FleetSpec",
    "GatewayScaleSpec",
    "GatewaySpec",
    "GpuClassSpec",
    "HardwareSpec",
    "HedgingSpec",
    "KeySpec",
    "KubernetesSpec",
    "LimitsSpec",
    "MatchSpec",
    "Metadata",
    "ModelSpec",
    "MonitoringSpec",
    "ObjectivesSpec",
    "PriceSpec",
    "ProviderSpec",
    "QueueSpec",
    "QuotaSpec",
    "RequestsSpec",
    "ResourcesSpec",
    "RoutingSpec",
    "RuleSpec",
    "ScheduleSpec",
    "SchedulingSpec",
    "SecretKeyRef",
    "ShadowSpec",
    "StorageMode",
    "StorageSpec",
    "StoreSpec",
    "TargetSpec",
    "TenantSpec",
    "TimeoutsSpec",
    "TlsSpec",
    "TolerationSpec",
    "TrafficClass",
    "ValueSource",
    "parse_listen",
    "parse_quantity",
    "parse_redis_url",
    "parse_store_url",
    "sqlite_path",
]
