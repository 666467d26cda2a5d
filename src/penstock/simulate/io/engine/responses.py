"""`/v1/responses`."""

from __future__ import annotations

from penstock.simulate.engine.api.chat_request import ChatCompletionRequest
from penstock.simulate.engine.api.envelope import Usage
from penstock.simulate.engine.api.responses import (
    RESPONSES,
    ResponsesRequest,
    ResponseStream,
    check_store,
    format_of,
    messages_of,
    response_body,
    tools_of,
)
from penstock.simulate.engine.api.validation import parse_body
from penstock.simulate.io.engine.chat import plan_chat
from penstock.simulate.io.engine.exchange import HttpExchange
from penstock.simulate.io.engine.generation import generate
from penstock.simulate.io.engine.service import EngineService, random_id
from penstock.simulate.io.engine.streaming import send_stream

__all__ = ["answer_response"]


async def answer_response(service: EngineService, exchange: HttpExchange, body: bytes) -> None:
    """Answers one input."""
    request = parse_body(RESPONSES, body)
    service.check_model(request.model)
    check_store(request)
    plan = plan_chat(service, _as_chat(request))
    job, call = plan.job, plan.tool_call
    limit = job.sampling.max_tokens or 1
    answer_id = service.answer_id("resp_", exchange, _bare(request.request_id))
    item_id = f"{'msg' if call is None else 'fc'}_{random_id()}"
    async with generate(service, exchange, answer_id, [job]) as generation:
        envelope = service.envelope(answer_id)
        usage = Usage(generation.prompt_tokens)
        if request.stream:
            writer = ResponseStream(request, envelope, item_id=item_id, max_output_tokens=limit, usage=usage, call=call)
            await send_stream(exchange, generation, writer, writer.open())
            return
        await generation.finish()
        usage.completion_tokens = generation.completion_tokens
        (sequence,) = generation.sequences
        await exchange.answer(
            response_body(request, envelope, sequence, item_id=item_id, max_output_tokens=limit, usage=usage, call=call)
        )


def _bare(request_id: str | None) -> str | None:
    return None if request_id is None else request_id.removeprefix("resp_")


def _as_chat(request: ResponsesRequest) -> ChatCompletionRequest:
    """The chat that an input stands for."""
    return ChatCompletionRequest.model_validate(
        {
            "messages": messages_of(request),
            "response_format": format_of(request),
            "max_completion_tokens": request.max_output_tokens,
            "temperature": request.temperature,
            "top_p": request.top_p,
            "top_k": request.top_k,
            "presence_penalty": request.presence_penalty,
            "frequency_penalty": request.frequency_penalty,
            "seed": request.seed,
            "stop": request.stop,
            "stop_token_ids": request.stop_token_ids,
            "ignore_eos": request.ignore_eos,
            "priority": request.priority,
            "cache_salt": request.cache_salt,
            **tools_of(request),
        }
    )
