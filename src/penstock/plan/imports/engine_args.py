"""Words of an engine's command line, read as flags with values. Pure."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["read_flags"]

FlagValue = str | bool | list[str]


def read_flags(words: Sequence[object]) -> tuple[dict[str, FlagValue], list[str]]:
    """Flags by name without dashes, and the words that are none.

    `--flag value`, `--flag=value`, `--flag` and several values after one flag are understood, as is one word that
    holds several, as shells split it; the last of a repeated flag holds.
    """
    flags: dict[str, FlagValue] = {}
    strays: list[str] = []
    name = ""
    for word in (part for item in words for part in _split(str(item))):
        if word.startswith("--") and len(word) > 2:
            name, is_joined, value = word[2:].partition("=")
            name = name.replace("_", "-")
            flags[name] = value if is_joined else True
            if is_joined:
                name = ""
        elif name:
            held = flags[name]
            flags[name] = word if held is True else [*held, word] if isinstance(held, list) else [str(held), word]
        else:
            strays.append(word)
    return flags, strays


def _split(word: str) -> list[str]:
    """`--flag value` in one word is two; a value with spaces, as JSON, stays one."""
    if not word.startswith("--") or " " not in word or "=" in word.split(" ", 1)[0]:
        return [word]
    flag, value = word.split(" ", 1)
    return [flag, value.strip()]
