"""From what a request calls its prompt to the token ids that the engine runs.

Guarantees: ids that the vocabulary has, at least one and at most `max_model_len` of them, or vLLM's error. Leaves to
others: the tokenizer and the chat template (`text.py` of the engine).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from penstock.facts import Task
from penstock.simulate.engine.api.chat_request import ChatCompletionRequest
from penstock.simulate.engine.api.completion_request import CompletionRequest
from penstock.simulate.engine.api.errors import bad_request, bad_value
from penstock.simulate.engine.api.sampling import prompt_too_long
from penstock.simulate.engine.text import chat_template, tokenizer

__all__ = ["PromptLimits", "PromptText", "chat_prompt", "completion_prompts", "message_dicts", "pooling_prompts"]

_CHARS_PER_TOKEN_MAX: dict[Task, int] = {"generate": 64, "embed": 18}
"""Longest token of a usual vocabulary (runs of spaces in byte-pair ones, words in WordPiece). Text with more characters
than the context has room for at this rate is refused before it is tokenized, as in vLLM."""
_CONTINUATION = "kv_transfer_params.prompt_token_ids"


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptLimits:
    """What this engine takes."""

    max_model_len: int
    served_name: str
    task: Task = "generate"
    vocabulary: int = 0
    """Ids that the model has. The simulated tokenizer knows fewer; the rest are taken, and stand for no text."""

    def check_text(self, text: str) -> None:
        """Refuses text that cannot fit, by its length alone."""
        chars_max = self.max_model_len * _CHARS_PER_TOKEN_MAX[self.task]
        if len(text) > chars_max:
            raise bad_value(
                f"This model's maximum context length is {self.max_model_len} tokens. However, your prompt contains "
                f"{len(text)} characters (more than {chars_max} characters, which is the upper bound for "
                f"{self.max_model_len} input tokens). Please reduce the length of the input prompt.",
                "input_text",
                len(text),
            )

    def check_ids(self, ids: Sequence[int], param: str | None = None) -> None:
        """Refuses ids that the vocabulary does not have."""
        vocabulary = max(self.vocabulary, tokenizer().vocab_size)
        for token_id in ids:
            if token_id >= vocabulary:
                message = f"Token id {token_id} is out of vocabulary"
                raise bad_request(message) if param is None else bad_value(message, param)

    def check_length(self, count: int, *, is_text: bool) -> None:
        """Refuses a prompt that does not fit. Text is counted to one past the limit only."""
        if count > self.max_model_len:
            shown = self.max_model_len + 1 if is_text else count
            raise prompt_too_long(shown, self.max_model_len, at_least=is_text)


@dataclass(frozen=True, slots=True)
class PromptText:
    """One prompt: ids to run, and the text that `echo` gives back."""

    ids: list[int]
    text: str = ""


def completion_prompts(request: CompletionRequest, limits: PromptLimits) -> list[PromptText]:
    """The prompts of a completion: one, or one for each element of a batch."""
    prompt = request.prompt
    if prompt is None or prompt == []:
        raise bad_request("You must pass at least one prompt")
    if isinstance(prompt, str) or isinstance(prompt[0], int):
        parts: list[Any] = [prompt]
    else:
        parts = list(prompt)
    return [_one_prompt(part, request, limits) for part in parts]


def _one_prompt(part: str | list[int], request: CompletionRequest, limits: PromptLimits) -> PromptText:
    keep = request.truncate_prompt_tokens
    if isinstance(part, str):
        if keep is None:
            limits.check_text(part)
        ids = _truncate(tokenizer().encode(part, allow_special=True), keep, request.truncation_side, limits)
        text = part
    else:
        limits.check_ids(part)
        ids = _truncate(part, keep, request.truncation_side, limits)
        text = tokenizer().decode(ids, skip_special=False) if request.echo else ""
    if not ids:
        raise bad_request("The decoder prompt cannot be empty")
    limits.check_length(len(ids), is_text=isinstance(part, str))
    return PromptText(ids, text)


def _truncate(ids: list[int], keep: int | None, side: str | None, limits: PromptLimits) -> list[int]:
    """Keeps the last (or first) `keep` ids; -1 means as many as the model takes."""
    if keep is None:
        return ids
    count = limits.max_model_len if keep == -1 else keep
    if count > limits.max_model_len:
        raise bad_value(
            f"truncate_prompt_tokens={count} cannot be greater than max_model_len={limits.max_model_len}. "
            "Please request a smaller truncation size.",
            "truncate_prompt_tokens",
            count,
        )
    if len(ids) <= count:
        return ids
    return ids[:count] if side == "right" else ids[len(ids) - count :]


def message_dicts(request: ChatCompletionRequest) -> list[dict[str, Any]]:
    """The messages as the chat template reads them."""
    return [message.model_dump(exclude_unset=True) for message in request.messages]


def chat_prompt(request: ChatCompletionRequest, limits: PromptLimits) -> list[int]:
    """The ids of a chat: its messages rendered, or the ids that the request brings for a continuation."""
    if not request.messages:
        raise bad_request("Cannot apply chat template to an empty conversation. Provide at least one message.")
    ids = _continuation(request, limits)
    if ids is None:
        messages = message_dicts(request)
        _check_parts(messages, limits)
        limits.check_text("".join(m["content"] for m in messages if isinstance(m.get("content"), str)))
        ids = chat_template(
            messages,
            tools=[tool.model_dump(exclude_none=True) for tool in request.tools or ()] or None,
            add_generation_prompt=request.add_generation_prompt,
            continue_final_message=request.continue_final_message,
        )
        ids = _truncate(ids, request.truncate_prompt_tokens, request.truncation_side, limits)
        limits.check_length(len(ids), is_text=True)
    return ids


def _continuation(request: ChatCompletionRequest, limits: PromptLimits) -> list[int] | None:
    """Prompt ids in `kv_transfer_params` stand for the messages: how a generation is continued on another engine."""
    params = request.kv_transfer_params
    if not params or "prompt_token_ids" not in params or request.echo:
        return None
    ids: list[int] = params["prompt_token_ids"]
    limits.check_ids(ids, _CONTINUATION)
    limits.check_length(len(ids), is_text=False)
    return ids


def _check_parts(messages: Sequence[dict[str, Any]], limits: PromptLimits) -> None:
    """Refuses parts that only a multimodal model reads."""
    for message in messages:
        content = message.get("content")
        if not isinstance(content, list):
            continue
        for part in content:
            kind = part.get("type", "text") if isinstance(part, dict) else "text"
            if kind not in ("text", "refusal", "thinking"):
                raise bad_request(f"{limits.served_name} is not a multimodal model")


def pooling_prompts(
    inputs: str | list[int] | list[str] | list[list[int]], keep: int | None, limits: PromptLimits
) -> list[list[int]]:
    """The ids of each input of an embedding model."""
    if isinstance(inputs, str):
        parts: list[Any] = [inputs]
    elif inputs and isinstance(inputs[0], int):
        parts = [inputs]
    else:
        parts = list(inputs)
    if not parts:
        raise bad_request("You must pass at least one prompt")
    prompts = []
    for part in parts:
        if isinstance(part, str):
            if keep is None:
                limits.check_text(part)
            ids = tokenizer().encode(part, allow_special=True)
        else:
            limits.check_ids(part)
            ids = part
        ids = _truncate(ids, keep, "right", limits)
        if not ids:
            raise bad_request("The decoder prompt cannot be empty")
        limits.check_length(len(ids), is_text=isinstance(part, str))
        prompts.append(ids)
    return prompts
