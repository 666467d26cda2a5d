"""What a source holds, and which of its files serving needs.

Pure. Guarantees that weights come once (safetensors where there are any), that no format that runs code when loaded is
chosen without being asked for, and that each file left out has its reason.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import PurePosixPath

from penstock.errors import UsageError
from penstock.operate.storage.layout import check_paths

__all__ = ["FILES_MAX", "Listing", "RemoteFile", "Wanted", "files_wanted"]

FILES_MAX = 20_000
"""Files of one model; the largest published ones have some hundreds."""
_PICKLE = (".bin", ".pth", ".pt", ".pkl", ".pickle", ".ckpt")
"""Formats whose loader runs what the file says."""
_OTHER_WEIGHTS = (".gguf", ".onnx", ".onnx_data", ".h5", ".msgpack", ".ot", ".tflite", ".mlmodel", ".npz", ".nemo")
_NEEDED = (".json", ".jinja", ".model", ".txt", ".tiktoken", ".py", ".spm", ".vocab", ".merges", ".yaml", ".jsonl")
_NEEDED_NAMES = ("LICENSE", "NOTICE", "USE_POLICY")
_COPIES = {"original", "onnx", "openvino", "coreml", "metal", "flax", "tf", "gguf", ".git", ".github", ".cache"}
"""Folders that hold the same weights in another format, or nothing of the model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteFile:
    """One file at a source."""

    path: str
    """Relative to the model, with `/`."""
    size: int
    """Bytes."""
    sha256: str | None = None
    """Hexadecimal, where the source states it."""
    git_oid: str | None = None
    """Git's name of the content, sha1 over `blob <size>\\0<content>`, where the source states it."""
    key: str = ""
    """What the source calls it: an object's full key, a blob's digest."""
    etag: str | None = None
    """An object store's own mark of this content."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """A source at one pinned revision."""

    revision: str
    """Names this content and no other: a commit, a digest, or a name that the caller chose for it."""
    requested: str | None
    """What was asked for: a branch or a tag, or None."""
    files: tuple[RemoteFile, ...]
    content: str | None = None
    """Digest over the listing where the source has no revisions of its own."""

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """The choice, and its reasons."""

    files: tuple[RemoteFile, ...]
    """Sorted by path."""
    skipped: tuple[tuple[RemoteFile, str], ...]
    """What is left out, each with the reason in words."""

    @property
    def size(self) -> int:
        """Bytes that are wanted."""
        return sum(file.size for file in self.files)


def files_wanted(
    listing: Listing,
    *,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    allows_pickle: bool = False,
) -> Wanted:
    """The files that an engine loads: weights once, config, tokenizer, chat template, processor, licence.

    `include` and `exclude` are shell patterns over the whole path (`*` matches `/` too); `include` adds to the choice,
    `exclude` wins over everything.

    Raises:
        UsageError: a file name is unsafe, there are too many files, there are no weights, or only weights that run code
            when loaded and `allows_pickle` is false.
    """
    if len(listing.files) > FILES_MAX:
        raise UsageError(f"the source lists {len(listing.files)} files: a model has fewer than {FILES_MAX}")
    check_paths((file.path for file in listing.files), f"the source at {listing.revision[:12]}")
    has_safetensors = any(_is_safetensors(f) and not _in_copies(f) for f in listing.files)
    has_numbered = any(_is_safetensors(f) and f.path.startswith("model") for f in listing.files)
    chosen: list[RemoteFile] = []
    skipped: list[tuple[RemoteFile, str]] = []
    for file in sorted(listing.files, key=lambda f: f.path):
        reason = _reason_against(file, has_safetensors=has_safetensors, has_numbered=has_numbered)
        if _matches(file.path, include) and not (reason == _RUNS_CODE and not allows_pickle):
            reason = None
        if reason == _RUNS_CODE and allows_pickle:
            reason = None
        if _matches(file.path, exclude):
            reason = "excluded"
        if reason is None:
            chosen.append(file)
        else:
            skipped.append((file, reason))
    _check_weights(chosen, skipped, allows_pickle=allows_pickle)
    return Wanted(files=tuple(chosen), skipped=tuple(skipped))


_RUNS_CODE = "pickled weights run code when they are loaded"


def _is_safetensors(file: RemoteFile) -> bool:
    return file.path.endswith(".safetensors")


def _in_copies(file: RemoteFile) -> bool:
    return bool(_COPIES & set(PurePosixPath(file.path).parts[:-1]))


def _matches(path: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(path, pattern) for pattern in patterns)


def _reason_against(file: RemoteFile, *, has_safetensors: bool, has_numbered: bool) -> str | None:
    """Why a file is left out; None when it is needed."""
    path = PurePosixPath(file.path)
    name, suffix = path.name, path.suffix.lower()
    if _in_copies(file):
        return "a copy in another format, or not of the model"
    if _is_safetensors(file):
        return "a copy of the model-*.safetensors files" if name.startswith("consolidated") and has_numbered else None
    if suffix in _PICKLE:
        return "a copy: the safetensors files hold the same weights" if has_safetensors else _RUNS_CODE
    if suffix in _OTHER_WEIGHTS:
        return "weights in a format that the engine is not given"
    if name.startswith(".") or name.endswith((".bin.index.json", ".pth.index.json")):
        return "not of the model" if name.startswith(".") else "the index of weights that are left out"
    if suffix in _NEEDED or name.upper().startswith(_NEEDED_NAMES):
        return None
    return "not needed to serve"


def _check_weights(
    chosen: Sequence[RemoteFile], skipped: Sequence[tuple[RemoteFile, str]], *, allows_pickle: bool
) -> None:
    weights = (*_PICKLE, *_OTHER_WEIGHTS, ".safetensors")
    if any(PurePosixPath(file.path).suffix.lower() in weights for file in chosen):
        return
    pickled = [file.path for file, reason in skipped if reason == _RUNS_CODE]
    if pickled and not allows_pickle:
        raise UsageError(
            f"the only weights are pickled ({pickled[0]}{' and others' if len(pickled) > 1 else ''}): "
            "loading such a file runs whatever code is in it",
            hint="choose a revision or a copy of the model with safetensors; --allow-pickle if you trust who made it",
        )
    others = [f.path for f, _ in skipped if PurePosixPath(f.path).suffix.lower() in (*weights,)]
    found = f"; left out: {', '.join(others[:3])}" if others else ""
    hint = f"name what you want: --include '{others[0]}'" if others else "is this the right repository or prefix?"
    raise UsageError(f"the source holds no weights that an engine loads{found}", hint=hint)
