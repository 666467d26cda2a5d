"""Renders a chat template in a process of its own, with a time limit, a memory limit and an empty environment.

A template comes with the model, from anybody: it may loop for ever or fill the memory, and must not see our secrets.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from collections.abc import Mapping

from penstock.operate.storage.chat_template import render_two_messages

__all__ = ["main", "template_trouble"]

_SECONDS = 20
_MEMORY = 2 * 1024**3


def template_trouble(template: str, tokens: Mapping[str, str]) -> str | None:
    """What is wrong with the template, in words; None when it renders."""
    asked = json.dumps({"template": template, "tokens": dict(tokens)})
    try:
        done = subprocess.run(
            [sys.executable, "-I", "-c", "from penstock.operate.io.storage.template_run import main; main()"],
            input=asked,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
            env={},
        )
    except subprocess.TimeoutExpired:
        return f"does not end within {_SECONDS} s on a chat of two messages"
    try:
        trouble = json.loads(done.stdout)["trouble"]
    except (ValueError, KeyError, TypeError):
        return f"ends the process that renders it (exit code {done.returncode})"
    return str(trouble) if trouble is not None else None


def main() -> None:
    """The child: a request on stdin, the answer on stdout."""
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (_SECONDS, _SECONDS))
    asked = json.load(sys.stdin)
    json.dump({"trouble": render_two_messages(asked["template"], asked["tokens"])}, sys.stdout)
