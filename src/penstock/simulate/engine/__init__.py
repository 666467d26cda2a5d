"""The simulated engine: vLLM's scheduler, KV blocks and a deterministic model, in virtual time. Pure."""

from penstock.simulate.engine.core import Engine
from penstock.simulate.engine.embedding import embed, similarity
from penstock.simulate.engine.generation import Continuation
from penstock.simulate.engine.messages import (
    EngineConfig,
    EngineRequest,
    EngineStats,
    FinishReason,
    RequestTimes,
    StepResult,
    TokenOutput,
)
from penstock.simulate.engine.structured import Draws, choice_text, encode_forced, json_text, regex_text, tool_call
from penstock.simulate.engine.text import Detokenizer, Tokenizer, chat_template, chat_text, tokenizer

__all__ = [
    "Continuation",
    "Detokenizer",
    "Draws",
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
    "choice_text",
    "embed",
    "encode_forced",
    "json_text",
    "regex_text",
    "similarity",
    "tokenizer",
    "tool_call",
]
