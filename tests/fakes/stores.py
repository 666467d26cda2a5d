"""Sources in memory, pulls that do not wait, and stores that are filled: what tests of a model store begin with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fakes.models import sha256, small_model
from penstock.operate.io.storage import Progress, Pull, Pulled, PullOptions, Stop
from penstock.operate.io.storage.remote import Body
from penstock.operate.storage import Interrupted, Listing, RemoteFile, parse_source


class QuickStop(Stop):
    """Waits are told, and take no time."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[float] = []

    def pause(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.check()


@dataclass
class Memory:
    """A source in memory that cuts and lies as it is told."""

    files: Mapping[str, bytes] = field(default_factory=small_model)
    revision: str = "r1"
    states_hashes: bool = True
    chunk: int = 50
    failures: list[Exception] = field(default_factory=list)
    """Raised by the next openings, before the first byte."""
    cuts: dict[str, list[int]] = field(default_factory=dict)
    """For a file: after how many bytes each of the next answers ends in a cut."""
    opened: list[tuple[str, int]] = field(default_factory=list)
    lists: int = 0
    ignores_offsets: bool = False
    sends: dict[str, list[bytes]] = field(default_factory=dict)
    """For a file: contents that the next answers have instead."""

    def listing(self) -> Listing:
        self.lists += 1
        files = tuple(
            RemoteFile(path=p, size=len(c), sha256=sha256(c) if self.states_hashes else None)
            for p, c in sorted(self.files.items())
        )
        return Listing(revision=self.revision, requested=None, files=files)

    @contextmanager
    def open(self, file: RemoteFile, offset: int) -> Iterator[Body]:
        self.opened.append((file.path, offset))
        if self.failures:
            raise self.failures.pop(0)
        start = 0 if self.ignores_offsets else offset
        instead = self.sends.get(file.path)
        content = instead.pop(0) if instead else self.files[file.path]
        yield Body(start=start, chunks=self._chunks(file.path, content[start:]))

    def _chunks(self, path: str, content: bytes) -> Iterator[bytes]:
        cut = self.cuts[path].pop(0) if self.cuts.get(path) else None
        end = len(content) if cut is None else cut
        for place in range(0, end, self.chunk):
            yield content[place : min(end, place + self.chunk)]
        if cut is not None:
            raise Interrupted("cut the connection")


def pull(memory: Memory, store: Path, *, words: list[str] | None = None, **more: Any) -> Pulled:
    """Pulls `memory` into `store` as the hub's `org/tiny`."""
    options = {name: more.pop(name) for name in list(more) if name in PullOptions.__slots__}
    progress = Progress(on_words=(words if words is not None else []).append)
    source = parse_source(more.pop("source", "org/tiny"))
    more.setdefault("stop", QuickStop())
    return Pull(source, lambda: memory, store, options=PullOptions(**options), progress=progress, **more).run()


def flip(path: Path, place: int = -1) -> None:
    """Flips a bit of a file."""
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)
