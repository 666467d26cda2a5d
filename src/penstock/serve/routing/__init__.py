"""Where a request goes: endpoints, and the policies that choose among them."""

from penstock.serve.routing.endpoints import Endpoint, EndpointAddress, EndpointTable, EngineSample, Health, Pool
from penstock.serve.routing.policy import Decision, LeastLoad, Policy

__all__ = [
    "Decision",
    "Endpoint",
    "EndpointAddress",
    "EndpointTable",
    "EngineSample",
    "Health",
    "LeastLoad",
    "Policy",
    "Pool",
]
