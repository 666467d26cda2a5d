"""Renders a chat template in a process of its own, with a time limit, a memory limit and an empty environment.

A template comes with the model, from anybody: it may loop for ever or fill the memory, and must not see our secrets.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping

from penstock.operate.storage import chat_template

__all__ = ["template_trouble"]

_SECONDS = 20
_MEMORY = 2 * 1024**3
_CHILD = """
import json, resource, runpy, sys
seconds, memory = int(sys.argv[2]), int(sys.argv[3])
resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
asked = json.load(sys.stdin)
render = runpy.run_path(sys.argv[1])["render_two_messages"]
json.dump({"trouble": render(asked["template"], asked["tokens"])}, sys.stdout)
"""
"""Runs the one module by its path: without the packages around it a process starts in a fifth of the time."""


def template_trouble(template: str, tokens: Mapping[str, str]) -> str | None:
    """What is wrong with the template, in words; None when it renders."""
    command = [sys.executable, "-I", "-c", _CHILD, chat_template.__file__, str(_SECONDS), str(_MEMORY)]
    asked = json.dumps({"template": template, "tokens": dict(tokens)})
    try:
        done = subprocess.run(
            command, input=asked, capture_output=True, text=True, timeout=_SECONDS, check=False, env={}
        )
    except subprocess.TimeoutExpired:
        return f"does not end within {_SECONDS} s on a chat of two messages"
    try:
        trouble = json.loads(done.stdout)["trouble"]
    except (ValueError, KeyError, TypeError):
        return f"ends the process that renders it (exit code {done.returncode})"
    return str(trouble) if trouble is not None else None
