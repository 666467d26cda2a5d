"""An engine's command line as flags, wherever it was written. Pure.

`--max-model-len 8`, `--max-model-len=8` and `--max_model_len 8` are the same flag; each knows where it stands and how
to be taken out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from penstock.facts.flag_names import SERVE_FLAGS, SWITCHES, long_name
from penstock.facts.flags import GONE_FLAGS
from penstock.operate.doctor.evidence import Node
from penstock.operate.doctor.findings import Where

__all__ = ["Arg", "Flag", "Flags", "is_distinctive", "parse_flags", "substituted"]

_GONE = frozenset(gone.name.removeprefix("--") for gone in GONE_FLAGS)
_GONE_SWITCHES = frozenset(
    {
        "disable-log-requests", "multi-step-stream-outputs", "use-v2-block-manager", "enable-reasoning",
        "worker-use-ray", "disable-frontend-multiprocessing", "calculate-kv-scales", "disable-async-output-proc",
        "enable-prompt-adapter", "enable-lora-bias", "disable-mm-preprocessor-cache", "disable-cascade-attn",
    }
)  # fmt: skip
_GENERIC = frozenset(
    {
        "host", "port", "config", "model", "seed", "device", "api-key", "log-level", "grpc", "headless", "revision",
        "task", "root-path", "middleware", "ssl-keyfile", "ssl-certfile", "tokenizer", "quantization", "dtype",
        "watermark", "log-config-file", "master-addr", "master-port", "nnodes", "node-rank", "grpc-port", "block-size",
        "scheduling-policy", "uds", "convert", "runner", "chat-template", "max-log-len", "allowed-origins",
    }
)  # fmt: skip
"""Flags that other programs have too."""
_VARIABLE = re.compile(r"\$\((\w+)\)|\$\{(\w+)(?::?[-=]([^}]*))?\}|\$(\w+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Arg:
    """One word of a command line."""

    text: str
    where: Where
    node: Node | None = None
    """The list item that it is; None where it is part of a longer text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Flag:
    """One flag as written."""

    name: str
    """With dashes, in full: `--max-model-len`."""
    value: str | None
    where: Where
    shown: str
    node: Node | None = None
    items: int = 1
    """List items that it takes up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Flags:
    """All flags of one engine, in order; the last of a name holds."""

    all: tuple[Flag, ...] = ()
    words: tuple[Arg, ...] = ()
    """Words that belong to no flag: the model's name."""
    by_name: Mapping[str, Flag] = field(default_factory=dict)

    def __iter__(self) -> Iterator[Flag]:
        return iter(self.all)

    def find(self, *names: str) -> Flag | None:
        """The first of these that is there, by name without dashes."""
        return next((self.by_name[f"--{name}"] for name in names if f"--{name}" in self.by_name), None)

    def text(self, name: str) -> str | None:
        flag = self.find(name)
        return None if flag is None else flag.value

    def number(self, name: str) -> float | None:
        """A flag's value as a number; `80k` and `1M` as vLLM reads them."""
        text = self.text(name)
        match = re.fullmatch(r"(\d+(?:\.\d+)?)([kKmMgG]?)", (text or "").strip())
        if match is None:
            return None
        scale = {"": 1, "k": 1000, "K": 1024, "m": 10**6, "M": 2**20, "g": 10**9, "G": 2**30}[match.group(2)]
        return float(match.group(1)) * scale

    def size(self, name: str) -> int:
        """A parallel size: 1 where it is not given or not to be read."""
        return max(1, int(self.number(name) or 1))


def parse_flags(args: Sequence[Arg]) -> Flags:
    """Flags and other words of a command line, the program's own name left out."""
    found: list[Flag] = []
    words: list[Arg] = []
    place = 0
    while place < len(args):
        arg = args[place]
        place += 1
        if not re.match(r"--?[A-Za-z]", arg.text) or (arg.text[1] != "-" and long_name(arg.text) == arg.text):
            words.append(arg)
            continue
        name, equals, value = arg.text.partition("=")
        full = long_name(name)
        items = 1
        if not equals and _takes_value(full) and place < len(args) and not re.match(r"--?[A-Za-z]", args[place].text):
            value, items = args[place].text, 2
            place += 1
        shown = arg.text if items == 1 else f"{arg.text} {value}"
        has_value = bool(equals) or items == 2
        found.append(
            Flag(
                name=full,
                value=value if has_value else None,
                where=arg.where,
                shown=shown,
                node=arg.node,
                items=items,
            )
        )
    return Flags(all=tuple(found), words=tuple(words), by_name={flag.name: flag for flag in found})


def _takes_value(name: str) -> bool:
    bare = name.removeprefix("--").partition(".")[0]
    return bare not in SWITCHES and bare.removeprefix("no-") not in SWITCHES and bare not in _GONE_SWITCHES


def is_distinctive(text: str) -> bool:
    """Whether a word is a flag that only vLLM has or had."""
    if not text.startswith("--"):
        return False
    bare = long_name(text).removeprefix("--").partition(".")[0]
    return bare not in _GENERIC and (bare in SERVE_FLAGS or bare in _GONE or bare.removeprefix("no-") in SWITCHES)


def substituted(text: str, values: Mapping[str, str]) -> str:
    """Text with variables put in where they are known: `$(NAME)`, `$NAME`, `${NAME:-default}`."""

    def value(match: re.Match[str]) -> str:
        name = match.group(1) or match.group(2) or match.group(4)
        return values.get(name, match.group(3) if match.group(3) is not None else match.group())

    return _VARIABLE.sub(value, text) if "$" in text else text


def texts(args: Iterable[Arg]) -> list[str]:
    """The words alone."""
    return [arg.text for arg in args]
