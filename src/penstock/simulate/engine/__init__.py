"""The simulated engine: vLLM's scheduler, KV blocks and a deterministic model, in virtual time. Pure."""

from penstock.simulate.engine.capacity import count_tokens
from penstock.simulate.engine.core import Engine
from penstock.simulate.engine.embedding import embed, similarity
from penstock.simulate.engine.front_end import FrontEnd
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
from penstock.simulate.engine.replay import Answered, OpenLoop, replay_open_loop
from penstock.simulate.engine.structured import Draws, choice_text, encode_forced, json_text, regex_text, tool_call
from penstock.simulate.engine.text import Detokenizer, Tokenizer, chat_template, chat_text, tokenizer
from penstock.simulate.engine.virtual import LengthRequest, Served, TokenGaps, VirtualEngine

__all__ = [
    "Answered",
    "Continuation",
    "Detokenizer",
    "Draws",
    "Engine",
    "EngineConfig",
    "EngineRequest",
    "EngineStats",
    "FinishReason",
    "FrontEnd",
    "LengthRequest",
    "OpenLoop",
    "RequestTimes",
    "Served",
    "StepResult",
    "TokenGaps",
    "TokenOutput",
    "Tokenizer",
    "VirtualEngine",
    "chat_template",
    "chat_text",
    "choice_text",
    "count_tokens",
    "embed",
    "encode_forced",
    "json_text",
    "regex_text",
    "replay_open_loop",
    "similarity",
    "tokenizer",
    "tool_call",
]
