"""Cross-origin requests: what a browser asks before it lets a page of another origin call the API, and what it is told.

Keys travel in headers and never in cookies, so a page can only use a key that it was given; that is why any origin may
be allowed where calls need a key. Where they need none, a page that somebody happens to visit could call a gateway on
their own machine: there nothing is allowed unless the fleet file names the origins.
"""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["ANY_ORIGIN", "allowed_headers", "is_preflight", "preflight_headers"]

ANY_ORIGIN = ("*",)
MAX_AGE_S = 600
"""Seconds that a browser may keep the answer to a preflight; browsers themselves stop between 600 and 86,400."""
_ORIGIN_BYTES_MAX = 512
"""Longest origin that is repeated: a host name has at most 253 characters."""
_EXPOSED = (
    b"retry-after, request-id, x-request-id, x-ratelimit-limit-requests, x-ratelimit-limit-tokens, "
    b"x-ratelimit-remaining-requests, x-ratelimit-remaining-tokens, x-ratelimit-reset-requests, "
    b"x-ratelimit-reset-tokens, x-should-retry, x-penstock-model, "
    b"x-penstock-endpoint"
)
"""Headers that a page may read besides the few that it always may."""


def is_preflight(method: str, origin: bytes) -> bool:
    """Whether a browser asks if it may: its real request follows, with the key."""
    return method == "OPTIONS" and bool(origin)


def allowed_headers(origins: Sequence[str], origin: bytes) -> bytes:
    """Header lines of any answer to a page of `origin`; empty where there is none or it is not allowed.

    Args:
        origins: those allowed, as `https://app.example`, or `ANY_ORIGIN`.
        origin: the header `Origin` as it came; empty where the request had none.
    """
    if not origin or not origins:
        return b""
    if tuple(origins) == ANY_ORIGIN:
        return b"access-control-allow-origin: *\r\naccess-control-expose-headers: " + _EXPOSED + b"\r\n"
    text = origin.decode("latin-1")
    if len(origin) > _ORIGIN_BYTES_MAX or text not in origins or "\r" in text or "\n" in text:
        return b""
    return (
        b"access-control-allow-origin: "
        + origin
        + b"\r\nvary: origin\r\naccess-control-expose-headers: "
        + _EXPOSED
        + b"\r\n"
    )


def preflight_headers(origins: Sequence[str], origin: bytes) -> bytes:
    """Header lines of the 204 that answers a preflight, beside those of `allowed_headers`; empty where the origin is
    not allowed.

    `authorization` is named, as `*` does not stand for it (https://fetch.spec.whatwg.org/#http-access-control-allow-headers).
    """
    if not allowed_headers(origins, origin):
        return b""
    return (
        b"access-control-allow-methods: GET, HEAD, POST, DELETE, OPTIONS\r\n"
        b"access-control-allow-headers: authorization, *\r\n"
        b"access-control-max-age: %d\r\n" % MAX_AGE_S
    )
