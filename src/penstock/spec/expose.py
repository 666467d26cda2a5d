"""How clients outside the cluster reach the gateway, and how many gateways there are."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from penstock.spec.base import Finding, Refusal, SpecObject, Words
from penstock.spec.quantity import ByteSize, Cpu
from penstock.spec.secrets import NonEmpty
from penstock.spec.storage import ObjectName

__all__ = ["ExposeSpec", "GatewayScaleSpec"]

HostName = Annotated[
    str,
    Field(pattern=r"^(\*\.)?[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$", max_length=253),
    Words("a host name, as in `llm.example.com`"),
]
UrlPath = Annotated[str, Field(pattern=r"^/[^\s?#]*$"), Words("a path that begins with `/`")]


class ExposeSpec(SpecObject):
    """A way into the cluster."""

    kind: Literal["httpRoute", "ingress", "virtualService"] = "httpRoute"
    """`httpRoute`: Gateway API; `ingress`: Ingress; `virtualService`: Istio."""
    host: HostName
    """Host name that clients use."""
    path: UrlPath = "/"
    """Path below which the API is."""
    gateway: NonEmpty | None = None
    """The Gateway that it attaches to, `NAME` or `NAMESPACE/NAME`; for `httpRoute` and `virtualService`."""
    class_name: ObjectName | None = None
    """IngressClass; for `ingress`."""
    tls_secret: ObjectName | None = None
    """Secret with the certificate; for `ingress`. A Gateway has its own."""
    annotations: dict[str, str] = Field(default_factory=dict)
    """Annotations of the object, as its controller reads them."""

    @model_validator(mode="after")
    def _fields_fit_kind(self) -> Self:
        findings: list[Finding] = []
        if self.kind != "ingress" and self.gateway is None:
            hint = "name it, as in `gateway: infra/public`"
            findings.append(Finding(at=(), message=f"is a {self.kind} without the `gateway` it attaches to", hint=hint))
        for field, value in (("className", self.class_name), ("tlsSecret", self.tls_secret)):
            if self.kind != "ingress" and value is not None:
                findings.append(Finding(at=(field,), message=f"is for `kind: ingress`, not for {self.kind}"))
        if self.kind == "ingress" and self.gateway is not None:
            findings.append(Finding(at=("gateway",), message="is for a route, not for `kind: ingress`"))
        if findings:
            raise Refusal(findings)
        return self


class GatewayScaleSpec(SpecObject):
    """How many gateways run in a cluster, and what each is given."""

    min_replicas: Annotated[int, Field(ge=1, le=100)] = 2
    """Gateways at least; two or more let a node go away unnoticed."""
    max_replicas: Annotated[int, Field(ge=1, le=100)] = 10
    """Gateways at most."""
    cpu_percent: Annotated[int, Field(ge=10, le=95)] = 70
    """CPU use, percent of the request, at which one more is started."""
    cpu: Cpu = "1"
    """CPU of one gateway: it runs on one core."""
    memory: ByteSize = "1Gi"
    """Memory of one gateway, request and limit."""

    @model_validator(mode="after")
    def _bounds_fit(self) -> Self:
        if self.max_replicas < self.min_replicas:
            message = f"is {self.max_replicas}, less than `minReplicas`, which is {self.min_replicas}"
            raise Refusal([Finding(at=("maxReplicas",), message=message)])
        return self
