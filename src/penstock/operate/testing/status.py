"""What the API server answers when it refuses: `Status` objects, worded as the real one words them.

Clients match on `code`, `reason`, `details` and often on the message, so all four are a Kubernetes 1.36 API server's.
Guarantees: every refusal of the fake is a `Refusal`, and its body is a `Status`. Sources: `k8s.io/apimachinery`
`pkg/api/errors` (constructors) and `pkg/util/validation/field` (causes).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

__all__ = [
    "Cause",
    "Refusal",
    "already_exists",
    "bad_request",
    "conflict",
    "expired",
    "forbidden",
    "invalid",
    "method_not_allowed",
    "not_found",
    "qualified",
    "route_not_found",
    "too_many_requests",
    "unauthorized",
    "unsupported_media_type",
]


class Cause(NamedTuple):
    """One reason of a refusal: `FieldValueInvalid`, words, and the field's path."""

    reason: str
    message: str
    field: str


@dataclass(slots=True)
class Refusal(Exception):
    """A request that is not carried out. `body` is the answer's."""

    code: int
    reason: str
    message: str
    details: dict[str, Any] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.message

    def body(self) -> dict[str, Any]:
        answer: dict[str, Any] = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
        }
        if self.reason:
            answer["reason"] = self.reason
        if self.details:
            answer["details"] = self.details
        return answer | {"code": self.code}


def qualified(name: str, group: str) -> str:
    """`deployments.apps`; in the core group, `pods`."""
    return f"{name}.{group}" if group else name


def _details(group: str, kind: str, name: str, causes: Sequence[Cause] = ()) -> dict[str, Any]:
    details = {"name": name, "group": group, "kind": kind}
    found: dict[str, Any] = {key: value for key, value in details.items() if value}
    if causes:
        found["causes"] = [{k: v for k, v in cause._asdict().items() if v} for cause in causes]
    return found


def not_found(group: str, plural: str, name: str) -> Refusal:
    return Refusal(404, "NotFound", f'{qualified(plural, group)} "{name}" not found', _details(group, plural, name))


def route_not_found() -> Refusal:
    return Refusal(404, "NotFound", "the server could not find the requested resource", {})


def already_exists(group: str, plural: str, name: str) -> Refusal:
    message = f'{qualified(plural, group)} "{name}" already exists'
    return Refusal(409, "AlreadyExists", message, _details(group, plural, name))


def conflict(group: str, plural: str, name: str, why: str = "") -> Refusal:
    why = why or (
        "the object has been modified; please apply your changes to the latest version and try again"  # the real words
    )
    message = f'Operation cannot be fulfilled on {qualified(plural, group)} "{name}": {why}'
    return Refusal(409, "Conflict", message, _details(group, plural, name))


def invalid(group: str, kind: str, name: str, causes: Sequence[Cause]) -> Refusal:
    """422: `details.kind` is the kind here, and the causes are joined as the real server joins them."""
    said = list(dict.fromkeys(f"{cause.field}: {cause.message}" if cause.field else cause.message for cause in causes))
    words = said[0] if len(said) == 1 else "[" + ", ".join(said) + "]"
    message = f'{qualified(kind, group)} "{name}" is invalid: {words}'
    return Refusal(422, "Invalid", message, _details(group, kind, name, causes))


def bad_request(message: str) -> Refusal:
    return Refusal(400, "BadRequest", message)


def forbidden(group: str, plural: str, name: str, why: str) -> Refusal:
    subject = qualified(plural, group)
    message = f'{subject} "{name}" is forbidden: {why}' if name else f"{subject} is forbidden: {why}"
    return Refusal(403, "Forbidden", message, _details(group, plural, name))


def unauthorized() -> Refusal:
    return Refusal(401, "Unauthorized", "Unauthorized")


def method_not_allowed() -> Refusal:
    return Refusal(405, "MethodNotAllowed", "the server does not allow this method on the requested resource")


def unsupported_media_type(allowed: Sequence[str]) -> Refusal:
    message = "the body of the request was in an unknown format - accepted media types include: " + ", ".join(allowed)
    return Refusal(415, "UnsupportedMediaType", message)


def expired(message: str) -> Refusal:
    return Refusal(410, "Expired", message)


def too_many_requests(message: str, retry_after_s: int, causes: Sequence[Cause] = ()) -> Refusal:
    details = _details("", "", "", causes) | ({"retryAfterSeconds": retry_after_s} if retry_after_s else {})
    headers = {"Retry-After": str(retry_after_s)} if retry_after_s else {}
    return Refusal(429, "TooManyRequests", message, details, headers)
