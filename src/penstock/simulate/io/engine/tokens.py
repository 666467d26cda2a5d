"""`/tokenize` and `/detokenize`."""

from __future__ import annotations

from penstock.simulate.engine.api.chat_request import ChatCompletionRequest
from penstock.simulate.engine.api.prompt import chat_prompt
from penstock.simulate.engine.api.tokens import (
    DETOKENIZE,
    TOKENIZE,
    TokenizeCompletionRequest,
    detokenize_body,
    tokenize_body,
)
from penstock.simulate.engine.api.validation import parse_body
from penstock.simulate.engine.text import tokenizer
from penstock.simulate.io.engine.exchange import HttpExchange
from penstock.simulate.io.engine.service import EngineService

__all__ = ["detokenize", "tokenize"]


async def tokenize(service: EngineService, exchange: HttpExchange, body: bytes) -> None:
    """Text or a conversation to token ids."""
    request = parse_body(TOKENIZE, body)
    service.check_model(request.model)
    if isinstance(request, TokenizeCompletionRequest):
        service.limits.check_text(request.prompt)
        ids = tokenizer().encode(request.prompt, allow_special=True)
        service.limits.check_length(len(ids), is_text=True)
    else:
        chat = ChatCompletionRequest(
            messages=request.messages,
            tools=request.tools,
            add_generation_prompt=request.add_generation_prompt,
            continue_final_message=request.continue_final_message,
        )
        ids = chat_prompt(chat, service.limits)
    await exchange.answer(
        tokenize_body(ids, service.limits.max_model_len, with_strings=bool(request.return_token_strs))
    )


async def detokenize(service: EngineService, exchange: HttpExchange, body: bytes) -> None:
    """Token ids to text, special tokens included."""
    request = parse_body(DETOKENIZE, body)
    service.check_model(request.model)
    service.limits.check_ids(request.tokens)
    await exchange.answer(detokenize_body(tokenizer().decode(request.tokens, skip_special=False)))
