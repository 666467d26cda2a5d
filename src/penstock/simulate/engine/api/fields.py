"""Field types that several request bodies share, named as vLLM names them.

Guarantees: the same types, bounds and defaults as the OpenAPI document of vLLM 0.32, so that pydantic reports the
same findings. Unknown fields are kept and ignored, as in vLLM. Leaves to others: the meaning of the values.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = [
    "CacheSalt",
    "ChatCompletionNamedToolChoiceParam",
    "ChatCompletionToolsParam",
    "ChatMessage",
    "FunctionDefinition",
    "JsonObject",
    "JsonSchemaResponseFormat",
    "Long",
    "Prompt",
    "Request",
    "ResponseFormat",
    "Seed",
    "Stop",
    "StreamOptions",
    "StructuredOutputsParams",
    "TokenId",
    "TruncateTokens",
]

_LONG_MIN, _LONG_MAX = -(2**63), 2**63 - 1

JsonObject = dict[str, Any]
Long = Annotated[int, Field(ge=_LONG_MIN, le=_LONG_MAX)]
Seed = Long | None
TokenId = Annotated[int, Field(ge=0)]
Stop = str | Annotated[list[str], Field(max_length=4)] | None
TruncateTokens = Annotated[int, Field(ge=-1, le=_LONG_MAX)] | None
CacheSalt = Annotated[str, Field(min_length=1, max_length=1024)] | None
Prompt = list[TokenId] | list[list[TokenId]] | str | list[str] | None


class Request(BaseModel):
    """A request body: unknown fields are allowed and ignored."""

    model_config = ConfigDict(extra="allow", protected_namespaces=(), populate_by_name=True)


class ChatMessage(Request):
    """One message of a conversation; any role is accepted, as in vLLM."""

    role: str
    content: str | list[str | JsonObject] | None = None
    name: str | None = None
    tool_call_id: str | None = None
    tool_calls: list[JsonObject] | None = None
    reasoning: str | None = None


class StreamOptions(Request):
    """What a stream reports about usage."""

    include_usage: bool | None = False
    continuous_usage_stats: bool | None = False


class JsonSchemaResponseFormat(Request):
    """A named JSON schema that the answer must match."""

    name: str
    description: str | None = None
    json_schema: JsonObject | None = Field(default=None, alias="schema")
    strict: bool | None = None


class ResponseFormat(Request):
    """Free text, any JSON object, or JSON by schema."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchemaResponseFormat | None = None


class StructuredOutputsParams(Request):
    """vLLM's own way to constrain the answer; at most one of the first six is set."""

    json_value: str | JsonObject | None = Field(default=None, alias="json")
    regex: str | None = None
    choice: list[str] | None = None
    grammar: str | None = None
    json_object: bool | None = None
    structural_tag: str | None = None
    disable_any_whitespace: bool = False
    disable_additional_properties: bool = False
    whitespace_pattern: str | None = None


class FunctionDefinition(Request):
    """A function that the model may call."""

    name: str
    description: str | None = None
    parameters: JsonObject | None = None
    strict: bool | None = None


class ChatCompletionToolsParam(Request):
    """One tool."""

    type: Literal["function"] = "function"
    function: FunctionDefinition


class ChatCompletionNamedFunction(Request):
    """The name inside a named tool choice."""

    name: str


class ChatCompletionNamedToolChoiceParam(Request):
    """The tool that the answer must call."""

    function: ChatCompletionNamedFunction
    type: Literal["function"] = "function"
