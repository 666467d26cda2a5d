"""The simulated engine: vLLM's scheduler, KV blocks and a deterministic model, in virtual time. Pure."""

from penstock.simulate.engine.core import (
    Engine,
    EngineConfig,
    EngineRequest,
    EngineStats,
    FinishReason,
    RequestTimes,
    StepResult,
    TokenOutput,
)
from penstock.simulate.engine.generation import Continuation
from penstock.simulate.engine.text import Detokenizer, Tokenizer, chat_template, chat_text, tokenizer

__all__ = [
    "Continuation",
    "Detokenizer",
    "Engine",
    "EngineConfig",
    "EngineRequest",
    "EngineStats",
    "FinishReason",
    "RequestTimes",
    "StepResult",
    "TokenOutput",
    "Tokenizer",
    "chat_template",
    "chat_text",
    "tokenizer",
]
