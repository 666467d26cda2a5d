"""Where a request goes: endpoints, and the policies that choose among them."""

from penstock.serve.routing.blocks import block_tokens_of, blocks_of
from penstock.serve.routing.cost import CostPolicy
from penstock.serve.routing.decisions import DecisionRing, decisions_shown, explained
from penstock.serve.routing.endpoints import Endpoint, EndpointAddress, EndpointTable, EngineSample, Health, Pool
from penstock.serve.routing.hashed import PrefixHash, Session
from penstock.serve.routing.named import POLICY_NAMES, make_policy
from penstock.serve.routing.policy import UNKNOWN_NEED, Decision, Ended, LeastLoad, Need, Policy, Weighed
from penstock.serve.routing.round_robin import RoundRobin
from penstock.serve.routing.timing import UNKNOWN_TIMING, ModelTiming

__all__ = [
    "POLICY_NAMES",
    "UNKNOWN_NEED",
    "UNKNOWN_TIMING",
    "CostPolicy",
    "Decision",
    "DecisionRing",
    "Ended",
    "Endpoint",
    "EndpointAddress",
    "EndpointTable",
    "EngineSample",
    "Health",
    "LeastLoad",
    "ModelTiming",
    "Need",
    "Policy",
    "Pool",
    "PrefixHash",
    "RoundRobin",
    "Session",
    "Weighed",
    "block_tokens_of",
    "blocks_of",
    "decisions_shown",
    "explained",
    "make_policy",
]
