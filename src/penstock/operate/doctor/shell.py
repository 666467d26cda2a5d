"""Commands in shell text: scripts, `sh -c` strings, code in Markdown, `RUN` lines. Pure.

Not a shell: words are split as one would, quotes are taken off, and each command stands alone, also those inside
`$(...)`. Guarantees: never raises; every word knows its line and column.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, replace

from penstock.operate.doctor.evidence import Snippet
from penstock.operate.doctor.findings import Where

__all__ = ["Command", "HereText", "Word", "commands", "here_texts", "split_words"]

_ENDS = frozenset(";&|\n()`{}")
_LEADERS = frozenset(
    [
        "if",
        "then",
        "else",
        "elif",
        "do",
        "while",
        "until",
        "!",
        "exec",
        "sudo",
        "nohup",
        "time",
        "nice",
        "env",
        "command",
        "stdbuf",
        "eval",
        "tini",
        "--",
        "dumb-init",
    ]
)
_WRAPPERS: dict[str, tuple[str, int]] = {
    "watch": (r"-[nq]|--interval|--equexit", 0),
    "timeout": (r"-[sk]|--signal|--kill-after", 1),
    "xargs": (r"-[nIPLdasE]|--max-args|--replace|--max-procs|--delimiter|--arg-file", 0),
    "sudo": (r"-[ugpCchrtTU]|--user|--group", 0),
    "nice": (r"-n|--adjustment", 0),
    "env": (r"-[uCS]|--unset|--chdir", 0),
    "stdbuf": (r"-[ioe]", 0),
    "ssh": (r"-[pilLRDFoJEcmbBeQSwW]", 1),
}
"""Programs that run the rest of their line: options that take the next word, and words before the command."""
_TOKEN = re.compile(
    r"""(?P<joined>\\\r?\n)
    |(?P<escaped>\\.)
    |(?P<single>'[^']*'|'[^\n']*)
    |(?P<double>"(?:\\.|[^"\\])*"|"[^\n"]*)
    |(?P<variable>\$\{[^}\n]*\})
    |(?P<space>[^\S\n]+|\n)
    |(?P<end>[;&|()`{}])
    |(?P<plain>[^\s'"\\;&|()`{}$\#]+|.)""",
    re.VERBOSE | re.DOTALL,
)
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=")
_HERE = re.compile(r"<<-?\s*(['\"]?)([A-Za-z_]\w*)\1")
_EXEC_FORM = re.compile(r"^[ \t]*(?:CMD|ENTRYPOINT|RUN)[ \t]*\[.*\][ \t]*$", re.MULTILINE)
_PROMPT = re.compile(r"^[ \t]*[$%#>] +(?=\S)", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """One word, quotes taken off, and where it begins in the text (from 1)."""

    text: str
    line: int
    column: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One simple command. `words` begin with the program; assignments before it are apart."""

    snippet: Snippet
    words: tuple[Word, ...]
    assignments: tuple[Word, ...] = ()

    @property
    def texts(self) -> list[str]:
        return [word.text for word in self.words]

    @property
    def program(self) -> str:
        """The program's name without its folder; "" for a command that only assigns."""
        return self.words[0].text.rpartition("/")[2] if self.words else ""

    def where(self, word: Word | None = None) -> Where:
        word = word or (self.words or self.assignments)[0]
        return self.snippet.where(word.line, word.column)

    @property
    def shown(self) -> str:
        """The command for an excerpt, cut where long."""
        line = " ".join(self.texts)
        return line if len(line) <= 160 else f"{line[:157]}..."


@dataclass(frozen=True, slots=True, kw_only=True)
class HereText:
    """The body of a here-document, with the line before its first."""

    line: int
    text: str
    command: str
    """The line that it is given to."""


def here_texts(text: str) -> list[HereText]:
    """Every here-document of a script."""
    return _without_here_texts(text)[1]


def _without_here_texts(text: str) -> tuple[str, list[HereText]]:
    """The script with the bodies blanked, and the bodies."""
    if "<<" not in text:
        return text, []
    lines, found = text.split("\n"), []
    place = 0
    while place < len(lines):
        match = _HERE.search(lines[place])
        if match is None or "<<<" in lines[place]:
            place += 1
            continue
        start = place + 1
        end = start
        while end < len(lines) and lines[end].strip() != match.group(2):
            end += 1
        body = "\n".join(lines[start:end])
        found.append(HereText(line=start, text=body, command=lines[place]))
        for blank in range(start, min(end + 1, len(lines))):
            lines[blank] = ""
        lines[place] = lines[place].replace(match.group(), "")
        place = end + 1
    return "\n".join(lines), found


def commands(snippet: Snippet) -> Iterator[Command]:
    """Every command of a text, in order."""
    text, _ = _without_here_texts(snippet.text)
    if snippet.kind == "dockerfile" or snippet.language in ("console", "shell-session", "terminal"):
        text = _PROMPT.sub(lambda match: " " * len(match.group()), text)
    elif snippet.language:
        text = re.sub(r"^[ \t]*\$ +(?=\S)", lambda match: " " * len(match.group()), text, flags=re.MULTILINE)
    if snippet.kind == "dockerfile":
        text = _EXEC_FORM.sub(lambda match: re.sub(r"[\[\],]", " ", match.group()), text)
    for words in _split(text):
        start = 0
        assignments: list[Word] = []
        while start < len(words):
            word = words[start].text
            if _ASSIGNMENT.match(word):
                assignments.append(words[start])
            elif word in _WRAPPERS and _wrapped(words, start) < len(words):
                start = _wrapped(words, start)
                continue
            elif word not in _LEADERS:
                break
            start += 1
        if words[start:] or assignments:
            yield Command(snippet=snippet, words=tuple(_opened(words[start:])), assignments=tuple(assignments))


def _wrapped(words: list[Word], start: int) -> int:
    """Where the command begins that the wrapper at `start` runs."""
    valued, before = _WRAPPERS[words[start].text]
    place = start + 1
    while place < len(words) and words[place].text.startswith("-"):
        place += 2 if re.fullmatch(valued, words[place].text) else 1
    return place + before


def _opened(words: list[Word]) -> list[Word]:
    """A command that stands in quotes alone, as after `watch`, by its words."""
    if len(words) != 1 or " " not in words[0].text:
        return words
    first = words[0]
    return [replace(w, line=first.line, column=first.column + w.column) for w in split_words(first.text)] or words


def split_words(text: str) -> list[Word]:
    """The words of one line of flags, as in an environment variable; command ends are no ends here."""
    return [word for words in _split(text, ends=frozenset()) for word in words]


def _split(text: str, ends: frozenset[str] = _ENDS) -> Iterator[list[Word]]:
    """The words of each command, in order."""
    newlines = [match.start() for match in re.finditer("\n", text)]
    words: list[Word] = []
    parts: list[str] = []
    began = place = 0

    def ended() -> None:
        if parts:
            line = bisect_left(newlines, began)
            column = began - (newlines[line - 1] if line else -1)
            words.append(Word(text="".join(parts), line=line + 1, column=column))
            parts.clear()

    while place < len(text):
        match = _TOKEN.match(text, place)
        assert match is not None  # the last alternative takes any character
        kind, part = match.lastgroup, match.group()
        if part == "#" and not parts:
            place = text.find("\n", place)
            if place == -1:
                break
            continue
        place = match.end()
        if kind == "joined":
            ended()
        elif kind in ("space", "end"):
            ended()
            if words and (part == "\n" or kind == "end") and part in ends:
                yield list(words)
                words.clear()
        else:
            began = began if parts else match.start()
            parts.append(_unquoted(kind, part))
    ended()
    if words:
        yield words


def _unquoted(kind: str | None, part: str) -> str:
    """What a part means: quotes taken off, escapes resolved. An empty quote still is a word."""
    if kind == "single":
        return part[1:].removesuffix("'")
    if kind == "double":
        return re.sub(r"\\(?:\r?\n)?(.)", r"\1", part[1:].removesuffix('"'), flags=re.DOTALL)
    return part[1:] if kind == "escaped" else part
