"""Where a request goes: endpoints, and the policies that choose among them."""

from penstock.serve.routing.endpoints import Endpoint, EndpointAddress, EndpointTable, EngineSample, Health, Pool
from penstock.serve.routing.policy import UNKNOWN_NEED, Decision, Ended, LeastLoad, Need, Policy

__all__ = [
    "UNKNOWN_NEED",
    "Decision",
    "Ended",
    "Endpoint",
    "EndpointAddress",
    "EndpointTable",
    "EngineSample",
    "Health",
    "LeastLoad",
    "Need",
    "Policy",
    "Pool",
]
