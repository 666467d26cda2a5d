"""What is wrong with a model's folder: names, sizes, hashes, headers, index, config, tokenizer, chat template.

Pure: the edge reads the folder into a `Snapshot`. Guarantees that each finding names its file, says what it means, and
that an error is something that keeps an engine from serving this model as published; the rest are warnings.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import PurePosixPath

from penstock.operate.storage.headers import Header, read_header
from penstock.operate.storage.layout import MARKER
from penstock.operate.storage.record import FileRecord, ModelRecord
from penstock.operate.storage.shards import index_findings, shard_findings
from penstock.operate.storage.texts import ADAPTER, text_findings

__all__ = ["Finding", "Seen", "Severity", "Snapshot", "has_errors", "verify_record"]


class Severity(StrEnum):
    """Whether a finding keeps the model from being served."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that is wrong."""

    severity: Severity
    file: str
    """Relative to the model's folder; empty for the folder."""
    rule: str
    """Short name of what was checked, for programs."""
    message: str

    def __str__(self) -> str:
        return f"{self.file}: {self.message}" if self.file else self.message


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One file as it lies in the folder."""

    size: int
    sha256: str | None = None
    """None where hashes were not asked for."""
    head: bytes | None = None
    """Of a safetensors file: its first eight bytes and the header that they announce, as far as the file goes."""
    head_sha256: str | None = None
    trouble: str | None = None
    """Why it could not be read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A model's folder at one moment."""

    revision: str
    """The folder's own name."""
    files: Mapping[str, Seen]
    texts: Mapping[str, str | None] = field(default_factory=dict)
    """Content of the small text files by path; None for one that is not UTF-8 or too large."""
    template_trouble: str | None = None
    """What rendering the chat template said; None where it rendered, or there is none."""
    template_file: str | None = None
    """Where the chat template was found; None where there is none."""


_PICKLE = (".bin", ".pth", ".pt", ".pkl", ".ckpt")
_INSTRUCT = re.compile(r"(?i)instruct|chat|assistant|[-_]it\b")


def verify_record(record: ModelRecord | None, seen: Snapshot) -> list[Finding]:
    """Everything that is wrong, errors first, then by file. `record` is None for a folder that nobody published.

    Hashes are compared where the snapshot has them.
    """
    findings = [*_against_record(record, seen)] if record is not None else [_unpublished()]
    headers = _headers(seen)
    findings += [_error(path, "header", trouble) for path, read in headers.items() for trouble in read.troubles]
    findings += [_of(found) for found in shard_findings(sorted(seen.files), headers)]
    findings += [_of(found) for found in index_findings(seen.texts, sorted(seen.files), headers)]
    findings += [_of(found) for found in text_findings(seen.texts, sorted(seen.files))]
    findings += _template(record, seen)
    if not any(path.endswith((".safetensors", ".gguf", *_PICKLE)) for path in seen.files):
        findings.append(_error("", "weights", "the folder holds no weights: an engine cannot load it"))
    return sorted(set(findings), key=lambda f: (f.severity, f.file, f.rule, f.message))


def has_errors(findings: Sequence[Finding]) -> bool:
    """Whether any finding keeps the model from being served."""
    return any(finding.severity is Severity.ERROR for finding in findings)


def _error(file: str, rule: str, message: str) -> Finding:
    return Finding(severity=Severity.ERROR, file=file, rule=rule, message=message)


def _warning(file: str, rule: str, message: str) -> Finding:
    return Finding(severity=Severity.WARNING, file=file, rule=rule, message=message)


def _of(found: tuple[bool, str, str, str]) -> Finding:
    is_error, file, rule, message = found
    return (_error if is_error else _warning)(file, rule, message)


def _unpublished() -> Finding:
    message = "there is no record: the folder was not published by `penstock models pull`, so hashes cannot be compared"
    return _warning(MARKER, "record", message)


def _headers(seen: Snapshot) -> dict[str, Header]:
    return {
        path: read_header(file.head or b"", file.size)
        for path, file in sorted(seen.files.items())
        if path.endswith(".safetensors") and file.trouble is None
    }


def _against_record(record: ModelRecord, seen: Snapshot) -> Iterator[Finding]:
    if record.revision.replace(":", "-") != seen.revision:
        yield _error(
            MARKER, "revision", f"the record is of revision {record.revision}, and the folder is called {seen.revision}"
        )
    for file in record.files:
        found = seen.files.get(file.path)
        if found is None:
            yield _error(file.path, "missing", f"is missing; the record has it with {file.size} bytes")
        else:
            yield from _against_file(file, found)
    known = {file.path for file in record.files}
    for path in sorted(set(seen.files) - known - {MARKER}):
        suffix = PurePosixPath(path).suffix
        if suffix == ".safetensors" or suffix in _PICKLE:
            message = "is not in the record: weights that nobody verified, and an engine may load them"
            yield _error(path, "stranger", message)
        else:
            yield _warning(path, "stranger", "is not in the record: somebody put it here after the model was published")


def _against_file(file: FileRecord, found: Seen) -> Iterator[Finding]:
    if found.trouble is not None:
        yield _error(file.path, "unreadable", f"cannot be read: {found.trouble}")
    elif found.size != file.size:
        cut = f" ({found.size * 100 // file.size} % of it)" if found.size < file.size else ""
        yield _error(file.path, "size", f"has {found.size} bytes{cut}; the record has {file.size}")
    elif found.sha256 is not None and found.sha256 != file.sha256:
        message = f"is not what was published: sha256 {found.sha256[:12]}…, the record has {file.sha256[:12]}…"
        yield _error(file.path, "hash", message)
    elif found.head_sha256 and file.header_sha256 and found.head_sha256 != file.header_sha256:
        yield _error(file.path, "hash", "has another header than the one that was published")


def _template(record: ModelRecord | None, seen: Snapshot) -> Iterator[Finding]:
    if seen.template_file is not None:
        if seen.template_trouble is not None:
            message = f"the chat template {seen.template_trouble}; /v1/chat/completions would fail"
            yield _error(seen.template_file, "chat-template", message)
    elif record is not None and ADAPTER not in seen.files and _INSTRUCT.search(record.source):
        message = "there is no chat template, and the model's name says that it chats: clients of chat get an error"
        yield _warning("tokenizer_config.json", "chat-template", message)
