"""From a request's body to its place in the queue: what it is, whether it may, how large it is, which model. Pure."""

from penstock.serve.admission.bounds import Shaped, needs_count, shape_request
from penstock.serve.admission.fallbacks import (
    Abilities,
    Fallback,
    Needs,
    Provider,
    ProviderCall,
    TlsHost,
    Why,
    call_provider,
    compile_fallbacks,
    compile_provider,
    next_fallback,
)
from penstock.serve.admission.policy import UNLIMITED, CallerLimits, RequestBounds, compile_bounds, context_of
from penstock.serve.admission.prompt import Prompt, read_prompt
from penstock.serve.admission.rules import Asked, CompiledRule, Routed, RuleBook, compile_rules, wants_json
from penstock.serve.admission.tokens import Counter, TokenEstimator

__all__ = [
    "UNLIMITED",
    "Abilities",
    "Asked",
    "CallerLimits",
    "CompiledRule",
    "Counter",
    "Fallback",
    "Needs",
    "Prompt",
    "Provider",
    "ProviderCall",
    "RequestBounds",
    "Routed",
    "RuleBook",
    "Shaped",
    "TlsHost",
    "TokenEstimator",
    "Why",
    "call_provider",
    "compile_bounds",
    "compile_fallbacks",
    "compile_provider",
    "compile_rules",
    "context_of",
    "needs_count",
    "next_fallback",
    "read_prompt",
    "shape_request",
    "wants_json",
]
