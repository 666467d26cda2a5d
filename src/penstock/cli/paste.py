"""The command to paste once a fleet is up: a request that works, with the file's own key. Pure."""

from __future__ import annotations

import json
import shlex

from penstock.facts import find_model
from penstock.spec import Fleet, KeySpec, ModelSpec

__all__ = ["curl_command", "key_to_show"]


def curl_command(fleet: Fleet, url: str) -> str:
    """A `curl` line for the first model that a key may call; it can be pasted into a shell as it is."""
    model, key = _first_call(fleet)
    path, body = _question(model)
    lines = [f"curl {url}{path}"]
    if key is not None:
        lines.append(f"  -H {_header(key)}")
    lines += ["  -H 'Content-Type: application/json'", f"  -d {shlex.quote(json.dumps(body))}"]
    return " \\\n".join(lines)


def key_to_show(fleet: Fleet) -> str | None:
    """The key as a person would type it: itself where the file holds it, `$NAME` where it comes from there."""
    _, key = _first_call(fleet)
    return _shown(key) if key is not None else None


def _first_call(fleet: Fleet) -> tuple[ModelSpec, KeySpec | None]:
    """A model and a key that may call it: generating models first, then the order of the file."""
    models = sorted(fleet.spec.models, key=_is_embedding)
    for model in models:
        for tenant in fleet.spec.gateway.tenants:
            if tenant.models is None or set(tenant.models) & set(model.names):
                return model, tenant.keys[0]
    return models[0], None


def _is_embedding(model: ModelSpec) -> bool:
    return (find_model(model.source_or_name).task if model.task == "auto" else model.task) == "embed"


def _question(model: ModelSpec) -> tuple[str, dict[str, object]]:
    if _is_embedding(model):
        return "/embeddings", {"model": model.name, "input": "Water flows downhill."}
    return "/chat/completions", {"model": model.name, "messages": [{"role": "user", "content": "Hello"}]}


def _shown(key: KeySpec) -> str:
    if key.value is not None:
        return key.value.get_secret_value()
    return f"${key.value_from.env}" if key.value_from is not None else ""


def _header(key: KeySpec) -> str:
    """The header as a shell word: a literal is quoted whole, a variable is left to the shell."""
    text = f"Authorization: Bearer {_shown(key)}"
    return shlex.quote(text) if key.value is not None else f'"{text}"'
