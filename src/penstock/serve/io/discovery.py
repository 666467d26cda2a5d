"""Follows the EndpointSlices of a fleet in its cluster: list, then watch, for ever.

Guarantees: while the API server is away, the last known endpoints stay, and how long it has been away is told; after
that a watch goes on where it ended, or starts from a new list where that is too long ago. Tries are spread by growing,
random pauses. The token is read anew for each request, because the kubelet renews it. Everything that comes over the
network is bounded.

Plain HTTP with the client that the gateway has anyway: one resource, two verbs.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

import aiohttp
import orjson

from penstock.errors import UsageError
from penstock.serve.platform import DiscoveryState
from penstock.serve.routing.slices import MODEL_LABEL, SliceTable

__all__ = ["ACCOUNT_FOLDER", "ClusterAccess", "Discovery", "in_cluster"]

ACCOUNT_FOLDER = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where the kubelet puts a pod's token, its namespace and the certificate authority of the API server."""
CONNECT_S = 5.0
LIST_S = 30.0
"""Seconds for one page of the list."""
WATCH_S = 60
"""Seconds after which the server ends a watch, and we begin the next: a dead connection is noticed as soon."""
SILENCE_S = 15.0
"""Seconds past `WATCH_S` after which a silent connection is given up."""
PAUSE_MIN_S, PAUSE_MAX_S = 0.2, 15.0
"""Pauses between tries double from the first to the second; each is drawn from its upper half."""
PAGE = 200
BODY_BYTES_MAX = 64 * 1024 * 1024
"""Bytes of one page, and of one event."""
_HEALTHY_S = 5.0
"""A watch that lasted this long was no failure: the pauses begin anew."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterAccess:
    """How the API server is reached. `url` without a path; files are None where none is needed (`kubectl proxy`)."""

    url: str
    namespace: str
    token_file: Path | None = None
    authority_file: Path | None = None


def in_cluster(env: Mapping[str, str], folder: Path = ACCOUNT_FOLDER) -> ClusterAccess | None:
    """The access that the kubelet gives a pod; None outside of one, or where the pod has no token."""
    host, port = env.get("KUBERNETES_SERVICE_HOST", ""), env.get("KUBERNETES_SERVICE_PORT", "443")
    token, authority = folder / "token", folder / "ca.crt"
    if not host or not token.is_file() or not authority.is_file():
        return None
    try:
        namespace = (folder / "namespace").read_text(encoding="utf-8").strip() or "default"
    except OSError:
        namespace = "default"
    shown = f"[{host}]" if ":" in host else host
    url = f"https://{shown}:{port}"
    return ClusterAccess(url=url, namespace=namespace, token_file=token, authority_file=authority)


class _Expired(Exception):
    """What we know is too old to go on from: a new list is needed (410)."""


class _Refused(Exception):
    """The API server said no, or something that is none of its answers."""


class Discovery:
    """Keeps a `SliceTable` as the cluster has it. `run` once; belongs to one event loop."""

    def __init__(
        self,
        access: ClusterAccess,
        fleet: str,
        on_change: Callable[[set[str]], None],
        *,
        clock: Callable[[], float] = time.monotonic,
        random: Random | None = None,
        pause_max_s: float = PAUSE_MAX_S,
    ) -> None:
        """`on_change` gets the models (names of their objects) whose endpoints may have changed.

        Raises:
            UsageError: the certificate authority's file cannot be used.
        """
        self._tls = _tls(access)
        self.slices = SliceTable()
        self.state = DiscoveryState(source="kubernetes")
        self._access = access
        self._selector = f"penstock.dev/fleet={fleet},{MODEL_LABEL}"
        self._on_change = on_change
        self._clock = clock
        self._random = random if random is not None else Random()
        self._pause_max_s = pause_max_s
        self._version = ""

    async def run(self) -> None:
        """Follows the cluster until cancelled."""
        connector = aiohttp.TCPConnector(ssl=self._tls, limit=2)
        failures = 0
        async with aiohttp.ClientSession(connector=connector, auto_decompress=False) as session:
            while True:
                began = self._clock()
                try:
                    if not self._version:
                        await self._list(session)
                    await self._watch(session)
                except _Expired:
                    self._version = ""
                    self._failed("changes were missed; listing anew", counts=False)
                except (aiohttp.ClientError, OSError, TimeoutError, ValueError, _Refused) as error:
                    self._failed(f"{error}" or type(error).__name__)
                failures = 0 if self._clock() - began >= _HEALTHY_S else failures + 1
                await asyncio.sleep(self._pause_s(failures))

    def _pause_s(self, failures: int) -> float:
        if failures == 0:
            return 0.0
        longest = min(self._pause_max_s, PAUSE_MIN_S * 2 ** min(failures, 16))
        return float(longest * self._random.uniform(0.5, 1.0))

    # ------------------------------------------------------------------ list

    async def _list(self, session: aiohttp.ClientSession) -> None:
        bodies: list[Mapping[str, Any]] = []
        proceed, version = "", ""
        while True:
            query = {"labelSelector": self._selector, "limit": str(PAGE), **({"continue": proceed} if proceed else {})}
            page = await self._page(session, query)
            bodies += [item for item in page.get("items") or () if isinstance(item, dict)]
            metadata = page.get("metadata") or {}
            version = str(metadata.get("resourceVersion") or "")
            proceed = str(metadata.get("continue") or "")
            if not proceed:
                break
        if not version:
            raise _Refused("the API server's list has no resourceVersion")
        self._version = version
        changed = self.slices.replace(bodies)
        self._heard(is_synced=True, lists_total=self.state.lists_total + 1)
        self._on_change(changed)

    async def _page(self, session: aiohttp.ClientSession, query: Mapping[str, str]) -> Mapping[str, Any]:
        timeout = aiohttp.ClientTimeout(total=LIST_S, sock_connect=CONNECT_S)
        async with self._get(session, query, timeout) as answer:
            await _check(answer)
            body = orjson.loads(await _bounded(answer))
        if not isinstance(body, dict):
            raise _Refused("the API server answered something that is no list")
        return body

    # ------------------------------------------------------------------ watch

    async def _watch(self, session: aiohttp.ClientSession) -> None:
        query = {
            "labelSelector": self._selector,
            "watch": "true",
            "resourceVersion": self._version,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(WATCH_S),
        }
        timeout = aiohttp.ClientTimeout(sock_connect=CONNECT_S, sock_read=WATCH_S + SILENCE_S)
        async with self._get(session, query, timeout) as answer:
            await _check(answer)
            self._heard()
            async for lines in _lines(answer):
                changed: set[str] = set()
                for line in lines:
                    changed |= self._take(orjson.loads(line))
                self._heard(events_total=self.state.events_total + len(lines))
                if changed:
                    self._on_change(changed)

    def _take(self, event: Any) -> set[str]:
        """One event of the watch. Returns the models it is about."""
        body = event.get("object") if isinstance(event, dict) else None
        if not isinstance(body, dict):
            raise _Refused("the API server sent something that is no event")
        kind = event.get("type")
        if kind == "ERROR":
            if body.get("code") == 410:
                raise _Expired
            self._version = ""
            raise _Refused(f"the watch ended: {str(body.get('message'))[:200]}")
        metadata = body.get("metadata")
        version = metadata.get("resourceVersion") if isinstance(metadata, dict) else None
        if isinstance(version, str) and version:
            self._version = version
        match kind:
            case "ADDED" | "MODIFIED":
                return self.slices.put(body)
            case "DELETED":
                return self.slices.remove(body)
            case _:  # BOOKMARK: only the version
                return set()

    # ------------------------------------------------------------------ both

    def _get(
        self, session: aiohttp.ClientSession, query: Mapping[str, str], timeout: aiohttp.ClientTimeout
    ) -> aiohttp.client._RequestContextManager:
        access = self._access
        url = f"{access.url}/apis/discovery.k8s.io/v1/namespaces/{access.namespace}/endpointslices"
        headers = {"accept": "application/json"}
        if access.token_file is not None:
            headers["authorization"] = f"Bearer {access.token_file.read_text(encoding='utf-8').strip()}"
        return session.get(url, params=query, headers=headers, timeout=timeout, allow_redirects=False)

    def _heard(self, **changes: Any) -> None:
        self.state = replace(self.state, is_connected=True, error="", heard_at=self._clock(), **changes)

    def _failed(self, error: str, *, counts: bool = True) -> None:
        total = self.state.failures_total + counts
        self.state = replace(self.state, is_connected=False, error=error[:300], failures_total=total)


async def _check(answer: aiohttp.ClientResponse) -> None:
    if answer.status == 410:
        raise _Expired
    if answer.status in (401, 403):
        message = "the gateway's service account may not read EndpointSlices there: is its Role applied?"
        raise _Refused(f"the API server answered {answer.status}: {message}")
    if answer.status != 200:
        raise _Refused(f"the API server answered {answer.status}")


async def _bounded(answer: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for piece in answer.content.iter_any():
        body += piece
        if len(body) > BODY_BYTES_MAX:
            raise _Refused(f"the API server's answer is larger than {BODY_BYTES_MAX // 1024**2} MiB")
    return bytes(body)


async def _lines(answer: aiohttp.ClientResponse) -> AsyncIterator[list[bytes]]:
    """Whole lines as they come, several at a time where several have come."""
    rest = b""
    async for piece in answer.content.iter_any():
        *lines, rest = (rest + piece).split(b"\n")
        if len(rest) > BODY_BYTES_MAX:
            raise _Refused(f"an event of the API server is larger than {BODY_BYTES_MAX // 1024**2} MiB")
        if found := [line for line in lines if line.strip()]:
            yield found


def _tls(access: ClusterAccess) -> ssl.SSLContext | bool:
    if access.authority_file is None:
        return True
    try:
        return ssl.create_default_context(cafile=str(access.authority_file))
    except (OSError, ssl.SSLError) as error:
        raise UsageError(f"{access.authority_file} is no certificate authority that can be used: {error}") from error
