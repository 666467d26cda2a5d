"""From a file's text to evidence: what it is by its name and words, and what lies inside it. Pure.

YAML and JSON give objects, one for each document and each item of a `kind: List`; documents inside others (ConfigMap
files, values in an Argo CD Application, manifests in Markdown and here-documents) give objects of their own, at their
own lines. Scripts, Markdown and Dockerfiles give snippets; comments give prose.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import PurePath

from penstock.errors import Problem
from penstock.operate.doctor.evidence import Evidence, Node, Resource, Snippet, SnippetKind
from penstock.operate.doctor.markdown import Part, comment_prose, parts_of
from penstock.operate.doctor.shell import here_texts
from penstock.spec.documents import Shift, Tree, read_documents

__all__ = ["SUFFIXES", "evidence_of_text", "inside", "is_readable_name"]

SUFFIXES = {
    ".yaml": "yaml", ".yml": "yaml", ".json": "yaml", ".tpl": "yaml", ".sh": "shell", ".bash": "shell",
    ".md": "markdown",
    ".mdx": "markdown", ".log": "log", ".txt": "log", ".dockerfile": "dockerfile",
}  # fmt: skip
"""What a file is, by the end of its name."""
_IGNORE = re.compile(r"penstock:\s*ignore(-file)?\s+((?:PS\d{3}[\w-]*[,\s]*)+)")
_CODE = re.compile(r"PS\d{3}")
_YAML_LANGUAGES = ("yaml", "yml", "json")
_SHELL_LANGUAGES = ("", "bash", "sh", "shell", "console", "zsh", "shell-session", "terminal")
_LOOKS_LIKE_YAML = re.compile(r"^\s*(?:-\s+)?[\w.\"'/-]+:(?:\s|$)", re.MULTILINE)
_COMMAND = re.compile(r"(?:\n|&&|\|\||;)|(?:^|\s)(?:vllm serve|python3? -m vllm|hf download|kubectl |helm |exec )")
_INNER_BYTES_MAX = 2_000_000


def is_readable_name(name: str) -> bool:
    """Whether a folder's file of this name is something to read."""
    base = PurePath(name).name.lower()
    return PurePath(base).suffix in SUFFIXES or base.startswith(("dockerfile", "containerfile"))


def _language(name: str, text: str) -> str:
    base = PurePath(name).name.lower()
    if base.startswith(("dockerfile", "containerfile")):
        return "dockerfile"
    known = SUFFIXES.get(PurePath(base).suffix)
    if known is not None:
        return known
    if text.startswith("#!"):
        return "shell"
    return "yaml" if text.lstrip()[:1] in ("{", "[") or _LOOKS_LIKE_YAML.search(text) else "log"


def evidence_of_text(text: str, file: str) -> Evidence:
    """Everything that one file shows. Never raises: what cannot be read is among the problems."""
    text = text.replace("\r\n", "\n").removeprefix("\ufeff")
    resources: list[Resource] = []
    snippets: list[Snippet] = []
    problems: list[Problem] = []
    match _language(file, text):
        case "yaml":
            resources, problems = _resources(text, file, Shift())
            snippets = _comments(text, file) if not text.lstrip().startswith(("{", "[")) else []
        case "markdown":
            resources, snippets, problems = _page(text, file)
        case "log":
            snippets = [Snippet(kind="log", file=file, text=text)]
        case language:
            kind: SnippetKind = "dockerfile" if language == "dockerfile" else "shell"
            snippets = [Snippet(kind=kind, file=file, text=text), *_comments(text, file)]
            resources = _here_resources(text, file, Shift())
    inner = [found for resource in resources for found in inside(resource)]
    resources += [found for found in inner if isinstance(found, Resource)]
    snippets += [found for found in inner if isinstance(found, Snippet)]
    return Evidence(
        resources=tuple(resources),
        snippets=tuple(snippets),
        problems=tuple(problems),
        ignored={file: ignored} if (ignored := _ignored(text)) else {},
        files=1,
    )


def _ignored(text: str) -> dict[int, frozenset[str]]:
    """Codes that comments wave through, by line: a comment holds for its own line and the next that is no comment."""
    found: dict[int, set[str]] = {}
    if "penstock:" not in text:
        return {}
    lines = text.split("\n")
    for place, line in enumerate(lines):
        match = _IGNORE.search(line)
        if match is None:
            continue
        codes = set(_CODE.findall(match.group(2)))
        target = 0 if match.group(1) else place + 1
        found.setdefault(target, set()).update(codes)
        if target and line.strip().startswith(("#", "<!--", "//")):
            below = next((n for n in range(place + 1, len(lines)) if not lines[n].strip().startswith("#")), place)
            found.setdefault(below + 1, set()).update(codes)
    return {line: frozenset(codes) for line, codes in found.items()}


def _comments(text: str, file: str) -> list[Snippet]:
    return [_prose(part, file) for part in comment_prose(text)]


def _prose(part: Part, file: str) -> Snippet:
    return Snippet(kind="prose", file=file, text=part.text, shift=Shift(line=part.line, column=part.column))


def _resources(text: str, file: str, shift: Shift, outer: str = "") -> tuple[list[Resource], list[Problem]]:
    reading = read_documents(text, file, shift)
    lines = () if shift != Shift() else tuple(text.split("\n"))
    found = [resource for tree in reading.trees for resource in _items(tree, file, lines, outer)]
    return found, list(reading.problems)


def _items(tree: Tree, file: str, lines: tuple[str, ...], outer: str = "") -> Iterator[Resource]:
    """The document, or the items of a list of objects."""
    value = tree.value
    if (
        isinstance(value, dict)
        and isinstance(value.get("items"), list)
        and str(value.get("kind", "List")).endswith("List")
    ):
        for place, item in enumerate(value["items"]):  # type: ignore[arg-type]
            if isinstance(item, dict):
                yield Resource(file=file, tree=tree, base=("items", place), value=item, lines=lines, outer=outer)
        return
    yield Resource(file=file, tree=tree, value=value, lines=lines, outer=outer)


def _page(text: str, file: str) -> tuple[list[Resource], list[Snippet], list[Problem]]:
    resources: list[Resource] = []
    snippets: list[Snippet] = []
    for part in parts_of(text):
        shift = Shift(line=part.line, column=part.column)
        if part.language == "prose":
            snippets.append(_prose(part, file))
        elif part.language in _YAML_LANGUAGES:
            resources += _resources(part.text, file, shift)[0]  # a fragment need not be whole
            snippets += [
                _prose(
                    Part(language="prose", line=part.line + p.line, column=part.column + p.column, text=p.text), file
                )
                for p in comment_prose(part.text)
            ]
        elif part.language in (*_SHELL_LANGUAGES, "span"):
            snippets.append(
                Snippet(kind="shell", file=file, text=part.text, shift=shift, language=part.language or "sh")
            )
            resources += _here_resources(part.text, file, shift)
        elif part.language in ("dockerfile", "docker"):
            snippets.append(Snippet(kind="dockerfile", file=file, text=part.text, shift=shift))
    return resources, snippets, []


def _here_resources(text: str, file: str, shift: Shift) -> list[Resource]:
    """Manifests in here-documents."""
    found: list[Resource] = []
    for here in here_texts(text):
        if "apiVersion:" in here.text or _LOOKS_LIKE_YAML.search(here.text):
            inner = Shift(line=shift.line + here.line, column=shift.column)
            found += _resources(here.text, file, inner)[0]
    return found


def inside(resource: Resource) -> Iterator[Resource | Snippet]:
    """Documents and scripts in an object's texts."""
    size = 0
    for node in resource.root.walk():
        value = node.value
        if not isinstance(value, str) or len(value) < 6:
            continue
        size += len(value)
        if size > _INNER_BYTES_MAX:
            return
        is_script = _is_script(node, value)
        if is_script:
            shift = resource.tree.inside(node.path)
            yield Snippet(kind="shell", file=resource.file, text=value, shift=shift, object=resource.title)
            for found in _here_resources(value, resource.file, shift):
                yield found
        elif "\n" in value and _holds_document(node, value):
            shift = resource.tree.inside(node.path)
            title = f"{resource.title} {node.path[-1]}"
            for found in _resources(value, resource.file, shift, title)[0]:
                if isinstance(found.value, dict | list):
                    yield found


def _is_script(node: Node, value: str) -> bool:
    """Whether a text is a program for a shell: what `sh -c` is given, a file `*.sh`, a line that begins a server."""
    if value.startswith("#!"):
        return "sh" in value.split("\n", 1)[0]
    name = node.path[-1] if node.path else ""
    if isinstance(name, str):
        return name.endswith((".sh", ".bash")) or (name in ("command", "args", "script", "run") and bool(value.strip()))
    holder = node.path[-2] if len(node.path) > 1 else ""
    if holder in ("command", "args", "entrypoint"):
        return bool(_COMMAND.search(value)) and not value.startswith("--")
    return False


def _holds_document(node: Node, value: str) -> bool:
    name = str(node.path[-1]) if node.path else ""
    if name.endswith((".yaml", ".yml", ".json")) or name in ("values", "valuesInline", "patch", "config", "rules"):
        return True
    return value.lstrip().startswith(("apiVersion:", "{")) or "\napiVersion:" in value
