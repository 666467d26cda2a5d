"""One cluster's connection: credentials by kr8s (kubeconfig, exec plugins, in a pod), requests with tries and back-off.

Guarantees: a request that ends without an answer, or with one that says "later", is tried again, at most
`Patience.tries` times; expired credentials are read anew once; no key material stays on disk; every failure is an
`ApiFailure` or a `UsageError` with words. All requests that go through here may be sent twice without harm.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import tempfile
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
from kr8s import APITimeoutError
from kr8s.asyncio import Api

from penstock.errors import UsageError
from penstock.operate.apply.failures import ApiFailure, Asked, Busy, Unreachable, failure_of

__all__ = ["Patience", "Session", "open_session"]

_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_ANSWER_S = 30.0
"""A read or a write takes milliseconds; a webhook on the way may take 30 s."""
_QUIET_S = 120.0
"""A watch hears a bookmark about once a minute; quiet for longer, its connection is dead."""
_CONNECT_S = 10.0
_FIRST_TRIES = 3
"""Nobody there at all is told soon: most often the address is wrong or the VPN is down."""
_LATER = (408, 425, 429, 500, 502, 503, 504)


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How often and how long. The default gives an API server that restarts about 13 s."""

    tries: int = 7
    first_s: float = 0.2
    longest_s: float = 5.0

    def pause_s(self, tried: int, asked_s: float = 0.0) -> float:
        """The pause after the try number `tried` (from 0); what the server asks for stands over ours, within reason."""
        return min(max(self.first_s * 2**tried, asked_s), self.longest_s) if self.first_s else 0.0


class Session:
    """Requests to one API server. Owns the connection pool of kr8s."""

    def __init__(self, api: Api, *, kubeconfig: str | None, context: str | None, patience: Patience) -> None:
        self._api = api
        self._kubeconfig = kubeconfig
        self._context = context
        self._renewing = asyncio.Lock()
        self.patience = patience

    @property
    def url(self) -> str:
        return str(self._api.auth.server)

    @property
    def context(self) -> str:
        return str(self._api.auth.active_context)

    @property
    def namespace(self) -> str:
        """The namespace of the context, or of the pod that we are in."""
        if self.context:
            context = self._api.auth.kubeconfig.get_context(self.context)
            return str(context.get("namespace") or "default")
        with contextlib.suppress(OSError):
            return (_ACCOUNT / "namespace").read_text(encoding="utf-8").strip() or "default"
        return "default"

    def asked(self, asked: Asked) -> Asked:
        """With what is known of the cluster."""
        return replace(asked, url=self.url, context=self.context)

    async def request(
        self,
        method: str,
        path: str,
        asked: Asked,
        *,
        params: Mapping[str, str] | None = None,
        body: Any = None,
        content_type: str = "application/json",
        accept: str = "application/json",
        tries: int | None = None,
    ) -> httpx.Response:
        """One request, answered.

        Raises:
            ApiFailure: refused, or no answer after every try.
        """
        content = None if body is None else json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode()
        is_renewed, tried = False, 0
        while True:
            api = self._api
            try:
                call = self._call(api, method, path, params, content, content_type, accept=accept)
                async with call as response:
                    found: httpx.Response = response
            except (httpx.HTTPError, APITimeoutError) as error:
                failure, asked_s = self.unreachable(error, asked), 0.0
            else:
                if found.status_code < 400:
                    return found
                failure, asked_s = self.failure(found, asked), _retry_after_s(found)
                if found.status_code == 401 and not is_renewed:
                    is_renewed = True
                    await self.renew(api)
                    continue
                if not isinstance(failure, Busy) or found.status_code not in _LATER:
                    raise failure
            tried += 1
            if tried >= (tries or self.patience.tries):
                raise failure
            await asyncio.sleep(self.patience.pause_s(tried - 1, asked_s))

    @contextlib.asynccontextmanager
    async def stream(self, path: str, params: Mapping[str, str]) -> AsyncIterator[httpx.Response]:
        """A watch: the answer's head; its lines come as they are sent. No second try here.

        Raises:
            httpx.HTTPError: the connection failed or broke.
            APITimeoutError: it was quiet for too long.
        """
        async with self._call(self._api, "GET", path, params, None, "application/json", is_stream=True) as response:
            yield response

    @property
    def api(self) -> Api:
        """What the last request went through: for `renew`."""
        return self._api

    async def renew(self, used: Api) -> None:
        """Reads credentials anew, unless somebody did since `used` was the one in use."""
        async with self._renewing:
            if self._api is not used:
                return
            renewed = await _authenticated(self._kubeconfig, self._context)
            await _close(used)
            self._api = renewed

    async def close(self) -> None:
        await _close(self._api)

    def failure(self, response: httpx.Response, asked: Asked) -> ApiFailure:
        """The failure that an answer tells."""
        try:
            body = response.json()
        except ValueError:
            body = {"message": response.text[:300].strip()}
        return failure_of(response.status_code, body if isinstance(body, dict) else {}, self.asked(asked))

    def unreachable(self, error: Exception, asked: Asked) -> ApiFailure:
        """No answer, in words."""
        text = str(error) or type(error).__name__
        cluster = self.asked(asked).cluster
        if "CERTIFICATE" in text or "SSL" in text:
            hint = "the kubeconfig's certificate-authority must be the one that signed the server's certificate"
            return Unreachable(f"{cluster} is not trusted: {self.url}: {text}", hint=hint)
        if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
            hint = f"is the address right (`kubectl config view --minify`), and is the network or VPN up? {self.url}"
            return Unreachable(f"{cluster} cannot be reached at {self.url}: {text}", hint=hint)
        hint = "it may be restarting, or a proxy on the way cuts connections; try again"
        return Busy(f"{cluster} broke off while it was asked to {asked.verb} {asked.subject}: {text}", hint=hint)

    @staticmethod
    def _call(  # noqa: PLR0917 — as kr8s takes them
        api: Api,
        method: str,
        path: str,
        params: Mapping[str, str] | None,
        content: bytes | None,
        content_type: str,
        *,
        accept: str = "application/json",
        is_stream: bool = False,
    ) -> contextlib.AbstractAsyncContextManager[httpx.Response]:
        base, _, last = path.rpartition("/")
        base, last = (base, last) if base else (path, "")
        timeout = httpx.Timeout(_QUIET_S if is_stream else _ANSWER_S, connect=_CONNECT_S)
        return api.call_api(
            method,
            version="",
            base=base,
            url=last,
            raise_for_status=False,
            stream=is_stream,
            params=dict(params or {}),
            content=content,
            headers={"Content-Type": content_type, "Accept": accept},
            timeout=timeout,
        )


@contextlib.asynccontextmanager
async def open_session(
    *, context: str | None = None, kubeconfig: str | None = None, patience: Patience | None = None
) -> AsyncIterator[Session]:
    """A session with the context's cluster; None: the current context, or the cluster that we run in.

    Raises:
        UsageError: no such context, no credentials, a broken kubeconfig.
        ApiFailure: the cluster does not answer.
    """
    api = await _authenticated(kubeconfig, context)
    session = Session(api, kubeconfig=kubeconfig, context=context, patience=patience or Patience())
    try:
        # The first request is alone: kr8s makes its connection pool with it.
        asked = Asked(verb="get", resource="the version")
        await session.request("GET", "/version", asked, tries=min(_FIRST_TRIES, session.patience.tries))
        yield session
    finally:
        await session.close()


async def _authenticated(kubeconfig: str | None, context: str | None) -> Api:
    api = Api(
        bypass_factory=True, kubeconfig=kubeconfig, context=context, url=None, namespace=None, serviceaccount=None
    )
    where = kubeconfig or os.environ.get("KUBECONFIG", "~/.kube/config")
    try:
        await api.auth
    except Exception as error:  # kr8s lets through whatever its readers of YAML, files and plugins raise
        raise _no_credentials(str(error), where, context) from error
    return api


def _no_credentials(reason: str, where: str, context: str | None) -> UsageError:
    if "No such context" in reason:
        hint = "`kubectl config get-contexts` lists those that are there"
        return UsageError(f"{where} has no context {context!r}", hint=hint)
    if "non-zero code" in reason:
        hint = "run it by hand: it is the `exec` plugin of the kubeconfig's user, and must print credentials"
        return UsageError(f"{where}: the credential plugin failed: {reason}", hint=hint)
    if "Unable to find valid credentials" in reason:
        hint = "name the file in KUBECONFIG; `kubectl cluster-info` must work"
        return UsageError(f"no cluster: {where} names none, and this is no pod of one", hint=hint)
    return UsageError(f"{where} cannot be used: {reason}", hint="`kubectl cluster-info` must work with it")


async def _close(api: Api) -> None:
    """Closes the connections, and removes the key files that kr8s wrote beside them."""
    session = getattr(api, "_session", None)
    if session is not None:
        with contextlib.suppress(RuntimeError):
            await session.aclose()
    for path in (api.auth.client_key_file, api.auth.client_cert_file, api.auth.server_ca_file):
        if path is not None and Path(str(path)).parent == Path(tempfile.gettempdir()):
            Path(str(path)).unlink(missing_ok=True)  # noqa: ASYNC240 — a small file, at the end


def _retry_after_s(response: httpx.Response) -> float:
    try:
        return float(response.headers.get("retry-after", "0"))
    except ValueError:
        return 0.0
