"""Whether the shards of a checkpoint are complete, and whether its index tells the truth about them.

Pure. A finding here is `(is_error, file, rule, message)`; `verification` gives it its type.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from penstock.facts import index_bytes
from penstock.operate.storage.headers import Header

__all__ = ["INDEX_SUFFIX", "Found", "index_findings", "shard_findings"]

Found = tuple[bool, str, str, str]
INDEX_SUFFIX = ".safetensors.index.json"
_NUMBERED = re.compile(r"^(?P<stem>.*)-(?P<number>\d{5})-of-(?P<count>\d{5})\.safetensors$")


def shard_findings(paths: Sequence[str], headers: Mapping[str, Header]) -> Iterator[Found]:
    """Shards that their own names say should be there; an index that should be."""
    sets: dict[tuple[str, int], set[int]] = {}
    for path in paths:
        if found := _NUMBERED.match(path):
            sets.setdefault((found["stem"], int(found["count"])), set()).add(int(found["number"]))
    for (stem, count), numbers in sorted(sets.items()):
        absent = [n for n in range(1, min(count, 99_999) + 1) if n not in numbers]
        if absent:
            name = f"{stem}-{absent[0]:05d}-of-{count:05d}.safetensors"
            more = f", and {len(absent) - 1} more" if len(absent) > 1 else ""
            yield True, name, "missing", f"is missing{more}: the other shards say that there are {count}"
        if count > 1 and f"{stem}{INDEX_SUFFIX}" not in paths:
            yield True, f"{stem}{INDEX_SUFFIX}", "index", "is missing: without it an engine cannot place the shards"
    if not sets:
        yield from _twice(headers)


def _twice(headers: Mapping[str, Header]) -> Iterator[Found]:
    """The same tensor in two files of one folder: an engine takes either."""
    owners: dict[tuple[PurePosixPath, str], str] = {}
    for path, header in headers.items():
        if path.rpartition("/")[2].startswith("adapter"):
            continue
        for tensor in header.tensors:
            owner = owners.setdefault((PurePosixPath(path).parent, tensor), path)
            if owner != path:
                yield True, path, "duplicate", f"holds tensor {tensor!r}, which {owner} holds too"
                return


def index_findings(
    texts: Mapping[str, str | None], paths: Sequence[str], headers: Mapping[str, Header]
) -> Iterator[Found]:
    """Each index against the headers of its folder, both ways."""
    for path in paths:
        if path.endswith(INDEX_SUFFIX):
            yield from _index(path, texts.get(path), headers)


def _index(path: str, text: str | None, headers: Mapping[str, Header]) -> Iterator[Found]:
    try:
        index: Any = json.loads(text or "")
        places: dict[str, str] = dict(index["weight_map"])
        if not all(isinstance(k, str) and isinstance(v, str) for k, v in places.items()):
            raise TypeError("its weight_map is not of names")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        yield True, path, "index", f"cannot be read as an index: {error!r}"
        return
    folder = path.rpartition("/")[0]
    base = f"{folder}/" if folder else ""
    shards = sorted({base + place for place in places.values()})
    for shard in shards:
        if shard not in headers:
            count = sum(base + place == shard for place in places.values())
            yield True, shard, "missing", f"is missing or unreadable; {path} has {count} tensors in it"
    yield from _both_ways(path, base, places, headers, shards)
    total = index_bytes(index)
    held = sum(headers[shard].total for shard in shards if shard in headers)
    if total is not None and total != held and all(s in headers and not headers[s].troubles for s in shards):
        yield False, path, "total-size", f"says {total} bytes of tensors, and the shards hold {held}"


def _both_ways(
    path: str, base: str, places: Mapping[str, str], headers: Mapping[str, Header], shards: Sequence[str]
) -> Iterator[Found]:
    """Each tensor that the index places must be there, and each that is there must be placed there."""
    for shard in shards:
        header = headers.get(shard)
        if header is None or (header.troubles and not header.tensors):
            continue
        said = {tensor for tensor, place in places.items() if base + place == shard}
        if absent := sorted(said - set(header.tensors)):
            more = f" and {len(absent) - 1} more" if len(absent) > 1 else ""
            yield (
                True,
                shard,
                "index",
                f"lacks tensor {absent[0]!r}{more}, which {path} places in it: is it another shard?",
            )
        if extra := sorted(set(header.tensors) - said):
            more = f" and {len(extra) - 1} more" if len(extra) > 1 else ""
            yield True, shard, "index", f"holds tensor {extra[0]!r}{more}, which {path} does not place in it"
