"""Exact prompt lengths: the model's own `tokenizer.json` and chat template, as vLLM puts them together.

Guarantees: a count is vLLM's own, or there is none: where a template or a tokenizer is missing, does not render or is
not understood, where a prompt has parts that are not text, or where it is longer than is worth counting. Short prompts
are counted at once; longer ones in threads (the tokenizer runs without the interpreter's lock), a few at a time, with a
bounded queue; what finds it full is not counted. Nothing here fails a request.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tokenizers

from penstock.serve.admission.prompt import Prompt
from penstock.serve.admission.template import ChatTemplate, template_of

__all__ = ["TokenizerSource", "Tokenizing", "find_folder"]

INLINE_CHARS_MAX = 500
"""Longest prompt that is counted in the event loop: some 0.5 ms with a vocabulary of 129,000 (1.2 µs a character)."""
COUNTED_CHARS_MAX = 1_000_000
"""Longest prompt that is counted at all: some 1.3 s of a core. Past it the estimate decides."""
QUEUED_MAX = 64
"""Prompts that wait for a thread; past it they are not counted, and the estimate decides."""
THREADS = 2
FILE_BYTES_MAX = 64 << 20
"""The largest published tokenizers have some 35 MB."""
LOAD_S_MAX = 60.0
COUNT_S_MAX = 3.0
"""Seconds that a request waits for its count, the queue included; past it the estimate decides."""
RENDER_S_MAX = 1.0
"""A template that takes longer for one prompt is not used again."""
_log = logging.getLogger("penstock.tokenizing")


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenizerSource:
    """Where a model's files are, if they are here."""

    model: str
    """Main name of the model."""
    source: str
    """Folder, or name on the hub."""
    revision: str | None = None


def find_folder(source: str, revision: str | None, env: Mapping[str, str], base: Path) -> Path | None:
    """The folder with a model's `tokenizer.json`: `source` itself (relative to `base`), or the hub's cache on this
    machine. None where it is not here; nothing is fetched."""
    folder = Path(source).expanduser()
    folder = folder if folder.is_absolute() else base / folder
    if (folder / "tokenizer.json").is_file():
        return folder
    if source.startswith(("/", ".", "~")) or source.count("/") != 1 or ".." in source:
        return None
    home = Path(env.get("HF_HOME") or Path(env.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface").expanduser()
    cache = Path(env.get("HF_HUB_CACHE") or home / "hub").expanduser()
    repository = cache / ("models--" + source.replace("/", "--"))
    wanted = revision or "main"
    try:
        commit = (repository / "refs" / wanted).read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        commit = wanted
    if not commit or "/" in commit or commit.startswith("."):
        return None
    snapshot = repository / "snapshots" / commit
    return snapshot if (snapshot / "tokenizer.json").is_file() else None


@dataclass(slots=True, kw_only=True)
class _Loaded:
    """What one model is counted with."""

    tokenizer: tokenizers.Tokenizer
    template: ChatTemplate | None
    rendering: int = 0
    """Renderings under way."""


class Tokenizing:
    """A `Counter` over local files. Owned by the gateway; used from its event loop; `close` ends its threads."""

    def __init__(self, env: Mapping[str, str] | None = None, base: Path | None = None) -> None:
        self._env = os.environ if env is None else env
        self._base = base or Path()
        self._models: dict[str, _Loaded] = {}
        self._pool = ThreadPoolExecutor(THREADS, "tokenize")
        self._waiting = 0
        self.counted_total = 0
        self.refused_total = 0
        """Not counted, as too many or too much waited."""
        self.failed_total = 0

    async def load(self, source: TokenizerSource) -> str:
        """Loads a model's tokenizer; says in words what came of it, for the log."""
        loop = asyncio.get_running_loop()
        work = loop.run_in_executor(self._pool, _load, source, self._env, self._base)
        try:
            async with asyncio.timeout(LOAD_S_MAX):
                loaded = await work
        except TimeoutError:
            return f"{source.model}: its tokenizer took more than {LOAD_S_MAX:g} s to load; lengths are estimated"
        except Exception as error:  # any error of the tokenizer's own, of a file that anybody wrote
            return f"{source.model}: its tokenizer can't be used: {str(error)[:200]}; lengths are estimated"
        if loaded is None:
            self._models.pop(source.model, None)
            return f"{source.model}: no tokenizer.json of {source.source} is on this machine; lengths are estimated"
        self._models[source.model] = loaded
        chats = "chats too" if loaded.template is not None else "not of chats, as it has no chat template of its own"
        return f"{source.model}: lengths of prompts are exact, {chats}"

    def forget(self, model: str) -> None:
        """The model is no longer served."""
        self._models.pop(model, None)

    def knows(self, model: str, schema: str) -> bool:
        """Whether `count` may have an answer."""
        loaded = self._models.get(model)
        if loaded is None:
            return False
        match schema:
            case "completion" | "embeddings" | "classify" | "pooling":
                return True
            case "chat" | "messages" | "responses" | "tokenize":
                return loaded.template is not None
            case _:
                return False

    def count(
        self,
        model: str,
        schema: str,
        fields: Mapping[str, Any],
        prompt: Prompt,
        then: Callable[[int | None, float], None],
    ) -> int | None:
        """See `Counter.count`."""
        loop = asyncio.get_running_loop()
        loaded = self._models.get(model)
        if loaded is None or prompt.chars > COUNTED_CHARS_MAX or self._waiting >= QUEUED_MAX:
            self.refused_total += loaded is not None
            loop.call_soon(lambda: then(None, loop.time()))
            return None
        if prompt.chars <= INLINE_CHARS_MAX:
            tokens = self._counted(loaded, schema, fields)
            if tokens is None:
                loop.call_soon(lambda: then(None, loop.time()))
            return tokens
        self._waiting += 1
        work = self._pool.submit(self._counted, loaded, schema, fields)
        done = asyncio.wrap_future(work, loop=loop)
        timer = loop.call_later(COUNT_S_MAX, self._expire, loaded, work, done)
        done.add_done_callback(lambda done: self._finished(done, timer, then, loop))
        return None

    def _expire(self, loaded: _Loaded, work: Future[int | None], done: asyncio.Future[int | None]) -> None:
        """It takes too long. What runs can't be stopped, only not be begun again: a template may loop for ever."""
        if work.running() and loaded.rendering:
            _log.warning(
                "a chat template took more than %g s: lengths of that model's chats are estimated", COUNT_S_MAX
            )
            loaded.template = None
        self.refused_total += 1
        done.cancel()

    def _finished(
        self,
        done: asyncio.Future[int | None],
        timer: asyncio.TimerHandle,
        then: Callable[[int | None, float], None],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        timer.cancel()
        self._waiting -= 1
        failed = done.cancelled() or done.exception() is not None
        then(None if failed else done.result(), loop.time())

    def _counted(self, loaded: _Loaded, schema: str, fields: Mapping[str, Any]) -> int | None:
        try:
            tokens = _count(loaded, schema, fields)
        except Exception as error:  # a template's own error, of words that anybody wrote
            _log.debug("not counted: %s", type(error).__name__)
            self.failed_total += 1
            return None
        self.counted_total += tokens is not None
        return tokens

    def close(self) -> None:
        """Ends the threads; what waits is dropped."""
        self._pool.shutdown(wait=False, cancel_futures=True)


def _load(source: TokenizerSource, env: Mapping[str, str], base: Path) -> _Loaded | None:
    folder = find_folder(source.source, source.revision, env, base)
    if folder is None:
        return None
    tokenizer = tokenizers.Tokenizer.from_str(_text(folder / "tokenizer.json") or "")
    tokenizer.no_truncation()
    tokenizer.no_padding()
    config = _json(folder / "tokenizer_config.json")
    text = _text(folder / "chat_template.jinja") or template_of(config)
    text = text or template_of(_json(folder / "chat_template.json"))
    kind = str(_json(folder / "config.json").get("model_type", ""))
    template = ChatTemplate.compiled(text, config) if text and kind not in _OTHER_RENDERERS else None
    return _Loaded(tokenizer=tokenizer, template=template)


_OTHER_RENDERERS = frozenset({"gpt_oss"})
"""Kinds of model whose chats vLLM renders by code, not by a template."""


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > FILE_BYTES_MAX:
            return ""
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeError):
        return ""


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(_text(path) or "{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _count(loaded: _Loaded, schema: str, fields: Mapping[str, Any]) -> int | None:
    adds_special = fields.get("add_special_tokens")
    if schema in ("completion", "embeddings", "classify", "pooling", "tokenize") and not fields.get("messages"):
        text = fields.get("prompt" if schema in ("completion", "tokenize") else "input")
        if type(text) is not str:
            return None
        return _length(loaded.tokenizer, text, adds_special=adds_special is not False)
    if loaded.template is None:
        return None
    began = time.monotonic()
    loaded.rendering += 1
    try:
        rendered = loaded.template.render(schema, fields)
    finally:
        loaded.rendering -= 1
    if time.monotonic() - began > RENDER_S_MAX:
        loaded.template = None
    return None if rendered is None else _length(loaded.tokenizer, rendered, adds_special=adds_special is True)


def _length(tokenizer: tokenizers.Tokenizer, text: str, *, adds_special: bool) -> int:
    """By the batch call: the single one holds the interpreter's lock, and keeps offsets, which cost twice the rest."""
    return len(tokenizer.encode_batch_fast([text], add_special_tokens=adds_special)[0].ids)
