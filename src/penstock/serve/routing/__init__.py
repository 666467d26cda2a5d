"""Where a request goes: endpoints, and the policies that choose among them."""

from penstock.serve.routing.endpoints import Endpoint, EndpointAddress, EndpointTable, EngineSample, Health, Pool

__all__ = ["Endpoint", "EndpointAddress", "EndpointTable", "EngineSample", "Health", "Pool"]
