"""`/v1/messages` and its token count."""

from __future__ import annotations

from penstock.simulate.engine.api.chat_request import ChatCompletionRequest
from penstock.simulate.engine.api.checks import check_chat
from penstock.simulate.engine.api.envelope import Usage
from penstock.simulate.engine.api.messages import (
    COUNT_TOKENS,
    MESSAGES,
    AnthropicCountTokensRequest,
    AnthropicMessagesRequest,
    MessageStream,
    as_chat,
    message_body,
    token_count_body,
)
from penstock.simulate.engine.api.prompt import chat_prompt
from penstock.simulate.engine.api.validation import parse_body
from penstock.simulate.io.engine.chat import plan_chat
from penstock.simulate.io.engine.exchange import HttpExchange
from penstock.simulate.io.engine.generation import generate
from penstock.simulate.io.engine.service import EngineService
from penstock.simulate.io.engine.streaming import send_stream

__all__ = ["answer_message", "count_tokens"]


def _chat_of(request: AnthropicMessagesRequest | AnthropicCountTokensRequest) -> ChatCompletionRequest:
    chat = as_chat(request)
    check_chat(chat)
    return ChatCompletionRequest.model_validate(chat)


async def answer_message(service: EngineService, exchange: HttpExchange, body: bytes) -> None:
    """Answers one conversation."""
    request = parse_body(MESSAGES, body)
    service.check_model(request.model)
    plan = plan_chat(service, _chat_of(request))
    answer_id = service.answer_id("chatcmpl-", exchange, None)
    async with generate(service, exchange, answer_id, [plan.job]) as generation:
        envelope = service.envelope(answer_id)
        usage = Usage(generation.prompt_tokens)
        if request.stream:
            await send_stream(exchange, generation, MessageStream(envelope, usage, plan.tool_call))
            return
        await generation.finish()
        usage.completion_tokens = generation.completion_tokens
        (sequence,) = generation.sequences
        await exchange.answer(message_body(envelope, sequence, usage, plan.tool_call))


async def count_tokens(service: EngineService, exchange: HttpExchange, body: bytes) -> None:
    """Counts the tokens of a conversation."""
    request = parse_body(COUNT_TOKENS, body)
    service.check_model(request.model)
    await exchange.answer(token_count_body(len(chat_prompt(_chat_of(request), service.limits))))
