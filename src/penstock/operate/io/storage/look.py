"""Reads a model's folder into the snapshot that `verify_record` judges, and its record.

Guarantees: reads no more of a shard than its header where hashes are not asked for; follows no link in a published
folder; a file that cannot be read becomes a finding, not an exception.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from penstock.errors import UsageError
from penstock.facts import header_length
from penstock.operate.io.storage.files import file_sha256, tree_sizes
from penstock.operate.io.storage.template_run import template_trouble
from penstock.operate.storage import MARKER, ModelRecord, Seen, Snapshot, parse_record
from penstock.operate.storage.chat_template import TEMPLATE_BYTES_MAX, template_of
from penstock.operate.storage.record import RECORD_BYTES_MAX

__all__ = ["read_head", "read_marker", "snapshot"]

_TEXT_BYTES_MAX = 128 * 1024 * 1024
"""Tokenizers of the largest vocabularies have some tens of megabytes."""
_TEXTS = (".json", ".jinja")
_TOKENS = ("bos_token", "eos_token", "unk_token", "pad_token")


def read_marker(folder: Path) -> ModelRecord | None:
    """The record of a published folder; None where there is none.

    Raises:
        UsageError: there is one, and it is damaged.
    """
    marker = folder / MARKER
    try:
        with marker.open("rb") as file:
            raw = file.read(RECORD_BYTES_MAX + 1)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise UsageError(f"{marker} cannot be read: {error.strerror}", hint="see its owner and mode") from error
    return parse_record(raw, str(marker))


def read_head(path: Path) -> bytes:
    """The first eight bytes of a safetensors file and the header that they announce, as far as the file goes."""
    with path.open("rb") as file:
        first = file.read(8)
        try:
            return first + file.read(header_length(first))
        except UsageError:
            return first


def snapshot(
    folder: Path,
    *,
    revision: str | None = None,
    with_hashes: bool,
    may_link: bool = False,
    workers: int = 4,
    on_bytes: Callable[[int], None] = lambda _: None,
) -> Snapshot:
    """The folder as it is now. `may_link`: links to files count as files, as in a hub cache."""
    paths = _paths(folder, may_link=may_link)
    with ThreadPoolExecutor(max_workers=workers, thread_name_prefix="look") as pool:
        jobs = {path: pool.submit(_seen, folder, path, may_link, with_hashes, on_bytes) for path in paths}
        files = {path: job.result() for path, job in jobs.items()}
    texts = {path: _text(folder / path) for path in paths if path.endswith(_TEXTS) and files[path].trouble is None}
    template_file, template = _template(texts)
    return Snapshot(
        revision=revision or folder.name,
        files=files,
        texts=texts,
        template_file=template_file,
        template_trouble=template_trouble(template, _tokens(texts)) if template is not None else None,
    )


def _paths(folder: Path, *, may_link: bool) -> list[str]:
    if not may_link:
        links = [
            Path(place, name).relative_to(folder).as_posix()
            for place, folders, names in os.walk(folder)
            for name in (*names, *folders)
            if Path(place, name).is_symlink()
        ]
        return sorted(path for path in {*tree_sizes(folder), *links} if path != MARKER)
    found: list[str] = []
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += [Path(place, name).relative_to(folder).as_posix() for name in names if name != MARKER]
    return sorted(found)


def _seen(folder: Path, path: str, may_link: bool, with_hashes: bool, on_bytes: Callable[[int], None]) -> Seen:
    file = folder / path
    try:
        if file.is_symlink() and not may_link:
            return Seen(size=0, trouble="it is a link, not the file that was published")
        size = file.stat().st_size
        head = read_head(file) if path.endswith(".safetensors") else None
        return Seen(
            size=size,
            sha256=file_sha256(file, on_bytes=on_bytes) if with_hashes else None,
            head=head,
            head_sha256=hashlib.sha256(head).hexdigest() if head is not None else None,
        )
    except OSError as error:
        return Seen(size=0, trouble=error.strerror or str(error))


def _text(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            raw = file.read(_TEXT_BYTES_MAX + 1)
        return raw.decode() if len(raw) <= _TEXT_BYTES_MAX else None
    except (OSError, UnicodeDecodeError):
        return None


def _json(text: str | None) -> dict[str, Any]:
    try:
        found = json.loads(text or "{}")
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _template(texts: dict[str, str | None]) -> tuple[str | None, str | None]:
    """The file that the chat template is in, and the template: where engines look, in their order."""
    template = texts.get("chat_template.jinja")
    if template is not None:
        return "chat_template.jinja", template[:TEMPLATE_BYTES_MAX]
    for name in ("chat_template.json", "tokenizer_config.json"):
        if (template := template_of(_json(texts.get(name)))) is not None:
            return name, template[:TEMPLATE_BYTES_MAX]
    return None, None


def _tokens(texts: dict[str, str | None]) -> dict[str, str]:
    """The special tokens that templates print; each is text, or an object with `content`."""
    config = _json(texts.get("tokenizer_config.json"))
    tokens: dict[str, str] = {}
    for name in _TOKENS:
        value = config.get(name)
        content = value.get("content") if isinstance(value, dict) else value
        tokens[name] = content if isinstance(content, str) else ""
    return tokens
