"""A request and an answer as values, and what a path of the API addresses. Pure: no HTTP library, no socket."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from penstock.operate.testing.status import Refusal, bad_request
from penstock.operate.testing.watches import Watch

__all__ = ["BODY_BYTES_MAX", "Address", "Answer", "Options", "Request", "address_of"]

BODY_BYTES_MAX = 3 * 1024 * 1024
"""Largest body, as the real server has it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a client sent. Header names are in lower case."""

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What it gets: a JSON value, text, or a watch to stream."""

    code: int = 200
    body: Any = None
    text: str | None = None
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)
    watch: Watch | None = None
    timeout_s: float = 0.0
    """How long the watch runs; 0 for as long as the server likes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """The resource, object and subresource of a path. Empty where the path does not say."""

    group: str
    version: str
    plural: str
    namespace: str = ""
    name: str = ""
    subresource: str = ""


def address_of(path: str) -> Address | None:
    """What `/api/...` or `/apis/...` addresses; None for paths of discovery and others."""
    parts = [part for part in path.split("/") if part]
    if len(parts) >= 3 and parts[0] == "api":
        group, version, rest = "", parts[1], parts[2:]
    elif len(parts) >= 4 and parts[0] == "apis":
        group, version, rest = parts[1], parts[2], parts[3:]
    else:
        return None
    namespace = ""
    if rest[0] == "namespaces" and len(rest) >= 3 and not (not group and rest[2] in ("status", "finalize")):
        namespace, rest = rest[1], rest[2:]
    if len(rest) > 3:
        return None
    plural, name, subresource = (*rest, "", "")[:3]
    return Address(group=group, version=version, plural=plural, namespace=namespace, name=name, subresource=subresource)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the query of a write says."""

    is_dry_run: bool = False
    manager: str = ""
    is_forced: bool | None = None
    validation: str = ""
    """`Strict`, `Warn` or `Ignore`; empty for the server's own default, which is Warn."""

    @classmethod
    def of(cls, query: Mapping[str, str], headers: Mapping[str, str], body: Mapping[str, Any] | None = None) -> Options:
        """From the query, or (DeleteOptions) from the body."""
        dry_run = query.get("dryRun") or ((body or {}).get("dryRun") or [""])[0]
        if dry_run not in ("", "All"):
            raise _unsupported("dryRun", dry_run, '"All"')
        validation = query.get("fieldValidation", "")
        if validation not in ("", "Strict", "Warn", "Ignore"):
            raise _unsupported("fieldValidation", validation, '"", "Ignore", "Warn", "Strict"')
        agent = headers.get("user-agent", "unknown").split("/")[0]
        force = query.get("force")
        return cls(
            is_dry_run=dry_run == "All",
            manager=query.get("fieldManager") or agent,
            is_forced=None if force is None else force in ("true", "1"),
            validation=validation,
        )


def _unsupported(name: str, value: str, supported: str) -> Refusal:
    words = f'invalid: {name}: Unsupported value: "{value}": supported values: {supported}'
    return bad_request(words)
