"""Container image references, and which version of vLLM one holds. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

from penstock.facts.flags import version_key

__all__ = ["Image", "image_of"]

_FLOATING = frozenset({"", "latest", "nightly", "main", "master", "edge", "dev", "head", "stable", "latest-cpu"})
_VERSION = re.compile(r"v?(\d+\.\d+(?:\.\d+)*)")
_NOT_ENGINES = re.compile(
    r"router|exporter|proxy|controller|operator|gateway|scheduler|epp|stack|sidecar|tokenizer|sim"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """`repository:tag@digest`."""

    repository: str
    tag: str = ""
    digest: str = ""

    @property
    def text(self) -> str:
        return self.repository + (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")

    @property
    def name(self) -> str:
        return self.repository.rpartition("/")[2].lower()

    @property
    def is_floating(self) -> bool:
        """Whether the same words may mean another image tomorrow. A name to be filled in later does not say."""
        floating = _FLOATING if "/" in self.repository else ("", "latest")  # no registry: built here, loaded by hand
        return not self.digest and self.tag.lower() in floating and "$" not in self.text and "{{" not in self.text

    @property
    def is_engine(self) -> bool:
        """Whether its name says that it serves with vLLM."""
        return "vllm" in self.name and _NOT_ENGINES.search(self.name) is None

    @property
    def version(self) -> str | None:
        """The version of vLLM by the tag; None where the tag is none of vLLM's own."""
        if not self.name.startswith("vllm") or "lmcache" in self.repository:
            return None
        match = _VERSION.match(self.tag)
        if match is None or version_key(match.group(1))[0] > 20:  # a date
            return None
        return match.group(1)


def image_of(text: str) -> Image:
    """An image reference taken apart."""
    rest, _, digest = text.strip().partition("@")
    head, colon, tag = rest.rpartition(":")
    if not colon or "/" in tag:  # the colon of a registry's port
        return Image(repository=rest, digest=digest)
    return Image(repository=head, tag=tag, digest=digest)
