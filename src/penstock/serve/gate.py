"""What a request's head alone decides: who asks, and whether the body is read at all."""

from __future__ import annotations

from penstock.serve.callers import refused_key
from penstock.serve.config import ANONYMOUS, Caller, GatewayConfig
from penstock.serve.core import Core
from penstock.serve.local import foreign_page, missing_key, not_allowed, too_large, unknown_path
from penstock.serve.wire.cors import allowed_headers
from penstock.serve.wire.errors import Failure
from penstock.serve.wire.heads import RequestHead
from penstock.serve.wire.routes import KEYLESS_PATHS, LOCAL_PATHS, Route, stored_path

__all__ = ["examine"]


def examine(
    core: Core, config: GatewayConfig, head: RequestHead, route: Route | None, at: float = 0.0
) -> tuple[Caller | None, Failure | None]:
    """Who asks, where that was looked at; and why the request is refused, or None. `at`: Unix seconds."""
    is_local = route is None and (head.path in LOCAL_PATHS or head.path.startswith("/v1/models/"))
    kept = stored_path(head.path) if route is None else None
    if is_local and head.path in KEYLESS_PATHS:
        return None, _only_get(head)
    caller = config.caller_of(head.key) if head.key else None
    if caller is None:
        if not config.is_anonymous_served:
            return None, refused_key(head.key, core.ended_keys, at) if head.key else missing_key()
        caller = ANONYMOUS
        if head.origin and not allowed_headers(config.origins, head.origin):
            return caller, foreign_page(head.origin)
    if kept is not None:
        is_taken = head.method in kept.allow.split(", ")
        return caller, None if is_taken else not_allowed(head.method, kept.pattern, kept.allow)
    if route is None:
        return caller, _only_get(head) if is_local else unknown_path(head.method, head.path)
    if head.method != "POST":
        return caller, not_allowed(head.method, head.path, "POST")
    if head.content_length > config.limits.body_bytes_max:
        return caller, too_large(config.limits.body_bytes_max)
    return caller, _overload(core, config)


def _only_get(head: RequestHead) -> Failure | None:
    return None if head.method in ("GET", "HEAD") else not_allowed(head.method, head.path, "GET, HEAD")


def _overload(core: Core, config: GatewayConfig) -> Failure | None:
    if core.is_draining:
        message = "This gateway is shutting down."
        return Failure(status=503, code="shutting_down", message=message, outcome="shed", retry_after_s=1)
    if core.in_flight > config.limits.in_flight_max:
        message = f"This gateway has {config.limits.in_flight_max} requests in flight, its limit."
        return Failure(status=503, code="overloaded", message=message, outcome="shed", retry_after_s=1)
    return None
