"""`/v1/chat/completions` and its batch form."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from penstock.simulate.engine.api.chat_answer import ChatShape, ChatStream, ToolCall, chat_completion
from penstock.simulate.engine.api.chat_request import (
    BATCH_CHAT,
    CHAT,
    BatchChatCompletionRequest,
    ChatCompletionRequest,
)
from penstock.simulate.engine.api.checks import check_chat
from penstock.simulate.engine.api.constraint import Constrained, constrain_chat
from penstock.simulate.engine.api.envelope import StreamUsage, Usage
from penstock.simulate.engine.api.fields import ChatMessage
from penstock.simulate.engine.api.logprobs import prompt_logprobs, score_prompt
from penstock.simulate.engine.api.prompt import chat_prompt
from penstock.simulate.engine.api.sampling import Sampling, sampling_of_chat
from penstock.simulate.engine.api.validation import parse_body
from penstock.simulate.io.engine.exchange import HttpExchange
from penstock.simulate.io.engine.generation import Job, generate
from penstock.simulate.io.engine.service import EngineService, random_id
from penstock.simulate.io.engine.streaming import send_stream

__all__ = ["ChatPlan", "answer_chat", "batch_chat", "plan_chat"]


@dataclass(frozen=True, slots=True)
class ChatPlan:
    """One conversation, ready to run."""

    job: Job
    tool_call: ToolCall | None


def plan_chat(service: EngineService, request: ChatCompletionRequest) -> ChatPlan:
    """Checks a chat and makes its prompt."""
    sampling = sampling_of_chat(request, service.limits.max_model_len)
    prompt_ids = chat_prompt(request, service.limits)
    sampling = sampling.within(len(prompt_ids), service.limits.max_model_len)
    constrained = constrain_chat(request, prompt_ids, sampling.seed or 0)
    return ChatPlan(_job(prompt_ids, sampling, constrained), _tool_call(constrained))


def _job(prompt_ids: list[int], sampling: Sampling, constrained: Constrained | None) -> Job:
    forced = None if constrained is None else constrained.ids
    return Job(prompt_ids=prompt_ids, sampling=sampling, forced_ids=forced)


def _tool_call(constrained: Constrained | None) -> ToolCall | None:
    if constrained is None or constrained.tool is None:
        return None
    return ToolCall(
        id=f"chatcmpl-tool-{random_id()}",
        name=constrained.tool,
        finish_reason=constrained.finish_reason,
        content="" if constrained.is_demanded else None,
    )


async def answer_chat(service: EngineService, exchange: HttpExchange, body: bytes) -> None:
    """Answers one chat."""
    request = parse_body(CHAT, body, check_chat)
    service.check_model(request.model)
    plan = plan_chat(service, request)
    answer_id = service.answer_id("chatcmpl-", exchange, request.request_id)
    await _run(service, exchange, request, [plan], answer_id)


async def _run(
    service: EngineService,
    exchange: HttpExchange,
    request: ChatCompletionRequest,
    plans: Sequence[ChatPlan],
    answer_id: str,
) -> None:
    jobs = [plan.job for plan in plans]
    first = jobs[0]
    n = first.sampling.n
    shape = ChatShape(
        wants_token_ids=bool(request.return_token_ids),
        wants_logprobs=bool(request.logprobs),
        echo=_echo(request.messages) if request.echo else "",
        tool_calls=tuple(plan.tool_call for plan in plans for _ in range(n)),
        usage=_stream_usage(request),
    )
    shown = list(first.prompt_ids) if shape.wants_token_ids and len(jobs) == 1 else None
    async with generate(service, exchange, answer_id, jobs) as generation:
        envelope = service.envelope(answer_id, shown)
        usage = Usage(generation.prompt_tokens)
        if request.stream:
            writer = ChatStream(envelope, shape, len(generation.sequences), usage)
            await send_stream(exchange, generation, writer)
        else:
            await generation.finish()
            usage.completion_tokens = generation.completion_tokens
            scored = _prompt_scores(first, service)
            await exchange.answer(chat_completion(envelope, shape, generation.sequences, usage, scored))
        _count_tool_parsing(service, request, plans)


def _prompt_scores(job: Job, service: EngineService) -> list[dict[str, object] | None] | None:
    wanted = job.sampling.prompt_logprobs
    if wanted is None:
        return None
    seed = (job.sampling.seed or 0) + service.settings.engine.seed
    return prompt_logprobs(score_prompt(job.prompt_ids, wanted, seed))


def _count_tool_parsing(service: EngineService, request: ChatCompletionRequest, plans: Sequence[ChatPlan]) -> None:
    if request.tools:
        for plan in plans:
            is_call = plan.tool_call is not None
            service.driver.metrics.on_tool_parse(is_stream=bool(request.stream), is_call=is_call)


def _echo(messages: Sequence[ChatMessage]) -> str:
    """What `echo` gives back: the last message where the assistant wrote it."""
    last = messages[-1]
    return last.content if last.role == "assistant" and isinstance(last.content, str) else ""


def _stream_usage(request: ChatCompletionRequest) -> StreamUsage:
    options = request.stream_options
    if options is None or not options.include_usage:
        return StreamUsage()
    return StreamUsage(at_end=True, continuous=bool(options.continuous_usage_stats))


async def batch_chat(service: EngineService, exchange: HttpExchange, body: bytes) -> None:
    """Answers several conversations at once, one choice each."""
    batch = parse_body(BATCH_CHAT, body)
    service.check_model(batch.model)
    requests = [_one_of(batch, messages) for messages in batch.messages]
    if not requests:
        requests = [_one_of(batch, [])]
    plans = [plan_chat(service, request) for request in requests]
    answer_id = service.answer_id("chatcmpl-", exchange, batch.request_id)
    await _run(service, exchange, requests[0], plans, answer_id)


def _one_of(batch: BatchChatCompletionRequest, messages: list[ChatMessage]) -> ChatCompletionRequest:
    """One conversation of a batch as a chat of its own."""
    given = {name: getattr(batch, name) for name in batch.model_fields_set & _SHARED}
    return ChatCompletionRequest(messages=messages, **given)


_SHARED = set(BatchChatCompletionRequest.model_fields) & set(ChatCompletionRequest.model_fields) - {"messages"}
