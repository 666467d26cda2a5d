"""The routes of an embedding model: embeddings, pooling, score, rerank.

Guarantees: request fields, keys and order of vLLM 0.32. Leaves to others: the vectors (`embedding.py` of the engine);
multimodal inputs are not simulated.
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field, Tag, TypeAdapter

from penstock.simulate.engine.api.encoding import dump
from penstock.simulate.engine.api.envelope import Usage
from penstock.simulate.engine.api.errors import bad_request
from penstock.simulate.engine.api.fields import ChatMessage, JsonObject, Long, Request

__all__ = [
    "COHERE",
    "EMBEDDING",
    "POOLING",
    "RERANK",
    "SCORE",
    "CohereEmbedRequest",
    "EmbeddingRequest",
    "PoolingEnvelope",
    "RerankRequest",
    "ScoreRequest",
    "cohere_body",
    "cohere_texts",
    "embedding_body",
    "pooling_body",
    "rerank_body",
    "score_body",
    "score_texts",
]

Input = list[int] | list[list[int]] | str | list[str]
Texts = str | list[str]


class _PoolingRequest(Request):
    """What every route of an embedding model takes."""

    model: str | None = None
    user: str | None = None
    truncate_prompt_tokens: int | None = Field(default=None, ge=-1)
    truncation_side: Literal["left", "right"] | None = None
    request_id: str | None = None
    priority: Long = 0


class EmbeddingCompletionRequest(_PoolingRequest):
    """Texts or token ids to embed."""

    encoding_format: Literal["float", "base64", "bytes", "bytes_only"] = "float"
    dimensions: int | None = None
    input: Input


class EmbeddingChatRequest(_PoolingRequest):
    """A conversation to embed."""

    encoding_format: Literal["float", "base64", "bytes", "bytes_only"] = "float"
    dimensions: int | None = None
    messages: list[ChatMessage]
    add_generation_prompt: bool = False
    continue_final_message: bool = False


class PoolingCompletionRequest(EmbeddingCompletionRequest):
    """Texts or token ids to pool."""

    task: str | None = None


class PoolingChatRequest(EmbeddingChatRequest):
    """A conversation to pool."""

    task: str | None = None


class CohereInput(Request):
    """One input of parts."""

    content: list[JsonObject]


class CohereEmbedRequest(Request):
    """Texts to embed, as Cohere's API has it."""

    model: str | None = None
    input_type: str | None = None
    texts: list[str] | None = None
    images: list[str] | None = None
    inputs: list[CohereInput] | None = None
    output_dimension: int | None = None
    embedding_types: list[Literal["float", "binary", "ubinary", "base64"]] | None = None
    truncate: Literal["NONE", "START", "END"] = "END"
    max_tokens: int | None = None
    priority: Long = 0


class ScoreQueriesDocumentsRequest(_PoolingRequest):
    """Queries and documents to compare."""

    queries: Texts
    documents: Texts


class ScoreQueriesItemsRequest(_PoolingRequest):
    """The same with items."""

    queries: Texts
    items: Texts


class ScoreSidesRequest(_PoolingRequest):
    """Two sides to compare; `ScoreDataRequest` in vLLM's findings."""

    data_1: Texts
    data_2: Texts


class ScoreTextRequest(_PoolingRequest):
    """The same, by its older names."""

    text_1: Texts
    text_2: Texts


class RerankRequest(_PoolingRequest):
    """Documents to put in order for a query."""

    query: str
    documents: Texts
    top_n: int = Field(default=0, ge=0)


EmbeddingRequest = EmbeddingCompletionRequest | EmbeddingChatRequest
ScoreRequest = (
    ScoreQueriesDocumentsRequest
    | ScoreQueriesItemsRequest
    | Annotated[ScoreSidesRequest, Tag("ScoreDataRequest")]
    | ScoreTextRequest
)

EMBEDDING: TypeAdapter[EmbeddingRequest] = TypeAdapter(EmbeddingRequest)
POOLING: TypeAdapter[PoolingCompletionRequest | PoolingChatRequest] = TypeAdapter(
    PoolingCompletionRequest | PoolingChatRequest
)
SCORE: TypeAdapter[ScoreRequest] = TypeAdapter(ScoreRequest)
RERANK = TypeAdapter(RerankRequest)
COHERE = TypeAdapter(CohereEmbedRequest)


def cohere_texts(request: CohereEmbedRequest) -> list[str]:
    """What a request wants embedded, one text for each input.

    Raises:
        ApiError: it is not exactly one of texts, images and inputs, or it is no text.
    """
    given = [field for field in (request.texts, request.images, request.inputs) if field is not None]
    if len(given) != 1 or not given[0]:
        raise bad_request("Exactly one of texts, images, or inputs must be provided, and it must be non-empty")
    if request.input_type is not None:
        raise bad_request(
            f"Unsupported input_type {request.input_type!r}. This model does not define any input_type task "
            "instructions."
        )
    if request.texts is not None:
        return request.texts
    parts = [item.content for item in request.inputs or ()]
    if request.images is not None or any(part.get("type") != "text" for content in parts for part in content):
        raise bad_request(f"{request.model} is not a multimodal model")
    return ["".join(str(part.get("text", "")) for part in content) for content in parts]


def score_texts(request: ScoreRequest) -> tuple[list[str], list[str]]:
    """The two sides of a score request; one text on the left stands for all on the right."""
    match request:
        case ScoreQueriesDocumentsRequest():
            left, right = request.queries, request.documents
        case ScoreQueriesItemsRequest():
            left, right = request.queries, request.items
        case ScoreSidesRequest():
            left, right = request.data_1, request.data_2
        case ScoreTextRequest():
            left, right = request.text_1, request.text_2
    lefts, rights = _list(left), _list(right)
    return (lefts * len(rights) if len(lefts) == 1 else lefts), rights


def _list(texts: Texts) -> list[str]:
    return [texts] if isinstance(texts, str) else texts


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolingEnvelope:
    """The outside of an embedding model's answer."""

    id: str
    created: int
    """Unix seconds."""
    model: str
    usage: Usage


def embedding_body(envelope: PoolingEnvelope, vectors: Sequence[Sequence[float]], encoding: str) -> bytes:
    """The answer of `/v1/embeddings`."""
    return _listing(envelope, "embedding", "embedding", _encoded(vectors, encoding))


def pooling_body(envelope: PoolingEnvelope, vectors: Sequence[Sequence[float]], encoding: str) -> bytes:
    """The answer of `/pooling`."""
    return _listing(envelope, "pooling", "data", _encoded(vectors, encoding))


def score_body(envelope: PoolingEnvelope, scores: Sequence[float]) -> bytes:
    """The answer of `/score`."""
    return _listing(envelope, "score", "score", scores)


def cohere_body(request: CohereEmbedRequest, envelope: PoolingEnvelope, vectors: Sequence[Sequence[float]]) -> bytes:
    """The answer of `/v2/embed`; what is null is left out."""
    kinds = {kind: _of_kind(vectors, kind) for kind in dict.fromkeys(request.embedding_types or ["float"])}
    ordered = {kind: kinds[kind] for kind in ("float", "binary", "ubinary", "base64") if kind in kinds}
    units = {"input_tokens": envelope.usage.prompt_tokens, "image_tokens": 0}
    return dump(
        {
            "id": envelope.id,
            "embeddings": ordered,
            **({} if request.texts is None else {"texts": request.texts}),
            "meta": {"api_version": {"version": "2"}, "billed_units": units},
            "response_type": "embeddings_by_type",
        }
    )


def _of_kind(vectors: Sequence[Sequence[float]], kind: str) -> list[Any]:
    if kind in ("float", "base64"):
        return _encoded(vectors, kind)
    shift = 128 if kind == "binary" else 0
    return [[byte - shift for byte in _bits(vector)] for vector in vectors]


def _bits(vector: Sequence[float]) -> bytes:
    """One bit for each number, most significant first: whether it is at least 0."""
    number = int("".join("1" if value >= 0 else "0" for value in vector), 2)
    return number.to_bytes(len(vector) // 8)


def rerank_body(envelope: PoolingEnvelope, documents: Sequence[str], scores: Sequence[float], top_n: int) -> bytes:
    """The answer of `/rerank`: best first, `top_n` of them (0: all)."""
    order = sorted(range(len(scores)), key=lambda index: (-scores[index], index))
    usage = envelope.usage
    return dump(
        {
            "id": envelope.id,
            "model": envelope.model,
            "usage": {"prompt_tokens": usage.prompt_tokens, "total_tokens": usage.total},
            "results": [
                {
                    "index": index,
                    "document": {"text": documents[index], "multi_modal": None},
                    "relevance_score": scores[index],
                }
                for index in order[: top_n or len(order)]
            ],
        }
    )


def _encoded(vectors: Sequence[Sequence[float]], encoding: str) -> list[Any]:
    if encoding == "float":
        return [list(vector) for vector in vectors]
    return [base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode() for vector in vectors]


def _listing(envelope: PoolingEnvelope, kind: str, key: str, values: Sequence[Any]) -> bytes:
    return dump(
        {
            "id": envelope.id,
            "object": "list",
            "created": envelope.created,
            "model": envelope.model,
            "data": [{"index": index, "object": kind, key: value} for index, value in enumerate(values)],
            "usage": envelope.usage.full(),
        }
    )
