"""What KEDA is told for a model that scales `via: penstock`: requests in flight now, and where they are going. Pure."""

from penstock.operate.scaling.desk import Answer, Desk, Refused
from penstock.operate.scaling.gateways import GatewayAddress, Gateways, gateway_addresses
from penstock.operate.scaling.page import Reading, read_page
from penstock.operate.scaling.policy import Policy, policies_of
from penstock.operate.scaling.recommend import Decision, Observation, Recommended, Unknown, recommend

__all__ = [
    "Answer",
    "Decision",
    "Desk",
    "GatewayAddress",
    "Gateways",
    "Observation",
    "Policy",
    "Reading",
    "Recommended",
    "Refused",
    "Unknown",
    "gateway_addresses",
    "policies_of",
    "read_page",
    "recommend",
]
