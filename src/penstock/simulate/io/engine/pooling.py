"""The routes of an embedding model: embeddings, pooling, score, rerank."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from penstock.simulate.engine.api.chat_request import ChatCompletionRequest
from penstock.simulate.engine.api.envelope import Usage
from penstock.simulate.engine.api.errors import bad_request, engine_dead
from penstock.simulate.engine.api.pooling import (
    COHERE,
    EMBEDDING,
    POOLING,
    RERANK,
    SCORE,
    EmbeddingChatRequest,
    EmbeddingRequest,
    PoolingEnvelope,
    cohere_body,
    cohere_texts,
    embedding_body,
    pooling_body,
    rerank_body,
    score_body,
    score_texts,
)
from penstock.simulate.engine.api.prompt import chat_prompt, pooling_prompts
from penstock.simulate.engine.api.validation import parse_body
from penstock.simulate.engine.core import EngineRequest
from penstock.simulate.engine.embedding import embed, similarity
from penstock.simulate.io.engine.driver import ClientGone, Mailbox
from penstock.simulate.io.engine.exchange import HttpExchange
from penstock.simulate.io.engine.service import EngineService

__all__ = ["answer_cohere", "answer_embedding", "answer_pooling", "answer_rerank", "answer_score"]


async def answer_embedding(service: EngineService, exchange: HttpExchange, body: bytes) -> None:
    """Embeds texts."""
    request = parse_body(EMBEDDING, body)
    await _answer_vectors(service, exchange, request, "embd-", embedding_body)


async def answer_cohere(service: EngineService, exchange: HttpExchange, body: bytes) -> None:
    """Embeds texts, as Cohere's API has it; texts that are too long are cut unless the request forbids it."""
    request = parse_body(COHERE, body)
    service.check_model(request.model)
    keep = None if request.truncate == "NONE" else request.max_tokens or -1
    prompts = pooling_prompts(cohere_texts(request), keep, service.limits)
    answer_id = service.answer_id("embd-", exchange, None)
    vectors = await _embed(service, exchange, answer_id, prompts)
    await exchange.answer(cohere_body(request, _envelope(service, answer_id, prompts), vectors))


async def answer_pooling(service: EngineService, exchange: HttpExchange, body: bytes) -> None:
    """Pools texts: the same vectors in another shape."""
    request = parse_body(POOLING, body)
    await _answer_vectors(service, exchange, request, "pooling-", pooling_body)


async def _answer_vectors(
    service: EngineService, exchange: HttpExchange, request: EmbeddingRequest, prefix: str, shape: Any
) -> None:
    service.check_model(request.model)
    if request.dimensions is not None:
        raise bad_request(
            f"Model '{service.name}' does not support Matryoshka embeddings; "
            f"dimensions must be unset (received dimensions={request.dimensions})."
        )
    answer_id = service.answer_id(prefix, exchange, request.request_id)
    prompts = _prompts(service, request)
    vectors = await _embed(service, exchange, answer_id, prompts)
    await exchange.answer(shape(_envelope(service, answer_id, prompts), vectors, request.encoding_format))


def _prompts(service: EngineService, request: EmbeddingRequest) -> list[list[int]]:
    if isinstance(request, EmbeddingChatRequest):
        chat = ChatCompletionRequest(
            messages=request.messages,
            add_generation_prompt=request.add_generation_prompt,
            continue_final_message=request.continue_final_message,
            truncate_prompt_tokens=request.truncate_prompt_tokens,
        )
        return [chat_prompt(chat, service.limits)]
    return pooling_prompts(request.input, request.truncate_prompt_tokens, service.limits)


def _envelope(service: EngineService, answer_id: str, prompts: Sequence[Sequence[int]]) -> PoolingEnvelope:
    return PoolingEnvelope(
        id=answer_id,
        created=int(time.time()),
        model=service.name,
        usage=Usage(sum(map(len, prompts))),
    )


async def _embed(
    service: EngineService, exchange: HttpExchange, answer_id: str, prompts: Sequence[Sequence[int]]
) -> list[list[float]]:
    """Runs the prompts through the engine, which takes its time for them; then makes their vectors."""
    service.check_open()
    if service.faults.on_request() == "error500":
        raise engine_dead()
    mailbox, driver = Mailbox(), service.driver
    ids = [service.engine_id(answer_id, index) for index in range(len(prompts))]
    with exchange.on_disconnect(lambda: mailbox.fail(ClientGone())):
        try:
            for index, prompt in enumerate(prompts):
                request = EngineRequest(id=ids[index], prompt_ids=prompt, max_tokens=1, task="embed")
                driver.submit(request, mailbox, index)
            done = 0
            while done < len(prompts):
                done += len(await mailbox.take())
        finally:
            for request_id in ids:
                driver.abort(request_id)
    dims = service.settings.engine.model.hidden
    for _ in prompts:
        driver.metrics.on_group(1, 0)
    return [embed(prompt, dims) for prompt in prompts]


async def answer_score(service: EngineService, exchange: HttpExchange, body: bytes) -> None:
    """Compares texts pair by pair."""
    request = parse_body(SCORE, body)
    service.check_model(request.model)
    lefts, rights = score_texts(request)
    if len(lefts) != len(rights):
        raise bad_request("Input lengths must be either 1:1, 1:N or N:N")
    if not rights:
        raise bad_request("At least one text_pair element must be given")
    answer_id = service.answer_id("score-", exchange, request.request_id)
    unique = list(dict.fromkeys(lefts))
    prompts = pooling_prompts([*unique, *rights], request.truncate_prompt_tokens, service.limits)
    vectors = await _embed(service, exchange, answer_id, prompts)
    left_of = dict(zip(unique, vectors, strict=False))
    scores = [similarity(left_of[left], right) for left, right in zip(lefts, vectors[len(unique) :], strict=True)]
    await exchange.answer(score_body(_envelope(service, answer_id, prompts), scores))


async def answer_rerank(service: EngineService, exchange: HttpExchange, body: bytes) -> None:
    """Puts documents in order for a query."""
    request = parse_body(RERANK, body)
    service.check_model(request.model)
    documents = [request.documents] if isinstance(request.documents, str) else request.documents
    if not documents:
        raise bad_request("At least one text_pair element must be given")
    answer_id = service.answer_id("score-", exchange, request.request_id)
    prompts = pooling_prompts([request.query, *documents], request.truncate_prompt_tokens, service.limits)
    query, *vectors = await _embed(service, exchange, answer_id, prompts)
    envelope = _envelope(service, answer_id, prompts)
    scores = [similarity(query, vector) for vector in vectors]
    await exchange.answer(rerank_body(envelope, documents, scores, request.top_n))
