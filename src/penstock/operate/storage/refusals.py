"""What a hub's or registry's refusal means, and whether trying again can help.

Pure. Guarantees that "accept the licence", "the token has expired" and "no such repository" are told apart wherever the
server tells them apart, and said to be one of two where it does not; no message holds a token.
"""

from __future__ import annotations

from penstock.errors import UsageError
from penstock.operate.storage.pulling import Interrupted

__all__ = ["hub_refusal", "is_passing", "registry_refusal"]

_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504, 520, 521, 522, 523, 524, 529})
"""Statuses that say nothing against the request itself."""


def is_passing(status: int) -> bool:
    """Whether the same request may succeed later."""
    return status in _PASSING


def hub_refusal(
    status: int,
    *,
    code: str,
    said: str,
    repo: str,
    revision: str | None,
    page: str,
    has_token: bool,
    after_s: float | None = None,
) -> UsageError | Interrupted:
    """The hub's answer as an error.

    `code` and `said` are its headers X-Error-Code and X-Error-Message; `page` is the repository's address for people.
    """
    token = "HF_TOKEN is set, and the hub takes it for nobody's" if has_token else "HF_TOKEN is not set"
    if is_passing(status):
        words = {429: "the hub says that there were too many requests"}.get(status, f"the hub answers {status}")
        return Interrupted(words, after_s=after_s)
    if code == "GatedRepo":
        whose = "the account of HF_TOKEN has not been granted access" if has_token else token
        return UsageError(
            f"{repo} is gated: {whose}", hint=f"accept its licence at {page}, with the account whose token you use"
        )
    if code == "RevisionNotFound":
        return UsageError(f"{repo} has no revision {revision!r}", hint=f"see {page}/commits/main")
    if code == "EntryNotFound":
        return UsageError(
            f"{repo} at {revision} does not have a file that it lists", hint="the repository was changed; pull again"
        )
    if said == "Access to this resource is disabled.":
        return UsageError(f"{repo} was disabled by the hub", hint=f"see {page}")
    if status == 401 and has_token and code != "RepoNotFound":
        hint = (
            "make a new token at the hub's settings page, with read access, and set HF_TOKEN (in the Secret of the pod)"
        )
        return UsageError(
            f"the hub does not accept HF_TOKEN for {repo}: it has expired, was revoked, or is not whole", hint=hint
        )
    if code == "RepoNotFound" or status in (401, 404):
        whose = "HF_TOKEN's account may not see it" if has_token else token
        hint = f"check the name at {page}; a private repository needs HF_TOKEN with access"
        return UsageError(f"there is no repository {repo}, or it is private and {whose}", hint=hint)
    if status == 403:
        hint = "give the token read access to this repository (a fine-grained token lists what it may read)"
        return UsageError(
            f"HF_TOKEN may not read {repo}: the hub answers 403", hint=hint if has_token else f"see {page}"
        )
    return UsageError(f"the hub refuses {repo}: {status} {said[:200]}".rstrip(), hint=f"see {page}")


def registry_refusal(status: int, what: str, *, after_s: float | None = None) -> UsageError | Interrupted:
    """An OCI registry's answer as an error. `what`: the artifact."""
    if is_passing(status):
        return Interrupted(f"the registry answers {status}", after_s=after_s)
    if status in (401, 403):
        hint = "log in: put the registry's credentials in ~/.docker/config.json, or name its folder in DOCKER_CONFIG"
        return UsageError(f"the registry does not let us read {what}: {status}", hint=hint)
    if status == 404:
        return UsageError(f"the registry has no {what}", hint="check the name, tag and digest")
    return UsageError(f"the registry refuses {what}: {status}")
