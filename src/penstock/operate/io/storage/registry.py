"""Models as OCI artifacts: one layer for each file, named by its title, in any registry.

The registry client is oras: its log-in, tokens and addresses. Guarantees that a tag is resolved to a digest first, that
the manifest is what that digest says, and that plain HTTP is spoken to this machine only.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import oras.provider  # type: ignore[import-untyped]
import requests

from penstock.errors import PenstockError, UsageError
from penstock.operate.io.storage.remote import Body
from penstock.operate.storage import Interrupted, Listing, ModelSource, RemoteFile
from penstock.operate.storage.refusals import registry_refusal

__all__ = ["RegistryRemote"]

_CONNECT_S, _SILENCE_S = 10.0, 60.0
_CHUNK = 64 * 1024
"""The library hands out full ones only: what is cut loses less than this."""
_MANIFEST_BYTES_MAX = 4 * 1024 * 1024
"""What the distribution specification asks registries to take."""
_MANIFESTS = ("application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json")
_TITLES = ("org.opencontainers.image.title", "org.cncf.model.filepath")
"""Annotations that name a layer's file: the OCI image specification's, and the CNCF model specification's."""
_DIGEST = re.compile(r"^sha256:[0-9a-f]{64}$")
_LOOPBACK = re.compile(r"^(localhost|127(\.\d+){3}|\[::1\])(:\d+)?$")


class _Registry(oras.provider.Registry):  # type: ignore[misc]
    """The client without its own retries, which sleep for minutes and cannot be interrupted, and with time limits."""

    def __init__(self, *, is_plain: bool) -> None:
        super().__init__(insecure=is_plain)
        self.session.request = partial(self.session.request, timeout=(_CONNECT_S, _SILENCE_S))

    def do_request(self, *args: Any, **kwargs: Any) -> requests.Response:
        """One request, with the log-in that the registry asks for."""
        return oras.provider.Registry.do_request.__wrapped__(self, *args, **kwargs)  # type: ignore[no-any-return]


class RegistryRemote:
    """One artifact."""

    def __init__(self, source: ModelSource) -> None:
        self._source = source
        logging.getLogger("oras.logger").setLevel(logging.CRITICAL)  # what it would print, we say
        self._registry = _Registry(is_plain=bool(_LOOPBACK.match(source.location.partition("/")[0])))
        self._container = self._registry.get_container(str(source).removeprefix("oci://"))
        folder = os.environ.get("DOCKER_CONFIG")
        with self._words():
            configs = [str(Path(folder) / "config.json")] if folder else None
            self._registry.auth.load_configs(self._container, configs=configs)

    def listing(self) -> Listing:
        """The artifact's files, at the digest that its tag means now."""
        raw = self._manifest()
        digest = f"sha256:{hashlib.sha256(raw).hexdigest()}"
        wanted = self._source.digest
        if wanted is not None and wanted != digest:
            raise PenstockError(f"{self._source}: the registry sent another manifest than the one of that digest")
        files = tuple(_file(layer, str(self._source)) for layer in _layers(raw, str(self._source)))
        return Listing(revision=digest, requested=self._source.revision, files=files)

    @contextmanager
    def open(self, file: RemoteFile, offset: int) -> Iterator[Body]:
        """The bytes of a layer from `offset` on."""
        url = f"{self._registry.prefix}://{self._container.get_blob_url(file.key)}"
        headers = {"Range": f"bytes={offset}-"} if offset else {}
        with self._words(), self._registry.do_request(url, "GET", headers=headers, stream=True) as response:
            self._check(response, f"{file.path} of {self._source}")
            start = offset if response.status_code == 206 else 0
            yield Body(start=start, chunks=response.iter_content(_CHUNK))

    def _manifest(self) -> bytes:
        url = f"{self._registry.prefix}://{self._container.manifest_url()}"
        with (
            self._words(),
            self._registry.do_request(url, "GET", headers={"Accept": ", ".join(_MANIFESTS)}, stream=True) as r,
        ):
            self._check(r, str(self._source))
            raw: bytes = r.raw.read(_MANIFEST_BYTES_MAX + 1, decode_content=True)
        if len(raw) > _MANIFEST_BYTES_MAX:
            raise UsageError(f"{self._source}: its manifest is larger than {_MANIFEST_BYTES_MAX // 1024**2} MiB")
        return raw

    def _check(self, response: requests.Response, what: str) -> None:
        if not response.ok:
            after = response.headers.get("Retry-After", "")
            raise registry_refusal(response.status_code, what, after_s=float(after) if after.isdigit() else None)

    @contextmanager
    def _words(self) -> Iterator[None]:
        """The client's exceptions as ours."""
        host = self._source.location.partition("/")[0]
        try:
            yield
        except requests.exceptions.SSLError as error:
            hint = "plain HTTP is spoken to localhost only; give the registry a certificate that this machine trusts"
            raise UsageError(f"{host}: no safe connection", hint=hint) from error
        except requests.exceptions.RequestException as error:
            if isinstance(error, requests.exceptions.JSONDecodeError):
                raise Interrupted(f"{host} gave an answer that is not a registry's") from error
            is_cut = isinstance(error, requests.exceptions.ChunkedEncodingError | requests.exceptions.ReadTimeout)
            words = "cut the connection" if is_cut else "cannot be reached"
            raise Interrupted(f"the registry {host} {words}") from error
        except ValueError as error:  # the client's way of saying that it was asked to log in and cannot
            if "authentication" not in str(error):
                raise
            raise _refused(401, str(self._source)) from error


def _refused(status: int, what: str) -> Exception:
    return registry_refusal(status, what)


def _layers(raw: bytes, of: str) -> list[Mapping[str, Any]]:
    try:
        manifest: Any = json.loads(raw)
        if "manifests" in manifest:
            hint = "name one manifest of it by @sha256:…"
            raise UsageError(f"{of} is an index of several artifacts", hint=hint)
        return list(manifest["layers"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise UsageError(f"{of} is no artifact: its manifest has no layers") from error


def _file(layer: Mapping[str, Any], of: str) -> RemoteFile:
    with suppress(KeyError, TypeError, AttributeError):
        digest, size, media = str(layer["digest"]), layer["size"], str(layer["mediaType"])
        notes = layer.get("annotations") or {}
        title = next((str(notes[name]) for name in _TITLES if name in notes), None)
        if _DIGEST.match(digest) and isinstance(size, int) and size >= 0:
            if title is None or media.endswith((".tar", "tar+gzip", "tar.gzip", "tar+zstd")):
                message = (
                    f"{of} has a layer of packed folders ({media}): a model is pulled from layers of one file each"
                )
                raise UsageError(message, hint="push it with `oras push REPO:TAG model.safetensors config.json …`")
            return RemoteFile(path=title, size=size, sha256=digest.removeprefix("sha256:"), key=digest)
    raise UsageError(f"{of} has a layer that cannot be read: it needs a sha256 digest, a size and a media type")
