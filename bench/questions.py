"""What real engines are asked whose answers `bench.cuts` cuts."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["PROMPTS", "SECRET", "Question", "enclose_thoughts", "questions", "thinking"]

SECRET = "The vault opens with amaranth."
"""In every system prompt: nobody may ever hear it."""
THOUGHTS_END_ID = 5
"""Of the tiny model."""
SCHEMA = {
    "type": "object",
    "properties": {
        "gates": {"type": "array", "items": {"enum": ["open", "shut"]}, "minItems": 12, "maxItems": 20},
        "step": {"type": "integer", "minimum": 1, "maximum": 9},
    },
    "required": ["gates", "step"],
    "additionalProperties": False,
}
TOOL = {"type": "function", "function": {"name": "set_gates", "strict": True, "parameters": SCHEMA}}
SETTINGS: dict[str, dict[str, Any]] = {
    "greedy": {"temperature": 0},
    "seeded": {"temperature": 1.0, "seed": 11},
    "stop": {"temperature": 0, "stop": ["er", "con", "zqzq"], "min_tokens": 40},
    "stop_kept": {"seed": 5, "stop": ["ing", "the"], "include_stop_str_in_output": True, "min_tokens": 30},
    "logit_bias": {"temperature": 0, "logit_bias": {"300": 4, "301": -100, "17": 2.5}},
    "min_tokens": {"temperature": 0, "min_tokens": 70, "stop_token_ids": list(range(300, 500))},
    "frequency": {"temperature": 0, "frequency_penalty": 0.8},
    "presence": {"temperature": 0, "presence_penalty": 1.5},
    "repetition": {"temperature": 0, "repetition_penalty": 1.3},
    "drawn": {"temperature": 0.8},
    "top": {"temperature": 0.8, "seed": 3, "top_p": 0.9, "top_k": 40},
}
CHAT_ONLY: dict[str, dict[str, Any]] = {
    "json": {
        "seed": 7,
        "response_format": {"type": "json_schema", "json_schema": {"name": "gates", "schema": SCHEMA}},
        "max_tokens": 400,
    },
    "tool": {
        "temperature": 0,
        "tools": [TOOL],
        "tool_choice": {"type": "function", "function": {"name": "set_gates"}},
        "max_tokens": 400,
    },
}
PROMPTS = (
    "How does the water reach the wheel?",
    "List what a miller does on a day without wind, and why the stones are dressed.",
    "Name a gate.",
)


@dataclass(frozen=True)
class Question:
    """One request."""

    name: str
    path: str
    body: dict[str, Any]


def thinking(prompts: int) -> list[Question]:
    """Requests to a model that thinks first, until it says the token that ends its thoughts, to which it inclines."""
    made = []
    for prompt in PROMPTS[:prompts]:
        for bias in (3, 5, 7):
            common = {"model": "chat", "stream": True, "max_tokens": 120, "stream_options": {"include_usage": True}}
            common |= {"messages": [{"role": "user", "content": f"{SECRET} {prompt}"}], "temperature": 0}
            common["logit_bias"] = {str(THOUGHTS_END_ID): bias}
            made.append(Question("greedy", "/v1/chat/completions", common))
            made.append(Question("repetition", "/v1/chat/completions", common | {"repetition_penalty": 1.3}))
    return made


def enclose_thoughts(tokenizer: Path) -> None:
    """Makes the model's tokens for calls those that enclose thoughts, part of the text, as those of real models are."""
    fields = json.loads(tokenizer.read_text().replace("tool_call>", "think>"))
    for token in fields["added_tokens"]:
        token["special"] = token["special"] and "think" not in token["content"]
    tokenizer.write_text(json.dumps(fields))


def questions(prompts: int) -> list[Question]:
    """Every kind of request, with each of the first prompts."""
    made = []
    for prompt in PROMPTS[:prompts]:
        messages = [{"role": "system", "content": SECRET}, {"role": "user", "content": prompt}]
        common = {"model": "chat", "stream": True, "max_tokens": 120, "stream_options": {"include_usage": True}}
        for name, extra in SETTINGS.items():
            made.append(Question(name, "/v1/chat/completions", common | {"messages": messages} | extra))
            made.append(Question(name, "/v1/completions", common | {"prompt": f"{SECRET} {prompt}"} | extra))
        made += [
            Question(name, "/v1/chat/completions", common | {"messages": messages} | extra)
            for name, extra in CHAT_ONLY.items()
        ]
        asked = {"model": "chat", "stream": True, "temperature": 0}
        response = asked | {"instructions": SECRET, "input": prompt, "max_output_tokens": 120}
        made.append(Question("greedy", "/v1/responses", response))
        made.append(Question("seeded", "/v1/responses", response | {"temperature": 1.0, "seed": 4}))
        message = asked | {"system": SECRET, "messages": [{"role": "user", "content": prompt}], "max_tokens": 120}
        made.append(Question("greedy", "/v1/messages", message))
        made.append(Question("drawn", "/v1/messages", message | {"temperature": 0.8}))
    return made
