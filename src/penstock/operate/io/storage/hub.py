"""The Hugging Face hub, through its own client: its addresses, session, headers, token and errors.

What is fetched goes where Penstock puts it, byte for byte over HTTP with ranges: the client's own download keeps no
half-fetched file across a kill, and its caches want a home that can be written. So neither HF_HOME nor a xet cache is
touched. Guarantees that the token goes to the hub only, never to where it redirects, and into no message.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager

import httpx2
from huggingface_hub import HfApi, constants, get_token, hf_hub_url
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, OfflineModeIsEnabled
from huggingface_hub.utils import (  # type: ignore[attr-defined]  # exported without saying so
    build_hf_headers,
    get_session,
    hf_raise_for_status,
)

from penstock import __version__
from penstock.errors import PenstockError, UsageError
from penstock.operate.io.storage.remote import Body
from penstock.operate.storage import Interrupted, Listing, ModelSource, RemoteFile
from penstock.operate.storage.refusals import hub_refusal

__all__ = ["HubRemote"]

_CONNECT_S, _SILENCE_S = 10.0, 60.0
"""Seconds to reach the hub, and without a byte from it, after which the attempt is over."""
_PIECE = 8 * 1024**3
"""Bytes asked for at once: the hub's delivery network does not serve files of more than 50 GB in one answer."""
_COMMIT = re.compile(r"^[0-9a-f]{40}$")


class HubRemote:
    """One repository at one revision."""

    def __init__(self, source: ModelSource) -> None:
        self._source = source
        self._endpoint = (
            os.environ.get("HF_ENDPOINT") or constants.ENDPOINT or constants.HUGGINGFACE_CO_URL_HOME
        ).rstrip("/")
        self._token = get_token()
        if self._token is not None and not (self._token.isascii() and self._token.isprintable()):
            raise UsageError(
                "HF_TOKEN holds characters that no token has", hint="set it again, without quotes or line ends"
            )
        self._commit: str | None = source.revision

    def listing(self) -> Listing:
        """The repository's files with sizes and hashes, at the commit that its branch or tag means now."""
        api = HfApi(endpoint=self._endpoint, library_name="penstock", library_version=__version__)
        source = self._source
        try:
            with self._words():
                found = api.model_info(
                    source.location,
                    revision=source.revision,
                    files_metadata=True,
                    timeout=_SILENCE_S,
                    token=self._token or False,
                )
        except (ValueError, TypeError, KeyError) as error:  # an answer that is none: a proxy's page
            raise Interrupted(f"{self._endpoint} gave an answer that is not the hub's") from error
        if not found.sha or not _COMMIT.match(found.sha):
            raise PenstockError(f"{self._endpoint} names no commit for {source}", hint="is HF_ENDPOINT a hub?")
        self._commit = found.sha
        files = tuple(
            RemoteFile(
                path=sibling.rfilename,
                size=_size(sibling.size, sibling.rfilename, source),
                sha256=sibling.lfs.sha256 if sibling.lfs is not None else None,
                git_oid=sibling.blob_id if sibling.lfs is None else None,
            )
            for sibling in found.siblings or ()
        )
        return Listing(
            revision=found.sha, requested=source.revision if source.revision != found.sha else None, files=files
        )

    @contextmanager
    def open(self, file: RemoteFile, offset: int) -> Iterator[Body]:
        """The bytes of a file from `offset` on."""
        url = hf_hub_url(self._source.location, file.path, revision=self._commit, endpoint=self._endpoint)
        headers = build_hf_headers(token=self._token or False, library_name="penstock", library_version=__version__)
        headers["Accept-Encoding"] = "identity"  # else a range would be one of the compressed bytes
        if offset or file.size > _PIECE:
            headers["Range"] = f"bytes={offset}-{min(file.size, offset + _PIECE) - 1}"
        timeout = httpx2.Timeout(_SILENCE_S, connect=_CONNECT_S)
        with self._words(), get_session().stream("GET", url, headers=headers, timeout=timeout) as response:
            hf_raise_for_status(response)
            yield Body(start=_start(response, offset), chunks=response.iter_bytes())

    @contextmanager
    def _words(self) -> Iterator[None]:
        """The client's exceptions as ours."""
        try:
            yield
        except HfHubHTTPError as error:
            raise self._refusal(error) from error
        except OfflineModeIsEnabled as error:
            raise UsageError(
                "HF_HUB_OFFLINE is set: nothing is fetched from the hub", hint="unset it to pull"
            ) from error
        except HFValidationError as error:
            raise UsageError(f"the hub's client refuses {self._source}: {error}") from error
        except httpx2.UnsupportedProtocol as error:
            raise UsageError(f"HF_ENDPOINT is {self._endpoint!r}, which is no http or https address") from error
        except httpx2.TransportError as error:
            raise Interrupted(f"{self._endpoint} {_transport_words(error)}") from error

    def _refusal(self, error: HfHubHTTPError) -> UsageError | Interrupted:
        response = error.response
        return hub_refusal(
            response.status_code,
            code=response.headers.get("X-Error-Code", ""),
            said=response.headers.get("X-Error-Message", ""),
            repo=self._source.location,
            revision=self._source.revision or self._commit,
            page=f"{self._endpoint}/{self._source.location}",
            has_token=bool(self._token),
            after_s=_asked_wait_s(response.headers),
        )


def _size(size: int | None, path: str, source: ModelSource) -> int:
    if size is None or size < 0:
        raise PenstockError(f"the hub does not say how large {path} of {source} is", hint="is HF_ENDPOINT a full hub?")
    return size


def _start(response: httpx2.Response, offset: int) -> int:
    """Where the answer begins: a server may ignore the range and send all."""
    if response.status_code != 206:
        return 0
    found = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
    return int(found[1]) if found else offset


def _asked_wait_s(headers: httpx2.Headers) -> float | None:
    """Seconds that the hub asks to wait: `Retry-After`, or the rest of its window in `RateLimit`."""
    after = headers.get("Retry-After", "")
    if after.isdigit():
        return float(after)
    found = re.search(r";\s*r=0\b.*;\s*t=(\d+)", headers.get("RateLimit", ""))
    return float(found[1]) if found else None


def _transport_words(error: httpx2.TransportError) -> str:
    if isinstance(error, httpx2.ConnectTimeout | httpx2.ConnectError):
        return "cannot be reached"
    if isinstance(error, httpx2.TimeoutException):
        return f"sent nothing for {_SILENCE_S:.0f} s"
    return "cut the connection"
