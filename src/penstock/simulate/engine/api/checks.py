"""The checks that vLLM makes on a request's JSON before it looks at types.

Guarantees: words, parameter and order of vLLM 0.32. Leaves to others: types (`validation.py`), ranges (`sampling.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeGuard

from penstock.simulate.engine.api.errors import bad_request, bad_value

__all__ = ["check_chat", "check_completion"]

_KINDS = ("json", "regex", "choice", "grammar", "json_object", "structural_tag")


def check_chat(body: Mapping[str, Any]) -> None:
    """Refuses combinations of fields that a chat cannot have."""
    _check_stream_options(body)
    _check_prompt_logprobs(body)
    _check_top_logprobs(body)
    _check_response_format(body)
    _check_constraints(body)
    _check_tools(body)
    if body.get("continue_final_message") and body.get("add_generation_prompt", True):
        raise bad_request("Cannot set both `continue_final_message` and `add_generation_prompt` to True.")
    _check_continuation(body)


def check_completion(body: Mapping[str, Any]) -> None:
    """Refuses combinations of fields that a completion cannot have."""
    _check_stream_options(body)
    _check_prompt_logprobs(body)
    logprobs = body.get("logprobs")
    if _is_int(logprobs) and logprobs < 0:
        raise bad_value("`logprobs` must be a positive value.", "logprobs", logprobs)
    prompt = body.get("prompt")
    if (prompt is None or prompt == "") and not body.get("prompt_embeds"):
        raise bad_value("Either prompt or prompt_embeds must be provided and non-empty.", "prompt")
    _check_response_format(body)
    _check_constraints(body)


def _is_int(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def _check_stream_options(body: Mapping[str, Any]) -> None:
    if body.get("stream_options") and not body.get("stream"):
        raise bad_value("Stream options can only be defined when `stream=True`.", "stream_options")


def _check_prompt_logprobs(body: Mapping[str, Any]) -> None:
    value = body.get("prompt_logprobs")
    if not _is_int(value):
        return
    if body.get("stream") and (value > 0 or value == -1):
        raise bad_value("`prompt_logprobs` are not available when `stream=True`.", "prompt_logprobs")
    if value < 0 and value != -1:
        raise bad_value("`prompt_logprobs` must be a positive value or -1.", "prompt_logprobs", value)


def _check_top_logprobs(body: Mapping[str, Any]) -> None:
    value = body.get("top_logprobs")
    if not _is_int(value):
        return
    if value < 0 and value != -1:
        raise bad_value("`top_logprobs` must be a positive value or -1.", "top_logprobs", value)
    if value != 0 and not body.get("logprobs"):
        raise bad_value("when using `top_logprobs`, `logprobs` must be set to true.", "top_logprobs")


def _check_response_format(body: Mapping[str, Any]) -> None:
    form = body.get("response_format")
    if isinstance(form, dict) and form.get("type") == "json_schema" and form.get("json_schema") is None:
        raise bad_value(
            "When response_format type is 'json_schema', the 'json_schema' field must be provided.", "response_format"
        )


def _check_constraints(body: Mapping[str, Any]) -> None:
    constraints = body.get("structured_outputs")
    if not isinstance(constraints, dict):
        return
    count = sum(constraints.get(kind) is not None for kind in _KINDS)
    if count > 1:
        raise bad_value(
            "You can only use one kind of constraints for structured outputs ('json', 'regex' or 'choice').",
            "structured_outputs",
        )
    if count and body.get("tool_choice", "none") not in (None, "none", "auto", "required"):
        raise bad_value(
            "You can only either use constraints for structured outputs or tools, not both.", "structured_outputs"
        )


def _check_tools(body: Mapping[str, Any]) -> None:
    """Also gives `tool_choice` its default, which depends on `tools`."""
    choice, tools = body.get("tool_choice"), body.get("tools")
    if choice is None or choice == "none":
        return
    if not tools:
        raise bad_value("When using `tool_choice`, `tools` must be set.", "tool_choice")
    if isinstance(choice, dict):
        _check_named_tool(choice, tools)
    elif choice not in ("auto", "required"):
        raise bad_value(
            f'Invalid value for `tool_choice`: {choice}! Only named tools, "none", "auto" or "required" are supported.',
            "tool_choice",
        )


def _check_named_tool(choice: Mapping[str, Any], tools: object) -> None:
    function = choice.get("function")
    if not isinstance(function, dict) or not function.get("name"):
        raise bad_value(
            "Expected field `function` with a `name` in `tool_choice`. Correct usage: "
            '`{"type": "function", "function": {"name": "my_function"}}`',
            "tool_choice",
        )
    if not isinstance(tools, list):
        return
    names = [tool["function"].get("name") for tool in tools if isinstance(tool, dict) and _is_dict(tool, "function")]
    if function["name"] not in names:
        raise bad_value(
            "The tool specified in `tool_choice` does not match any of the specified `tools`", "tool_choice"
        )


def _is_dict(parent: Mapping[str, Any], key: str) -> bool:
    return isinstance(parent.get(key), dict)


def _check_continuation(body: Mapping[str, Any]) -> None:
    """Prompt ids that replace the rendering of the messages; vLLM takes them for prefill/decode split."""
    params = body.get("kv_transfer_params")
    if not isinstance(params, dict) or "prompt_token_ids" not in params:
        return
    ids = params["prompt_token_ids"]
    if not isinstance(ids, list) or not ids or not all(_is_int(i) and i >= 0 for i in ids):
        raise bad_value(
            "`kv_transfer_params['prompt_token_ids']` must be a non-empty list of non-negative integers.",
            "kv_transfer_params.prompt_token_ids",
        )
