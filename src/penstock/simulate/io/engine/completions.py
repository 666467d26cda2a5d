"""`/v1/completions`."""

from __future__ import annotations

from penstock.simulate.engine.api.checks import check_completion
from penstock.simulate.engine.api.completion_answer import (
    CompletionShape,
    CompletionStream,
    PromptView,
    text_completion,
)
from penstock.simulate.engine.api.completion_request import COMPLETION, CompletionRequest
from penstock.simulate.engine.api.constraint import constrain_completion
from penstock.simulate.engine.api.envelope import StreamUsage, Usage
from penstock.simulate.engine.api.errors import ApiError
from penstock.simulate.engine.api.logprobs import score_prompt
from penstock.simulate.engine.api.prompt import PromptText, completion_prompts
from penstock.simulate.engine.api.sampling import sampling_of_completion
from penstock.simulate.engine.api.validation import parse_body
from penstock.simulate.io.engine.exchange import HttpExchange
from penstock.simulate.io.engine.generation import Job, generate
from penstock.simulate.io.engine.service import EngineService
from penstock.simulate.io.engine.streaming import send_stream

__all__ = ["answer_completion"]


async def answer_completion(service: EngineService, exchange: HttpExchange, body: bytes) -> None:
    """Answers one completion."""
    request = parse_body(COMPLETION, body, check_completion)
    service.check_model(request.model)
    if request.suffix is not None:
        raise ApiError(
            400, "suffix is only supported for models with FIM completion rendering", "BadRequestError", "suffix"
        )
    sampling = sampling_of_completion(request, service.limits.max_model_len)
    prompts = completion_prompts(request, service.limits)
    jobs = []
    for prompt in prompts:
        fitted = sampling.within(len(prompt.ids), service.limits.max_model_len)
        constrained = constrain_completion(request, prompt.ids, fitted.seed or 0)
        forced = None if constrained is None else constrained.ids
        jobs.append(Job(prompt_ids=prompt.ids, sampling=fitted, forced_ids=forced))
    answer_id = service.answer_id("cmpl-", exchange, request.request_id)
    shape = _shape(service, request, prompts, jobs)
    async with generate(service, exchange, answer_id, jobs) as generation:
        envelope = service.envelope(answer_id)
        usage = Usage(generation.prompt_tokens)
        if request.stream:
            writer = CompletionStream(envelope, shape, len(generation.sequences), usage)
            await send_stream(exchange, generation, writer)
        else:
            await generation.finish()
            usage.completion_tokens = generation.completion_tokens
            await exchange.answer(text_completion(envelope, shape, generation.sequences, usage))


def _shape(
    service: EngineService, request: CompletionRequest, prompts: list[PromptText], jobs: list[Job]
) -> CompletionShape:
    options = request.stream_options
    usage = StreamUsage()
    if options is not None and options.include_usage:
        usage = StreamUsage(at_end=True, continuous=bool(options.continuous_usage_stats))
    return CompletionShape(
        prompts=[_view(service, prompt, job) for prompt, job in zip(prompts, jobs, strict=True)],
        n=request.n,
        echo=bool(request.echo),
        hides_output=bool(request.echo) and request.max_tokens == 0,
        wants_token_ids=bool(request.return_token_ids),
        wants_logprobs=request.logprobs is not None,
        usage=usage,
    )


def _view(service: EngineService, prompt: PromptText, job: Job) -> PromptView:
    wanted = job.sampling.prompt_logprobs
    scored = None
    if wanted is not None:
        scored = score_prompt(prompt.ids, wanted, (job.sampling.seed or 0) + service.settings.engine.seed)
    return PromptView(ids=prompt.ids, text=prompt.text, scored=scored)
